"""The example site without a browser: what it answers, sends and keeps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app
from example_app.__main__ import guide
from example_app.reading import collection
from example_app.site import EDITIONS, words

ROOT = Path(__file__).parents[2]
HTML = {"Accept": "text/html"}
PASSWORD = "low water at noon"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"TESTING": True}, instance_path=tmp_path)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def sign_up(client: FlaskClient, email: str = "reader@example.org", **changed: str) -> Any:
    form = client.get("/sign-up").text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', form))
    data = {**hidden, "email": email, "password": PASSWORD, "agree": "1", **changed}
    return client.post("/sign-up", data=data)


def choose(client: FlaskClient, decision: str) -> None:
    answer = client.post("/consent", data={"decision": decision}, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200


# ---------------------------------------------------------------- pages

OPEN = [
    "/",
    "/articles/tide-table",
    "/articles/lighthouse",
    "/articles/beach",
    "/letter",
    "/sign-in",
    "/sign-up",
]


@pytest.mark.parametrize("path", [*OPEN, *("/de" + path for path in OPEN)])
def test_open_pages(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert f'<html lang="{"de" if path.startswith("/de") else "en"}"' in answer.text
    assert "data-consent-banner" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    outside = re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', answer.text)
    assert outside == []
    assert re.findall(r"<script(?![^>]*src=)|<style| style=| on\w+=", answer.text) == []


def test_a_page_with_the_banner_is_the_same_for_everybody(client: FlaskClient) -> None:
    before = client.get("/articles/lighthouse")
    choose(client, "accept-all")
    after = client.get("/articles/lighthouse")
    assert before.data == after.data
    assert "Vary" not in after.headers


@pytest.mark.parametrize("path", ["/nothing", "/articles/nothing", "/de/articles/nothing"])
def test_not_found(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 404
    assert words("de" if path.startswith("/de") else "en")["error"]["not_found"] in answer.text


def test_both_editions_say_the_same_things() -> None:
    def keys(table: dict[str, Any], above: str = "") -> set[str]:
        inner = (keys(v, f"{above}{k}.") if isinstance(v, dict) else {above + k} for k, v in table.items())
        return set().union(*inner)

    assert keys(words("en")) == keys(words("de"))
    for folder in ("articles", "letters"):
        slugs = [[text.slug for text in collection(folder, locale)] for locale in EDITIONS]
        assert slugs[0] == slugs[1] != []


# ---------------------------------------------------------------- gates


def test_the_counter_asks_the_ledger(client: FlaskClient) -> None:
    def hit() -> tuple[int, str | None]:
        answer = client.post("/metrics/hit", data={"path": "/"})
        return answer.status_code, (answer.get_json(silent=True) or {}).get("reason")

    client.set_cookie("consent_hint", "x~d~analytics")
    assert hit() == (403, "NO_ANSWER")
    choose(client, "reject-all")
    assert hit() == (403, "REFUSED")
    client.get("/metrics/pixel.svg?path=/")
    assert client.get("/metrics/hits").get_json() == {"hits": 0, "pages": {}}
    choose(client, "accept-all")
    assert hit() == (204, None)
    client.get("/metrics/pixel.svg?path=/letter")
    client.get("/metrics/pixel.svg?path=<script>")
    assert client.get("/metrics/hits").get_json() == {"hits": 2, "pages": {"/": 1, "/letter": 1}}
    choose(client, "withdraw-all")
    assert hit() == (403, "WITHDRAWN")


def test_accept_all_subscribes_nobody(client: FlaskClient) -> None:
    sign_up(client)
    choose(client, "accept-all")
    answer = client.get("/letters")
    assert (answer.status_code, answer.get_json()["reason"]) == (403, "NO_ANSWER")
    assert "Not sent. The gate answered NO_ANSWER" in client.post("/account/test-letter").text


def test_the_letter_needs_the_tick(client: FlaskClient) -> None:
    assert client.post("/letter", data={"yes": "1"}).headers["Location"] == "/sign-in?next=/letter"
    sign_up(client)
    assert client.post("/letter").status_code == 422
    assert client.get("/letters").status_code == 403
    client.post("/letter", data={"yes": "1"})
    assert client.get("/letters").status_code == 200
    client.post("/letter", data={"stop": "1"})
    assert client.get("/letters").get_json()["reason"] == "WITHDRAWN"


# ---------------------------------------------------------------- accounts


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"email": "nobody"}, "bad_email"),
        ({"password": "short"}, "short"),
        ({"agree": ""}, "no_tick"),
        ({"terms": "0" * 64}, "changed"),
        ({"privacy": ""}, "changed"),
    ],
)
def test_a_fault_makes_no_account(
    app: Flask, client: FlaskClient, changed: dict[str, str], said: str
) -> None:
    answer = sign_up(client, **changed)
    assert answer.status_code == (409 if said == "changed" else 422)
    assert words("en")["sign_up"][said] in answer.text
    assert client.get("/account").headers["Location"] == "/sign-in?next=/account"
    with app.extensions["example_app"].database.transaction() as db:
        assert db.execute("select count(*) from account").fetchone()[0] == 0


def test_an_address_has_one_account(client: FlaskClient) -> None:
    assert sign_up(client).headers["Location"] == "/account"
    answer = sign_up(client, email="Reader@Example.org")
    assert answer.status_code == 422
    assert words("en")["sign_up"]["taken"] in answer.text


def test_sign_in_and_out(client: FlaskClient) -> None:
    sign_up(client)
    client.post("/sign-out")
    assert client.get("/account").status_code == 303
    for wrong in (
        {"email": "reader@example.org", "password": "x"},
        {"email": "a@b.cd", "password": PASSWORD},
    ):
        assert client.post("/sign-in", data=wrong).status_code == 422
    right = {"email": "reader@example.org", "password": PASSWORD}
    assert client.post("/sign-in?next=/letter", data=right).headers["Location"] == "/letter"
    for outside in ("//evil.example", "https://evil.example", "/\\evil.example", "/%09/evil.example"):
        answer = client.post(f"/sign-in?next={outside}", data=right)
        assert answer.headers["Location"] == "/account"


def test_passwords_are_not_kept(client: FlaskClient, tmp_path: Path) -> None:
    sign_up(client)
    assert PASSWORD.encode() not in (tmp_path / "site.sqlite3").read_bytes()
    assert (tmp_path / "secret.key").stat().st_mode & 0o77 == 0


def test_a_form_of_another_site_is_refused(client: FlaskClient) -> None:
    sign_up(client)
    answer = client.post("/letter", data={"yes": "1"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert client.get("/letters").status_code == 403


def test_a_restart_keeps_everything(client: FlaskClient, tmp_path: Path) -> None:
    sign_up(client)
    session = client.get_cookie("session")
    assert session is not None
    again = create_app({"TESTING": True}, instance_path=tmp_path).test_client()
    again.set_cookie("session", session.value)
    assert again.get("/account").status_code == 200


def test_new_terms_stay_in_force_for_a_process_that_does_not_know_them(tmp_path: Path) -> None:
    client = create_app({"TESTING": True}, instance_path=tmp_path).test_client()
    sign_up(client)
    create_app({"TESTING": True}, instance_path=tmp_path, terms="2")
    old = create_app({"TESTING": True}, instance_path=tmp_path, terms="1").test_client()
    for path in ("/consent/policies/terms", "/consent/accept/terms"):
        answer = old.get(path, headers=HTML)
        assert answer.status_code == 200
        assert "nobody has signed in to for two years" in answer.text


def test_terms_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="EXAMPLE_TERMS is one of 1, 2, not '3'"):
        create_app(instance_path=tmp_path, terms="3")


# ---------------------------------------------------------------- ./run demo


def heed_interrupts() -> None:
    """Whoever runs the tests in the background ignores them, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """`python -m example_app` in a process of its own: what it printed, and its address."""
    environment = {**os.environ, "PORT": "0", "EXAMPLE_INSTANCE": str(tmp_path / "instance")}
    command = [sys.executable, "-m", "example_app"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "subject=u-" not in printed and (line := process.stdout.readline()):
            printed += line
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found is not None, printed
        yield printed, found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()


def test_the_demo_serves_and_says_what_to_try(demo: tuple[str, str]) -> None:
    printed, url = demo
    assert [line[:5] for line in printed.splitlines() if re.match(r"  \d\.", line)] == [
        f"  {n}. " for n in range(1, 7)
    ]
    with urlopen(f"{url}/metrics/hits") as answer:
        assert answer.status == 200


def test_every_address_that_the_demo_prints_exists(app: Flask, client: FlaskClient) -> None:
    said = guide("http://127.0.0.1:8000", app.instance_path)
    paths = set(re.findall(r"http://127\.0\.0\.1:8000(/[^\s\"?]*)", said))
    assert len(paths) >= 7
    statuses = {path: client.get(path, headers=HTML).status_code for path in paths}
    assert {path: s for path, s in statuses.items() if s not in (200, 303, 401)} == {}
    assert "PORT=" not in said
    assert "EXAMPLE_TERMS=2 PORT=81 ./run demo" in guide("http://127.0.0.1:81", "instance")


@pytest.mark.parametrize("port", ["x", "-1", "70000"])
def test_a_port_that_is_none(port: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PORT": port, "EXAMPLE_INSTANCE": str(tmp_path)}
    command = [sys.executable, "-m", "example_app"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"example_app: PORT is a number up to 65535, not {port!r}\n"


@pytest.mark.parametrize(
    "path", ["/consent", "/consent/accept/terms", "/consent/policies/terms", "/consent/receipt"]
)
def test_every_page_of_consentkit_wears_the_sites_clothes(client: FlaskClient, path: str) -> None:
    """The site's own base template puts the style sheets into a block that pages of consentkit add to."""
    page = client.get(path, headers={"Accept": "text/html"}).text
    for sheet in ("/static/site.css", "consentkit.min.css", "pages.min.css"):
        assert sheet in page, (path, sheet)


def test_every_view_says_what_it_requires_or_why_nothing(app: Flask) -> None:
    done = app.test_cli_runner().invoke(args=["consent", "routes", "--fail-undeclared"])
    assert done.exit_code == 0, done.output
    assert "/letters " in done.output
