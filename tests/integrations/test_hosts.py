"""The host's own engine and transactions: Flask-SQLAlchemy, Flask-SQLAlchemy-Lite, Alembic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as Lite

from consentkit import ConsentKit, ConsentKitError, Purpose, consent_recorded, metadata
from consentkit.proof import SigningKey

KEY = "k" * 64
PURPOSES = [Purpose("newsletter", title="N")]


def big(url: str) -> Flask:
    app = Flask("big")
    app.config.update(SQLALCHEMY_DATABASE_URI=url)
    return app


def lite(url: str) -> Flask:
    app = Flask("lite")
    app.config.update(SQLALCHEMY_ENGINES={"default": url})
    return app


HOSTS: dict[str, tuple[Callable[[str], Flask], Callable[[], Any]]] = {
    "Flask-SQLAlchemy": (big, SQLAlchemy),
    "Flask-SQLAlchemy-Lite": (lite, Lite),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    return sqlite_url if request.param == "sqlite" else str(request.getfixturevalue("pg_url"))


@pytest.fixture(params=sorted(HOSTS))
def host(request: pytest.FixtureRequest, url: str) -> Iterator[tuple[Flask, Any, ConsentKit]]:
    make, extension = HOSTS[request.param]
    app, db = make(url), extension()
    log_key = SigningKey.generate("consentkit-log").private_text()
    app.config.update(SECRET_KEY="k", TESTING=True, CONSENTKIT_KEY=KEY, CONSENTKIT_LOG_KEY=log_key)
    db.init_app(app)
    kit = ConsentKit(purposes=PURPOSES, engine=lambda: db.engine)
    kit.init_app(app)
    yield app, db, kit
    with app.app_context():
        db.session.remove() if hasattr(db.session, "remove") else db.session.close()
        db.engine.dispose()


def test_on_the_hosts_engine(host: tuple[Flask, Any, ConsentKit]) -> None:
    app, _, kit = host
    with app.app_context():
        assert kit.of("u-1").decide("newsletter").reason == "STORE_UNAVAILABLE"
        kit.runtime.upgrade()
        kit.runtime.publish()
        kit.give("u-1", "newsletter")
        assert kit.of("u-1").allows("newsletter")
        kit.ledger.seal()
        assert kit.ledger.verify().sealed == 1
    assert app.test_client().post("/consent", json={"decision": "reject-all"}).status_code == 200


def test_in_the_hosts_transaction(host: tuple[Flask, Any, ConsentKit]) -> None:
    app, db, kit = host
    told: list[str] = []
    with app.app_context(), consent_recorded.connected_to(lambda _, subject, **__: told.append(subject)):
        kit.runtime.upgrade()
        kit.runtime.publish()
        kit.give("u-1", "newsletter", connection=db.session.connection())
        db.session.rollback()
        assert not kit.of("u-1").allows("newsletter")
        kit.give("u-1", "newsletter", connection=db.session.connection())
        assert told == []
        db.session.commit()
        assert kit.of("u-1").allows("newsletter")


def test_without_an_app_context_nothing_is_allowed(host: tuple[Flask, Any, ConsentKit]) -> None:
    _, _, kit = host
    assert kit.of("u-1").decide("newsletter").reason == "STORE_UNAVAILABLE"


def test_alembic_with_our_metadata_finds_nothing_to_do(url: str, tmp_path: Path) -> None:
    app = Flask("alembic", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="k", CONSENTKIT_DATABASE_URL=url, CONSENTKIT_KEY=KEY)
    kit = ConsentKit(purposes=PURPOSES)
    kit.init_app(app)
    kit.runtime.upgrade()
    host_tables = sa.MetaData()
    sa.Table("host_letter", host_tables, sa.Column("id", sa.Integer, primary_key=True))
    engine = kit.runtime.database.engine
    host_tables.create_all(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, [host_tables, metadata]) == []
        removed = compare_metadata(context, host_tables)
        assert {"remove_table", "remove_index"} >= {step[0] for step in removed} != set()
    engine.dispose()


def test_engine_and_url_together_are_refused(tmp_path: Path) -> None:
    app = Flask("both", instance_path=str(tmp_path))
    app.config.update(SECRET_KEY="k", CONSENTKIT_DATABASE_URL="postgresql://host/x")
    with pytest.raises(ConsentKitError, match="not both"):
        ConsentKit(engine=lambda: sa.create_engine("sqlite://")).init_app(app)
