"""Kits and databases to measure: on a real disk, with durable settings."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from consentkit.core.catalog import Catalog
from consentkit.kit import Kit
from consentkit.proof import SigningKey
from consentkit.runtime import Runtime

KEY = "k" * 64
TESTS = Path(__file__).parent.parent / "tests"

Url = Callable[[], str]
"""The address of a new, empty database."""


def open_kit(catalog: Catalog, url: str) -> Kit:
    """A kit with its tables, published."""
    log_key = SigningKey.generate("consentkit-log").private_text()
    runtime = Runtime.of_url(catalog, url, key=KEY, log_key=log_key)
    runtime.upgrade()
    runtime.publish()
    return Kit(runtime)


@contextmanager
def sqlite() -> Iterator[Url]:
    """SQLite files beside this one: `/tmp` may not be a disk."""
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="tmp-") as folder:
        yield lambda: f"sqlite:///{folder}/{uuid.uuid4().hex[:8]}.db"


@contextmanager
def postgresql() -> Iterator[Url]:
    """A PostgreSQL server of our own with durable settings."""
    sys.path.append(str(TESTS))
    server: Any = import_module("pgserver").Server(durable=True)
    admin = sa.create_engine(server.url(), isolation_level="AUTOCOMMIT")

    def url() -> str:
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return str(server.url(name))

    try:
        yield url
    finally:
        admin.dispose()
        server.stop()


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}
