"""Files that are made once: keys beside a SQLite database. Several processes may begin at the same time."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from consentkit.core.errors import ConsentKitError


def make_once(path: Path, text: str, mode: int) -> bool:
    """Make a file, durably, unless it is there; False when it was. Nobody ever sees half of it.

    Raises ConsentKitError where no file can be made.
    """
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(draft, text, mode)
        try:
            os.link(draft, path)  # like O_EXCL: fails when the file is there
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            return _make_in_place(path, text, mode)
        finally:
            draft.unlink()
    except OSError as error:
        raise ConsentKitError(f"the file {path} cannot be made: {error.strerror}") from error
    return True


def read_made(path: Path) -> str:
    """The text of such a file, without the line feed. Raises ConsentKitError."""
    try:
        return path.read_text("ascii").strip()
    except UnicodeDecodeError:
        raise ConsentKitError(f"the file {path} does not hold a key: it is not ASCII") from None
    except OSError as error:
        raise ConsentKitError(f"the file {path} cannot be read: {error.strerror}") from error


def _make_in_place(path: Path, text: str, mode: int) -> bool:
    try:
        _write(path, text, mode)
    except FileExistsError:
        return False
    return True


def _write(path: Path, text: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
