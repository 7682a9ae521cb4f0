"""A gate for outgoing calls with requests: asked for each request and each redirect, before a byte leaves.

Needs the extra `consentkit[http]`. `kit.gated_session` makes a session; a `ConsentAdapter` can be mounted on one's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from consentkit.core.catalog import Catalog, Party, Purpose
from consentkit.core.errors import ConsentKitError, NotARecipient
from consentkit.core.hosts import owner, plain
from consentkit.core.terms import Kind
from consentkit.kit_declared import ADAPTER, declare
from consentkit.kit_gated import first_no

if TYPE_CHECKING:
    from consentkit.kit import Kit

try:
    from requests import PreparedRequest, Response, Session
    from requests.adapters import BaseAdapter, HTTPAdapter
    from requests.exceptions import InvalidURL
    from urllib3.util import Retry, parse_url
except ImportError:
    raise ConsentKitError("outgoing calls need requests: pip install 'consentkit[http]'") from None


_STAYS = "a gated session stays in its process: make one where it is used"


class ConsentAdapter(HTTPAdapter):
    """A transport of requests that asks first, for one subject.

    With keys of purposes, categories or policies: all of them must be allowed, and a host that belongs to a party is
    called only if one of these purposes names the party in `recipients` (GDPR 5(1)(b)). Without keys: the purposes
    that name the host's party. Blocked: raises ConsentMissing or NotARecipient; nothing has left, not even a
    question to DNS. `kit` may be a callable that finds one. More keywords are those of HTTPAdapter. Raises
    UnknownPurpose.
    """

    def __init__(
        self,
        kit: Kit | Callable[[], Kit | None],
        *items: str,
        subject: str | None,
        tenant: str | None = None,
        scope: str = "",
        **options: Any,
    ) -> None:
        if not callable(kit):
            for item in items:
                kit.catalog.items_of(item)
        self._find: Callable[[], Kit | None] = kit if callable(kit) else lambda: kit
        self._items, self._about = items, (subject, tenant, scope)
        super().__init__(**options)
        declare(self, ADAPTER, _caller(), items, kit=None if callable(kit) else kit)

    @property
    def max_retries(self) -> Retry:
        """How often urllib3 tries again. Each attempt is asked for anew."""
        return self._retries

    @max_retries.setter
    def max_retries(self, retries: Retry) -> None:
        self._retries = _asking(retries)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Ask, then send. Raises ConsentMissing, NotARecipient, and what HTTPAdapter raises."""
        ask = partial(self._ask, _host(request))
        ask()
        before = _ask_again.set(ask)
        try:
            return super().send(request, *args, **kwargs)
        finally:
            _ask_again.reset(before)

    def _ask(self, host: str) -> None:
        kit = self._find()
        if kit is None:
            raise ConsentKitError(
                "gated_session(): no app context and not exactly one initialised app, so nothing is sent"
            )
        subject, tenant, scope = self._about
        items = _items(kit.catalog, self._items, host)
        no = first_no(kit, kit.of(subject, tenant=tenant), items, tenant=tenant or "", scope=scope)
        if no is not None:
            raise no

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(_STAYS)


class GatedSession(Session):
    """A session of requests whose adapters ask, all of them."""

    _open = True  # requests itself mounts adapters that ask nobody when a session is made

    def __init__(self, adapter: Callable[[], ConsentAdapter]) -> None:
        super().__init__()
        for prefix in tuple(self.adapters):
            self.mount(prefix, adapter())
        self._open = False

    def mount(self, prefix: str | bytes, adapter: BaseAdapter) -> None:
        """Mount a ConsentAdapter. Raises TypeError for one that asks nobody."""
        if not (self._open or isinstance(adapter, ConsentAdapter)):
            raise TypeError(
                f"a gated session takes no {type(adapter).__name__}, which would send without asking: give "
                "max_retries= and other options to gated_session(), or mount a kit.consent_adapter()"
            )
        super().mount(prefix, adapter)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(_STAYS)


def gated_session(
    kit: Kit | Callable[[], Kit | None],
    *items: str,
    subject: str | None,
    tenant: str | None = None,
    scope: str = "",
    **options: Any,
) -> Session:
    """A session whose every request asks for these purposes first. `options`: keywords of HTTPAdapter.

    Raises ConsentKitError without any purpose, UnknownPurpose.
    """
    if not items:
        raise ConsentKitError(
            "gated_session() needs the key of a purpose, such as gated_session('analytics', subject='u-42')"
        )
    about: dict[str, Any] = {"subject": subject, "tenant": tenant, "scope": scope}
    return GatedSession(lambda: ConsentAdapter(kit, *items, **about, **options))


def _items(catalog: Catalog, given: Sequence[str], host: str) -> Sequence[str]:
    """What has to be allowed for a call to a host. Raises NotARecipient, UnknownPurpose."""
    party = owner(catalog.parties, host)
    naming = [p for p in catalog.purposes.values() if party is not None and party.key in p.recipients]
    if given:
        asked = {item.key for key in given for item in catalog.items_of(key) if item.kind is Kind.PURPOSE}
        if party is not None and asked.isdisjoint(purpose.key for purpose in naming):
            raise _no_recipient(host, party, given, naming)
        return given
    if party is None:
        raise NotARecipient(
            f"{host} belongs to no party of the catalogue, so nothing is sent: add it to the hosts of a party "
            "that a purpose names in recipients",
            host=host,
        )
    if not naming:
        raise NotARecipient(
            f"{host} belongs to {party.key!r}, which no purpose names in recipients, so nothing is sent",
            host=host,
            party=party.key,
        )
    return [f"purpose:{purpose.key}" for purpose in naming]


def _no_recipient(host: str, party: Party, given: Sequence[str], naming: Sequence[Purpose]) -> NotARecipient:
    mend = (
        f"use a session for {' or '.join(repr(p.key) for p in naming)}" if naming else "add it to recipients"
    )
    return NotARecipient(
        f"{host} belongs to {party.key!r}, which is no recipient of {', '.join(map(repr, given))}, "
        f"so nothing is sent: {mend}",
        host=host,
        party=party.key,
    )


def _host(request: PreparedRequest) -> str:
    """The host that will be called. requests finds it with one parser, urllib3 with another: they have to agree."""
    url = request.url or ""
    try:
        hosts = {plain(urlsplit(url).hostname or ""), plain(parse_url(url).host or "")}
    except ValueError:  # requests mends what it is given, and follows redirects to what it cannot read
        hosts = set()
    host = hosts.pop() if len(hosts) == 1 else ""
    if "" in host.split(".") or "%" in host:
        raise InvalidURL(
            "the host of the address cannot be told for sure, so nothing is sent", request=request
        )
    return host


def _caller() -> str:
    """Module and function that make an adapter, for `flask consent routes`."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "consentkit":
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}" if frame is not None else "python"


# ---------------------------------------------------------------- urllib3's own attempts

_ask_again: ContextVar[Callable[[], None] | None] = ContextVar("consentkit_ask_again", default=None)
"""The question of the request that is being sent: urllib3 tries again without coming back to the adapter."""


class _Asking:
    """Before the next attempt, after the pause: somebody may have withdrawn meanwhile."""

    def sleep(self, response: Any = None) -> None:
        super().sleep(response)  # type: ignore[misc]
        ask = _ask_again.get()
        if ask is not None:
            ask()


def _asking(retries: Retry) -> Retry:
    """The same rules for attempts, of whatever class of Retry; urllib3 makes the next ones of the same class."""
    if isinstance(retries, _Asking):
        return retries
    made = copy(retries)
    made.__class__ = type(type(retries).__name__, (_Asking, type(retries)), {})
    return made
