"""Who is asking: the account that the host names, or a visitor known by a signed cookie.

The cookie carries a random id and its issue time: an old copy cannot restore consent. Once an account has used it,
it carries a mark of that account, which another one does not have: a browser has more than one user, and forgets who
is signed in sooner than who it is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from flask import Flask, Response, after_this_request, current_app, request
from itsdangerous import BadData, TimestampSigner

from consentkit.core.errors import ConsentKitError
from consentkit.core.reask import longest_rest_days
from consentkit.core.record import VISITOR
from consentkit.web.caching import for_one_person, vary_by
from consentkit.web.context import environ
from consentkit.web.state import State

DAY_S = 24 * 3600
SHORTEST_DAYS = 180
LONGEST_DAYS = 400
"""Browsers keep no cookie longer (RFC 6265bis, 5.5)."""
HINT, SEEN = "consent_hint", "consent_seen"
_MEMO = "consentkit.identity"
_SALT, _ACCOUNT_SALT = "consentkit.visitor.v1", "consentkit.account.v1"


@dataclass(frozen=True, slots=True)
class Identity:
    """`subject` is whom the answers belong to; `visitor` the id in the cookie, also of somebody signed in.

    `cookie`: what is to become of that: "mark" it for the account, "drop" another account's, or "keep" it.
    """

    account: str | None
    visitor: str | None
    cookie: str = field(default="keep", compare=False)

    @property
    def subject(self) -> str | None:
        """The account, else the visitor, else None."""
        return self.account or self.visitor


def identify(state: State) -> Identity:
    """Who is asking in this request; a cookie that is forged, cut or old is nobody.

    The host is asked each time: somebody may sign in or out before the response is made.
    """
    memo, account = environ().get(_MEMO), _account(state)
    if isinstance(memo, Identity) and memo.account == account:
        return memo
    vary_by("Cookie")
    identity = environ()[_MEMO] = _identity(state, account)
    if identity.cookie != "keep":
        after_this_request(lambda response: settle(state, response))
    return identity


def _identity(state: State, account: str | None) -> Identity:
    visitor, mark = _visitor(state)
    if account is None or visitor is None:
        return Identity(account, visitor)
    if not mark:
        return Identity(account, visitor, "mark")
    mine = signer(_ACCOUNT_SALT).verify_signature(_pair(visitor, account), mark)
    return Identity(account, visitor) if mine else Identity(account, None, "drop")


def settle(state: State, response: Response) -> Response:
    """Mark the visitor's cookie for the account that uses it, or drop another account's."""
    known = environ().get(_MEMO)
    if not isinstance(known, Identity) or known.cookie == "keep":
        return response
    environ()[_MEMO] = replace(known, cookie="keep")
    for_one_person()
    if known.visitor is not None and known.account is not None:
        value = signed(known.visitor, known.account)
        _set(state, response, cookie_name(state), value, httponly=True)
    else:
        forget_visitor(state, response)
    return response


def new_visitor() -> str:
    """An id for somebody who answers for the first time."""
    return VISITOR + secrets.token_urlsafe(16)


def leave_visitor() -> None:
    """From here on in this request only the account is asking, or nobody."""
    known = environ().get(_MEMO)
    if isinstance(known, Identity):
        environ()[_MEMO] = Identity(known.account, None)


def become(visitor: str) -> None:
    """From here on in this request the visitor with this id is asking."""
    environ()[_MEMO] = Identity(None, visitor)


def remember(state: State, response: Response, visitor: str) -> None:
    """Set the signed cookie, with a new issue time."""
    _set(state, response, cookie_name(state), signed(visitor), httponly=True)


def signed(visitor: str, account: str | None = None) -> str:
    """The value of the cookie of a visitor, issued now; `account`: who uses it."""
    value = visitor.removeprefix(VISITOR)
    if account is not None:
        value += "." + signer(_ACCOUNT_SALT).get_signature(_pair(visitor, account)).decode()
    return signer().sign(value).decode()


def _pair(visitor: str, account: str) -> str:
    """With the visitor in it, the marks of one account in two browsers have nothing in common."""
    return f"{visitor.removeprefix(VISITOR)}.{account}"


def hint(state: State, response: Response, value: str) -> None:
    """Set the cookie that scripts read. The server never trusts it."""
    _set(state, response, HINT, value, httponly=False)


def forget_hint(state: State, response: Response) -> None:
    """Drop it: the script asks the server again."""
    response.delete_cookie(HINT, path="/", domain=state.settings.cookie_domain, secure=request.is_secure)


def forget_visitor(state: State, response: Response) -> None:
    """Drop the visitor's cookie: this browser is nobody's until somebody answers."""
    name = cookie_name(state)
    domain = None if name.startswith("__Host-") else state.settings.cookie_domain
    response.delete_cookie(name, path="/", domain=domain, secure=request.is_secure, httponly=True)


def announced_hint(state: State, response: Response, value: str) -> None:
    """Set the cookie by which scripts hide announcements that were acknowledged. The server never reads it."""
    _set(state, response, SEEN, value, httponly=False)


def lifetime_s(state: State) -> int:
    """How long the cookies live: 180 days, and where silence may be a yes, as long as a no has to be remembered."""
    kit = state.kit
    days = longest_rest_days(kit.catalog) if kit.facts.relaxes(kit.catalog) else 0
    return min(max(SHORTEST_DAYS, days), LONGEST_DAYS) * DAY_S


def cookie_name(state: State) -> str:
    """The name for the present scheme: browsers keep a `__Host-` cookie only when it is Secure."""
    if not request.is_secure:
        return "consent"
    return "__Secure-consent" if state.settings.cookie_domain else "__Host-consent"


def _set(state: State, response: Response, name: str, value: str, *, httponly: bool) -> None:
    domain = None if name.startswith("__Host-") else state.settings.cookie_domain
    response.set_cookie(
        name,
        value,
        max_age=lifetime_s(state),
        path="/",
        domain=domain,
        secure=request.is_secure,
        httponly=httponly,
        samesite="Lax",
    )


def _account(state: State) -> str | None:
    if state.loaders.subject is None:
        return None
    account = state.loaders.subject()
    if account is None:
        return None
    if not isinstance(account, str) or not account or account.startswith(VISITOR):
        raise ConsentKitError(
            f"the subject_loader returned what is no account's id ({type(account).__name__}): return text that "
            f"is not empty, or None; ids that begin with {VISITOR!r} are ours"
        )
    return account


def _visitor(state: State) -> tuple[str | None, str]:
    """The id in the cookie, and the mark of an account."""
    cookie = request.cookies.get(cookie_name(state))
    if not cookie:
        return None, ""
    try:
        value = signer().unsign(cookie, max_age=lifetime_s(state)).decode("ascii")
    except (BadData, ValueError, OverflowError, OSError):
        return None, ""
    visitor, _, mark = value.partition(".")
    return VISITOR + visitor, mark


def signer(salt: str = _SALT) -> TimestampSigner:
    """Signs with the app's SECRET_KEY, and reads with its fallbacks. Raises ConsentKitError without one."""
    return TimestampSigner(signing_keys(current_app), salt=salt)


def signing_keys(app: Flask) -> list[bytes]:
    """SECRET_KEY, which signs, after its fallbacks. Raises ConsentKitError where there is none."""
    if not app.secret_key:
        raise ConsentKitError("SECRET_KEY is not set: consentkit signs the visitor cookie with it")
    keys = [*(app.config.get("SECRET_KEY_FALLBACKS") or []), app.secret_key]
    return [key.encode() if isinstance(key, str) else key for key in keys]
