"""A shop with a catalogue in a folder of its own, and `flask consent …` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from consentkit.store.database import begin_sqlite
from consentkit.store.tables import metadata

if TYPE_CHECKING:
    from tests.conftest import PgServer

KEY = "k" * 64

APP = """
from pathlib import Path
from flask import Flask
from consentkit import ConsentKit, requires_consent

consent = ConsentKit.from_file(Path(__file__).with_name("consent.toml"))

def create_app():
    app = Flask("shop", instance_path=str(Path(__file__).with_name("instance")))
    app.config.from_prefixed_env()
    consent.init_app(app)

    @app.get("/letters")
    @requires_consent("newsletter")
    def letters():
        return "letters"

    return app
"""

CATALOGUE = """
[controller]
name = "Shop"
contact = "privacy@shop.example"
[site]
name = "Shop"

[purposes.newsletter]
title = "Our monthly letter"
version = 1

[purposes.replies]
title = "Mail about replies"
scoped = true

[purposes.orders]
title = "Your orders"
basis = "contract"

[policies.terms]
title = "Terms of use"
[[policies.terms.versions]]
version = "1"
files = { en = "terms-1.md" }
"""


@dataclass
class Shop:
    """The folder of the app."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def catalogue(self) -> Path:
        return self.folder / "consent.toml"

    def change(self, old: str, new: str) -> None:
        """Change the catalogue."""
        text = self.catalogue.read_text()
        assert old in text
        self.catalogue.write_text(text.replace(old, new))

    def add(self, toml: str) -> None:
        """Add to the catalogue."""
        self.catalogue.write_text(self.catalogue.read_text() + toml)

    def consent(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `flask consent …`. Whatever happens, nobody is shown a traceback."""
        settings = {"PATH": os.environ["PATH"], "FLASK_SECRET_KEY": "s", **self.environment, **environment}
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "shop_app", "consent", *arguments],
            cwd=self.folder,
            env={name: value for name, value in settings.items() if value},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done


def fill(engine: sa.Engine, purpose: str, number: int, tenant: str = "") -> None:
    """So many subjects who said yes to a purpose. The database counts: rows from here would take ten times as long."""
    subjects, state = (metadata.tables[f"consentkit_{name}"] for name in ("subject", "state"))
    numbers = sa.select(sa.literal(0).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < number - 1))
    digits = sa.cast(sa.literal(10**15, sa.BigInteger) + numbers.c.n, sa.Text)  # sixteen
    bytes_of = sa.cast(digits, sa.LargeBinary)
    key = sa.func.convert_to(digits, "UTF8") if engine.dialect.name == "postgresql" else bytes_of
    known = {"bucket": 1, "tenant": tenant, "subject": "m-" + sa.cast(numbers.c.n, sa.Text), "salt": key}
    answer = {"bucket": 1, "kind": "purpose", "item": purpose, "scope": "", "actor": "subject", "level": 0}
    answer |= {"status": "given", "version": 1, "effective_us": 1, "event_id": str(uuid.UUID(int=1))}
    with engine.begin() as connection:
        begin_sqlite(connection)
        for table, row in ((subjects, known), (state, answer)):
            columns: dict[str, Any] = {"subject_key": key}
            for name, value in row.items():
                constant = isinstance(value, (str, int))
                columns[name] = sa.literal(value, table.c[name].type) if constant else value
            rows = sa.select(*columns.values()).select_from(numbers)
            connection.execute(sa.insert(table).from_select(list(columns), rows))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop on its embedded ledger."""
    (tmp_path / "shop_app.py").write_text(APP)
    (tmp_path / "consent.toml").write_text(CATALOGUE)
    (tmp_path / "terms-1.md").write_text("# Terms\n\nBe kind.\n")
    return Shop(tmp_path)


@pytest.fixture
def empty_pg_url(pg_server: PgServer) -> Iterator[str]:
    """A PostgreSQL database without a table."""
    with pg_server.database() as name:
        yield pg_server.url(name)
