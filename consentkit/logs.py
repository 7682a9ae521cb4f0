"""What consentkit writes to the log: the logger `consentkit`, fields in `extra`, nothing about a person.

A record has `event` and named fields. Ids of subjects and visitors, addresses, cookies and what people wrote are
never fields: a log is kept elsewhere and longer than the ledger, and erasure does not reach it.
"""

from __future__ import annotations

import logging
import traceback

from consentkit.core.errors import ConsentKitError

LOGGER = logging.getLogger("consentkit")


def log(level: int, event: str, message: str, **fields: str | int | None) -> None:
    """Write one record. `message` shows fields by `%(name)s`; all of them go along as attributes of the record."""
    if LOGGER.isEnabledFor(level):
        arguments = (fields,) if fields else ()
        LOGGER.log(level, message, *arguments, extra={"event": event, **fields}, stacklevel=2)


def unavailable(error: Exception) -> None:
    """The ledger could not be used, so something was blocked or not recorded."""
    log(
        logging.ERROR,
        "ledger_unavailable",
        "the consent ledger cannot be used, nothing is processed: %(error)s",
        error=harmless(error),
    )


def unanswered(error: Exception) -> None:
    """What the host says of one subject could not be had, so this one is blocked."""
    log(
        logging.ERROR,
        "subject_unanswered",
        "one of many subjects is blocked, because it cannot be answered about: %(error)s",
        error=harmless(error),
    )


def harmless(error: BaseException) -> str:
    """What may be said about an error: our own words, or of a driver's error its class and code.

    A driver's message may quote a row. Only an OperationalError is about the server: its first line says which.
    """
    cause = error.__cause__ if isinstance(error, ConsentKitError) else error
    if cause is None:
        return str(error)
    name = type(cause).__name__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    line = str(cause).partition("\n")[0] if name == "OperationalError" else ""
    return ", ".join(filter(None, (name, code, line)))


def where(error: BaseException) -> str:
    """The places that an error came through, without its message and without values."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join(f"{f.filename}:{f.lineno} in {f.name}" for f in frames)
