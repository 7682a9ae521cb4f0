"""The log's key pair and its anchor: files beside a SQLite database, settings elsewhere.

The anchor is an append-only list of published checkpoints outside the database: without it a rolled-back
database, a cut tail or a stolen log key would not be seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consentkit.core.errors import ConsentKitError
from consentkit.proof import Checkpoint, KeyInvalid, SigningKey, VerifierKey
from consentkit.store.key_files import make_once, read_made

KEY_FILE, PUBLIC_FILE, ANCHOR_FILE = "consentkit-log.key", "consentkit-log.pub", "consentkit-log.anchor"
KEY_NAME = "consentkit-log"
_LINE = re.compile("([^ ]+) (0|[1-9][0-9]*) ([0-9a-f]{64})")
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Anchored:
    """One line of the anchor: a checkpoint that was published."""

    origin: str
    size: int
    root: bytes


class FileAnchor:
    """An append-only file, a line per checkpoint: `<origin> <size> <root in hex>`.

    What follows the last line feed was not written to its end, and does not count.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Anchored]:
        """Every published checkpoint, oldest first. Raises ConsentKitError for a file that is not one."""
        with self._reading() as handle:
            data = b"" if handle is None else _read_from(handle, 0)
        return [self._line(line) for line in data.split(b"\n")[:-1]]

    def last(self, origin: str) -> Anchored | None:
        """The last published checkpoint of a log: near the end of the file, however long it is."""
        with self._reading() as handle:
            if handle is None:
                return None
            size, back = os.fstat(handle).st_size, _BLOCK
            while True:
                start = max(0, size - back)
                whole = _read_from(handle, start).split(b"\n")[1 if start else 0 : -1]
                for line in reversed(whole):
                    if (found := self._line(line)).origin == origin:
                        return found
                if not start:
                    return None
                back *= 4

    def publish(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, durably. One that is there already is not written twice."""
        with self._locked() as handle:
            known = self.last(checkpoint.origin)
            if known is None or known.size < checkpoint.size:
                _drop_unfinished(handle)
                line = f"{checkpoint.origin} {checkpoint.size} {checkpoint.root.hex()}\n"
                os.write(handle, line.encode("ascii"))
                os.fsync(handle)

    def check(self) -> None:
        """Raise ConsentKitError when nothing could be published."""
        with self._locked():
            pass

    @contextmanager
    def _reading(self) -> Iterator[int | None]:
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise ConsentKitError(f"the anchor {self.path} cannot be read: {error.strerror}") from error
        try:
            yield handle
        except OSError as error:
            raise ConsentKitError(f"the anchor {self.path} cannot be read: {error.strerror}") from error
        finally:
            os.close(handle)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConsentKitError(f"the anchor {self.path} cannot be written: {error.strerror}") from error
        try:
            _lock(handle)
            yield handle
        finally:
            os.close(handle)

    def _line(self, line: bytes) -> Anchored:
        found = _LINE.fullmatch(line.decode("ascii", "replace"))
        if found is None:
            shown = line[:80].decode("ascii", "backslashreplace")
            raise ConsentKitError(f"the anchor {self.path} has a line that is no checkpoint: {shown!r}")
        return Anchored(found[1], int(found[2]), bytes.fromhex(found[3]))


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Who signs checkpoints (None: this process only reads), who verifies them, and where they are anchored."""

    signing: SigningKey | None
    verifier: VerifierKey
    anchor: FileAnchor | None


def load_log_keys(setting: str | None, anchor: str | None, folder: Path | None) -> LogKeys:
    """From CONSENTKIT_LOG_KEY and CONSENTKIT_LOG_ANCHOR, else from files that are made when missing.

    The setting may be the public key: then this process verifies and does not seal. Raises ConsentKitError
    when there is neither, a key cannot be read, or the two halves are not a pair.
    """
    if setting:
        signing, verifier = _parse(setting.strip(), "CONSENTKIT_LOG_KEY")
        return LogKeys(signing, verifier, FileAnchor(Path(anchor)) if anchor else None)
    if folder is None:
        raise ConsentKitError(
            "CONSENTKIT_LOG_KEY is not set: with PostgreSQL the log's signing key is a setting. "
            "Make one with `flask consent log-key`"
        )
    at = FileAnchor(Path(anchor) if anchor else folder / ANCHOR_FILE)
    private, public = folder / KEY_FILE, folder / PUBLIC_FILE
    if not private.exists() and public.exists():  # somebody who may verify, and not seal
        return LogKeys(None, _parse(read_made(public), str(public))[1], at)
    if not private.exists() and (folder / ANCHOR_FILE).exists():
        raise ConsentKitError(
            f"{folder / ANCHOR_FILE} is there, {KEY_FILE} is not: restore it from a backup. If the ledger was "
            "thrown away on purpose, move the anchor away as well"
        )
    return LogKeys(*_pair(private, public), at)


def _pair(private: Path, public: Path) -> tuple[SigningKey, VerifierKey]:
    """The key pair of a folder, made when it is not there; the public half is pinned."""
    make_once(private, SigningKey.generate(KEY_NAME).private_text() + "\n", 0o600)
    signing, verifier = _parse(read_made(private), str(private))
    if signing is None:
        raise ConsentKitError(f"{private} holds no signing key: restore the file from a backup")
    if make_once(public, f"{verifier}\n", 0o644):
        return signing, verifier
    _, pinned = _parse(read_made(public), str(public))
    if pinned != verifier:
        raise ConsentKitError(
            f"{private} and {public} are not a pair: one of them was replaced. Restore it from a backup"
        )
    return signing, verifier


def _parse(text: str, where: str) -> tuple[SigningKey | None, VerifierKey]:
    try:
        if not text.startswith("PRIVATE+"):
            return None, VerifierKey.parse(text)
        signing = SigningKey.parse(text)
    except KeyInvalid as error:
        raise ConsentKitError(f"{where} is not a key of the log: {error}") from None
    return signing, signing.verifier


def _read_from(handle: int, start: int) -> bytes:
    """From a position to the end."""
    os.lseek(handle, start, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _drop_unfinished(handle: int) -> None:
    """Cut off what a crash left behind the last line feed: it was never published."""
    size = os.fstat(handle).st_size
    start = max(0, size - _BLOCK)
    tail = _read_from(handle, start)
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(handle, start + tail.rfind(b"\n") + 1)


def _lock(handle: int) -> None:
    """One writer at a time; where the system has no such lock, O_APPEND keeps lines whole."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
