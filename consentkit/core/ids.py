"""What can be the id of a person, and the name of a tenant."""

from __future__ import annotations

SUBJECT_BYTES = 1024
"""The longest id, in UTF-8: PostgreSQL keeps about 2,700 bytes of tenant and id in an index."""


def check_subject(subject: object, tenant: object = None) -> None:
    """Raise ValueError for what cannot be an id."""
    if not isinstance(subject, str) or not subject or "\0" in subject:
        raise ValueError("subject: give the id of the person, as text that is not empty")
    if _size(subject) > SUBJECT_BYTES:
        raise ValueError(f"subject: an id has at most {SUBJECT_BYTES} bytes of UTF-8")
    if tenant is not None:
        check_tenant(tenant)


def check_tenant(tenant: object) -> None:
    """Raise ValueError for what cannot be the name of a tenant; None is the host itself."""
    if tenant is None:
        return
    if not isinstance(tenant, str) or "\0" in tenant:
        raise ValueError("tenant: give the name of the tenant as text, or None")
    if _size(tenant) > SUBJECT_BYTES:
        raise ValueError(f"tenant: a name has at most {SUBJECT_BYTES} bytes of UTF-8")


def _size(text: str) -> int:
    """Raises ValueError for a surrogate."""
    return len(text) if text.isascii() else len(text.encode())
