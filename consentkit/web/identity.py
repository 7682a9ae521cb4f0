"""Who is asking: the account that the host names, or a visitor known by a signed cookie.

The cookie carries a random id and its issue time, nothing else: an old copy cannot restore consent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from flask import Flask, Response, after_this_request, current_app, request
from itsdangerous import BadData, TimestampSigner

from consentkit.core.errors import ConsentKitError
from consentkit.core.reask import longest_rest_days
from consentkit.core.record import VISITOR
from consentkit.web.context import environ
from consentkit.web.state import State

DAY_S = 24 * 3600
SHORTEST_DAYS = 180
LONGEST_DAYS = 400
"""Browsers keep no cookie longer (RFC 6265bis, 5.5)."""
HINT, SEEN = "consent_hint", "consent_seen"
_MEMO = "consentkit.identity"
_SALT = "consentkit.visitor.v1"


@dataclass(frozen=True, slots=True)
class Identity:
    """`subject` is whom the answers belong to; `visitor` the id in the cookie, also of somebody signed in."""

    account: str | None
    visitor: str | None

    @property
    def subject(self) -> str | None:
        """The account, else the visitor, else None."""
        return self.account or self.visitor


def identify(state: State) -> Identity:
    """Who is asking in this request; a cookie that is forged, cut or old is nobody."""
    memo = environ().get(_MEMO)
    if isinstance(memo, Identity):
        return memo
    after_this_request(_vary)
    identity = Identity(_account(state), _visitor(state))
    environ()[_MEMO] = identity
    return identity


def new_visitor() -> str:
    """An id for somebody who answers for the first time."""
    return VISITOR + secrets.token_urlsafe(16)


def _vary(response: Response) -> Response:
    """What was made for one person is not for others: only pages that asked vary."""
    response.vary.add("Cookie")
    return response


def forget_identity() -> None:
    """Ask the host again who is there: somebody signed in or out during this request."""
    environ().pop(_MEMO, None)


def leave_visitor() -> None:
    """From here on in this request only the account is asking."""
    known = environ().get(_MEMO)
    if isinstance(known, Identity):
        environ()[_MEMO] = Identity(known.account, None)


def become(visitor: str) -> None:
    """From here on in this request the visitor with this id is asking."""
    environ()[_MEMO] = Identity(None, visitor)


def remember(state: State, response: Response, visitor: str) -> None:
    """Set the signed cookie, with a new issue time."""
    _set(state, response, cookie_name(state), signed(visitor), httponly=True)


def signed(visitor: str) -> str:
    """The value of the cookie of a visitor, issued now."""
    return signer().sign(visitor.removeprefix(VISITOR)).decode()


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


def _visitor(state: State) -> str | None:
    cookie = request.cookies.get(cookie_name(state))
    if not cookie:
        return None
    try:
        return VISITOR + signer().unsign(cookie, max_age=lifetime_s(state)).decode("ascii")
    except (BadData, ValueError, OverflowError, OSError):
        return None


def signer(salt: str = _SALT) -> TimestampSigner:
    """Signs with the app's SECRET_KEY, and reads with its fallbacks. Raises ConsentKitError without one."""
    return TimestampSigner(signing_keys(current_app), salt=salt)


def signing_keys(app: Flask) -> list[bytes]:
    """SECRET_KEY, which signs, after its fallbacks. Raises ConsentKitError where there is none."""
    if not app.secret_key:
        raise ConsentKitError("SECRET_KEY is not set: consentkit signs the visitor cookie with it")
    keys = [*(app.config.get("SECRET_KEY_FALLBACKS") or []), app.secret_key]
    return [key.encode() if isinstance(key, str) else key for key in keys]
