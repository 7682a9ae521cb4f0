"""API keys: shown once, stored hashed, scoped, revoked at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from flask import Flask

from consentkit import ConsentKit
from consentkit.store.api_keys import ApiKey, authenticate, create_key, list_keys, revoke_key
from tests.web.api_caller import Caller


def test_a_key_is_stored_hashed_and_found_again(app: Flask, kit: ConsentKit, tmp_path: Path) -> None:
    with app.app_context():
        secret = create_key(kit.runtime, label="shop", tenant="acme", scopes=("write", "read"))
        found = authenticate(kit.runtime, secret)
        assert isinstance(found, ApiKey)
        assert (found.label, found.tenant, found.scopes) == ("shop", "acme", ("read", "write"))
        assert list_keys(kit.runtime) == [found]
    _mark, key_id, hidden = secret.split("_")
    assert found.key_id == key_id
    dump = "\n".join(sqlite3.connect(next(tmp_path.rglob("*.sqlite3"))).iterdump())
    assert key_id in dump
    assert hidden not in dump
    assert hidden not in repr(found)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"),
        lambda s: s.replace("ck_", "ck_0" * 5),
        lambda s: s + "0",
        lambda s: s.upper(),
        lambda s: s.split("_")[2],
        lambda s: "ck_" + "0" * 16 + "_" + "0" * 64,
        lambda s: "",
        lambda s: "ck_é\0",
    ],
)
def test_any_other_secret_is_nobody(app: Flask, kit: ConsentKit, spoil: object) -> None:
    with app.app_context():
        secret = create_key(kit.runtime, label="shop")
        assert callable(spoil)
        assert authenticate(kit.runtime, spoil(secret)) is None
        assert authenticate(kit.runtime, secret) is not None


def test_the_secret_of_one_key_does_not_open_another(app: Flask, kit: ConsentKit) -> None:
    with app.app_context():
        one, two = (create_key(kit.runtime, label=label) for label in ("one", "two"))
        mixed = "_".join(("ck", one.split("_")[1], two.split("_")[2]))
        assert authenticate(kit.runtime, mixed) is None


def test_a_revoked_key_is_refused_at_once(app: Flask, kit: ConsentKit) -> None:
    caller = Caller(app, kit)
    assert caller.get("/catalog").status_code == 200
    with app.app_context():
        (key,) = list_keys(kit.runtime)
        assert revoke_key(kit.runtime, key.key_id) is True
        assert revoke_key(kit.runtime, key.key_id) is False
        assert list_keys(kit.runtime)[0].revoked_at is not None
    answer = caller.get("/catalog")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="consentkit", error="invalid_token"'


def test_there_is_no_key_to_revoke(app: Flask, kit: ConsentKit) -> None:
    with app.app_context():
        assert revoke_key(kit.runtime, "0" * 16) is False


@pytest.mark.parametrize(
    "given",
    [
        {"label": ""},
        {"label": " "},
        {"label": "a\nb"},
        {"label": "x" * 201},
        {"label": "x", "tenant": "a\0b"},
        {"label": "x", "scopes": ()},
        {"label": "x", "scopes": ("read", "admin")},
        {"label": "x", "scopes": "read"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(app: Flask, kit: ConsentKit, given: dict[str, object]) -> None:
    with app.app_context():
        with pytest.raises(ValueError, match=r"scopes|label"):
            create_key(kit.runtime, **given)  # type: ignore[arg-type]
        assert list_keys(kit.runtime) == []


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "ck_x", "Bearer a=b", "Token x"]
)
def test_without_a_key_there_is_a_challenge(app: Flask, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = app.test_client().get("/consent/v1/catalog", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="consentkit"')
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/catalog", "read"),
        ("GET", "/policies", "read"),
        ("GET", f"/documents/{'0' * 64}", "read"),
        ("GET", "/events", "read"),
        ("GET", "/events/01a2031d-8937-7000-9c3a-f77ce141a9c0", "read"),
        ("POST", "/decisions", "read"),
        ("GET", "/subjects/u/consents", "read"),
        ("GET", "/subjects/u/decisions/newsletter", "read"),
        ("GET", "/subjects/u/export", "read"),
        ("GET", "/subjects/u/receipt", "read"),
        ("PUT", "/subjects/u/consents/newsletter", "write"),
        ("PUT", "/subjects/u/policies/terms", "write"),
        ("DELETE", "/subjects/u", "erase"),
    ],
)
def test_each_operation_needs_its_scope(
    app: Flask, kit: ConsentKit, method: str, path: str, scope: str
) -> None:
    others = [name for name in ("read", "write", "erase") if name != scope]
    answer = Caller(app, kit, scopes=others).call(method, path)
    assert answer.status_code == 403
    assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]
    assert Caller(app, kit, scopes=[scope]).call(method, path).status_code not in (401, 403)
