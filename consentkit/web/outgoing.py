"""`gated_session` without naming a kit: the app context's, else that of the only app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentkit.web.state import find_kit

if TYPE_CHECKING:
    from requests import Session


def gated_session(
    *items: str, subject: str | None, tenant: str | None = None, scope: str = "", **options: Any
) -> Session:
    """A `requests.Session` for these purposes and one subject: each request and redirect asks before it leaves.

    The kit is looked for at each request: the app context's, else the one of the only initialised app, else nothing
    is sent. Blocked: raises ConsentMissing or NotARecipient. `options`: keywords of HTTPAdapter, such as
    `max_retries`; an adapter that does not ask cannot be mounted. Raises ConsentKitError without a purpose or without
    requests (`pip install consentkit[http]`).
    """
    from consentkit.integrations import requests  # an extra: looked for when somebody calls out

    return requests.gated_session(find_kit, *items, subject=subject, tenant=tenant, scope=scope, **options)
