"""Gated calls to others over HTTP. What makes them lies above the kit, in an integration that needs an extra."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Session

    from consentkit.integrations.requests import ConsentAdapter


class OutgoingCalls:
    """Sessions and adapters of requests that ask this kit."""

    def gated_session(
        self, *items: str, subject: str | None, tenant: str | None = None, scope: str = "", **options: Any
    ) -> Session:
        """A `requests.Session` for these purposes and one subject: each request and redirect asks before it leaves.

        A host that belongs to a party of the catalogue must be a recipient of one of the purposes. Blocked: raises
        ConsentMissing or NotARecipient. `options`: keywords of HTTPAdapter, such as `max_retries`; an adapter that
        does not ask cannot be mounted. Raises ConsentKitError without a purpose or without requests, UnknownPurpose.
        """
        made: Session = _integration().gated_session(
            self, *items, subject=subject, tenant=tenant, scope=scope, **options
        )
        return made

    def consent_adapter(
        self, *items: str, subject: str | None, tenant: str | None = None, scope: str = "", **options: Any
    ) -> ConsentAdapter:
        """The same as an adapter to mount on a session of one's own. `options`: keywords of HTTPAdapter.

        Without purposes it asks for all that name the host's party in `recipients`. Raises UnknownPurpose.
        """
        made: ConsentAdapter = _integration().ConsentAdapter(
            self, *items, subject=subject, tenant=tenant, scope=scope, **options
        )
        return made


def _integration() -> Any:
    return import_module("consentkit.integrations.requests")
