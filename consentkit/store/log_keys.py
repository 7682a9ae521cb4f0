"""The log's key pair and its anchor: files beside a SQLite database, settings elsewhere.

The anchor is an append-only list of published checkpoints outside the database: without it a rolled-back
database, a cut tail or a stolen log key would not be seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consentkit.core.errors import ConsentKitError
from consentkit.proof import Checkpoint, KeyInvalid, SigningKey, VerifierKey

KEY_FILE, PUBLIC_FILE, ANCHOR_FILE = "consentkit-log.key", "consentkit-log.pub", "consentkit-log.anchor"
KEY_NAME = "consentkit-log"


@dataclass(frozen=True, slots=True)
class Anchored:
    """One line of the anchor: a checkpoint that was published."""

    origin: str
    size: int
    root: bytes


class FileAnchor:
    """An append-only file, a line per checkpoint: `<origin> <size> <root in hex>`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Anchored]:
        """Every published checkpoint, oldest first. Raises ConsentKitError for a file that is not one."""
        try:
            text = self.path.read_text("ascii")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConsentKitError(f"the anchor {self.path} cannot be read: {error}") from error
        return [self._line(number, line) for number, line in enumerate(text.splitlines(), start=1)]

    def publish(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint, durably. One that is there already is not written twice."""
        with self._locked() as handle:
            known = [line for line in self.lines() if line.origin == checkpoint.origin]
            if not known or known[-1].size < checkpoint.size:
                line = f"{checkpoint.origin} {checkpoint.size} {checkpoint.root.hex()}\n"
                os.write(handle, line.encode("ascii"))
                os.fsync(handle)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConsentKitError(f"the anchor {self.path} cannot be written: {error.strerror}") from error
        try:
            _lock(handle)
            yield handle
        finally:
            os.close(handle)

    def _line(self, number: int, line: str) -> Anchored:
        try:
            origin, size, root = line.split(" ")
            anchored = Anchored(origin, int(size), bytes.fromhex(root))
        except ValueError:
            raise ConsentKitError(f"line {number} of the anchor {self.path} is not a checkpoint") from None
        return anchored


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Who signs checkpoints (None: this process only reads), who verifies them, and where they are anchored."""

    signing: SigningKey | None
    verifier: VerifierKey
    anchor: FileAnchor | None


def load_log_keys(setting: str | None, anchor: str | None, folder: Path | None) -> LogKeys:
    """From CONSENTKIT_LOG_KEY and CONSENTKIT_LOG_ANCHOR, else from files that are made when missing.

    Raises ConsentKitError when there is neither, or a key cannot be read.
    """
    try:
        if setting:
            signing = SigningKey.parse(setting.strip())
            return LogKeys(signing, signing.verifier, FileAnchor(Path(anchor)) if anchor else None)
        if folder is None:
            raise ConsentKitError(
                "CONSENTKIT_LOG_KEY is not set: with PostgreSQL the log's signing key is a setting. "
                "Make one with `flask consent log-key`"
            )
        signing = _read_or_make(folder / KEY_FILE)
        pinned = _pinned(folder / PUBLIC_FILE, signing.verifier)
    except KeyInvalid as error:
        raise ConsentKitError(f"the log's signing key cannot be used: {error}") from None
    return LogKeys(signing, pinned, FileAnchor(Path(anchor) if anchor else folder / ANCHOR_FILE))


def _read_or_make(path: Path) -> SigningKey:
    key = SigningKey.generate(KEY_NAME)
    if _make(path, key.private_text() + "\n", 0o600):
        return key
    return SigningKey.parse(path.read_text("ascii").strip())


def _pinned(path: Path, verifier: VerifierKey) -> VerifierKey:
    """The public key as it was pinned when the log began."""
    if _make(path, f"{verifier}\n", 0o644):
        return verifier
    return VerifierKey.parse(path.read_text("ascii").strip())


def _make(path: Path, text: str, mode: int) -> bool:
    """Make a file that is not there yet; False when it is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConsentKitError(f"{path} cannot be made: {error.strerror}") from error
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return True


def _lock(handle: int) -> None:
    """One writer at a time; where the system has no such lock, O_APPEND keeps lines whole."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
