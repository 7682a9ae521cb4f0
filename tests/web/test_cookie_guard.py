"""Response cookies: what a visitor has not allowed does not leave, whoever sets it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, g, request, session, stream_with_context
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from consentkit import ConsentKit, ConsentKitError, Cookie, Decision, Purpose, processing_blocked
from consentkit.core.catalog_rules import build
from consentkit.core.errors import StoreUnavailable
from consentkit.store.database import Database
from consentkit.web import cookie_guard, once
from consentkit.web.caching import vary_by
from consentkit.web.cookie_guard import purposes_of
from consentkit.web.set_cookie import OURS, parse
from tests.web.conftest import make_app, make_kit

SAME = {"Sec-Fetch-Site": "same-origin"}
GuardedApp = Callable[..., Flask]

PURPOSES = (
    Purpose("statistics", title="Statistics", category="analytics", cookies=[Cookie("_tally*")]),
    Purpose("ads", title="Advertising", category="marketing", cookies=[Cookie("_ads"), Cookie("_both")]),
    Purpose("tests", title="A/B", category="analytics", cookies=[Cookie("_both")]),
    Purpose("basket", title="Basket", category="necessary", basis="contract", cookies=[Cookie("basket")]),
)
SENT = ("_tally_1", "_ads", "_both", "basket", "unknown")


def set_cookies(response: Response) -> Response:
    for name in SENT:
        response.set_cookie(name, "secret-value")
    return response


@pytest.fixture
def app_with(tmp_path: Path) -> GuardedApp:
    """An app whose every response sets the cookies above, in an `after_request` function."""

    def make(**config: Any) -> Flask:
        app = make_app(make_kit(purposes=PURPOSES, policies=(), bundles=()), tmp_path, **config)
        app.view_functions.pop("letters"), app.view_functions.pop("both")
        app.view_functions.pop("account"), app.view_functions.pop("under_terms")
        app.after_request(set_cookies)
        return app

    return make


def sent(response: Any) -> set[str]:
    """Names of the cookies that a response sets, and does not delete."""
    lines = [line for line in response.headers.getlist("Set-Cookie") if "Max-Age=0" not in line]
    return {line.split("=", 1)[0] for line in lines} - {"consent", "consent_hint"}


def choose(client: FlaskClient, *categories: str) -> Any:
    return client.post("/consent", data={"decision": "save", "category": list(categories)}, headers=SAME)


# ---------------------------------------------------------------- what leaves


def test_what_is_declared_and_not_allowed_is_dropped(app_with: GuardedApp) -> None:
    client = app_with().test_client()
    assert sent(client.get("/plain")) == {"basket", "unknown"}


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("analytics", {"_tally_1", "_both", "basket", "unknown"}),  # one of two purposes is enough
        ("marketing", {"_ads", "_both", "basket", "unknown"}),
        ("", {"basket", "unknown"}),
    ],
)
def test_what_is_allowed_passes(app_with: GuardedApp, allowed: str, names: set[str]) -> None:
    client = app_with().test_client()
    choose(client, *filter(None, [allowed]))
    assert sent(client.get("/plain")) == names


def test_an_answer_counts_for_the_very_response_that_records_it(app_with: GuardedApp) -> None:
    client = app_with().test_client()
    assert "_tally_1" in sent(choose(client, "analytics"))
    assert "_tally_1" not in sent(choose(client))


def test_an_answer_in_a_view_that_had_asked_before(app_with: GuardedApp) -> None:
    app = app_with()

    @app.post("/in-view")
    def in_view() -> str:
        kit: ConsentKit = app.extensions["consentkit"].kit
        asked = [kit.of("u-1").allows("analytics")]
        kit.give("u-1", "analytics")
        return str(asked)

    client = app.test_client()
    client.post("/login", data={"user": "u-1"}, headers=SAME)
    assert "_tally_1" in sent(client.post("/in-view", headers=SAME))


def test_every_kind_of_response(app_with: GuardedApp) -> None:
    app = app_with()
    inner = Blueprint("inner", __name__, static_folder=str(Path(__file__).parent), static_url_path="/files")

    @inner.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield "a"
            yield str(g.get("left", "b"))

        return Response(stream_with_context(parts()))

    @inner.get("/broken")
    def broken() -> str:
        raise ZeroDivisionError

    app.add_url_rule("/gone", "gone", lambda: abort(410))
    app.register_blueprint(inner, url_prefix="/inner")
    app.config.update(TESTING=False, PROPAGATE_EXCEPTIONS=False)
    client = app.test_client()
    paths = {"/inner/stream": 200, "/inner/broken": 500, "/gone": 410, "/nowhere": 404}
    paths |= {"/inner/files/conftest.py": 200, "/consent/static/consentkit.css": 200, "/consent": 200}
    for path, status in paths.items():
        for method in ("GET", "HEAD"):
            with client.open(path, method=method) as response:
                assert (response.status_code, sent(response)) == (status, {"basket", "unknown"}), path
    assert client.get("/inner/stream").text == "ab"


def test_the_session_and_our_own_cookies_pass(app_with: GuardedApp) -> None:
    """Flask saves the session after every after_request function."""
    client = app_with(CONSENTKIT_COOKIE_GUARD="strict").test_client()
    assert sent(client.post("/login", data={"user": "u-1"}, headers=SAME)) == {"basket", "session"}
    answer = choose(app_with(CONSENTKIT_COOKIE_GUARD="strict").test_client())
    assert {"consent", "consent_hint"} <= {
        line.split("=")[0] for line in answer.headers.getlist("Set-Cookie")
    }


def test_every_cookie_of_ours_is_known_as_such() -> None:
    """Each name that a module of the package gives to a cookie."""
    sources = [path.read_text("utf-8") for path in Path(cookie_guard.__file__).parent.glob("*.py")]
    named = {
        name for text in sources for name in re.findall(r'^[A-Z_, ]+ = .*"(consent_[a-z]+)"', text, re.M)
    }
    named |= {name for text in sources for name in re.findall(r'^[A-Z_, ]+ = "(consent_[a-z]+)"', text, re.M)}
    assert len(named) > 4
    assert named - {once.PARAMETER} <= OURS


def test_a_session_of_another_name_passes(app_with: GuardedApp) -> None:
    app = app_with(CONSENTKIT_COOKIE_GUARD="strict", SESSION_COOKIE_NAME="_ads")
    app.after_request_funcs.clear()
    assert sent(app.test_client().post("/login", data={"user": "u-1"}, headers=SAME)) == {"_ads"}


def test_the_name_of_flask_logins_cookie_is_nothing_special_without_flask_login(app_with: GuardedApp) -> None:
    app = app_with(CONSENTKIT_COOKIE_GUARD="strict")
    app.after_request_funcs.clear()

    @app.get("/out")
    def out() -> Response:
        return Response("out", headers={"Set-Cookie": "remember_token=1"})

    assert sent(app.test_client().get("/out")) == set()


def test_a_cookie_that_is_deleted_passes(app_with: GuardedApp) -> None:
    app = app_with(CONSENTKIT_COOKIE_GUARD="strict")
    app.after_request_funcs.clear()

    @app.get("/out")
    def out() -> Response:
        response = Response("out")
        for name in SENT:
            response.delete_cookie(name)
        return response

    gone = app.test_client().get("/out").headers.getlist("Set-Cookie")
    assert {line.split("=")[0] for line in gone} == set(SENT)


def test_strict_drops_what_nobody_declares(app_with: GuardedApp, caplog: pytest.LogCaptureFixture) -> None:
    client = app_with(CONSENTKIT_COOKIE_GUARD="strict").test_client()
    assert sent(client.get("/plain")) == {"basket"}
    (line,) = [r.getMessage() for r in caplog.records if "unknown" in r.getMessage()]
    assert "was dropped" in line


def test_off_lets_everything_pass(app_with: GuardedApp) -> None:
    assert sent(app_with(CONSENTKIT_COOKIE_GUARD="off").test_client().get("/plain")) == set(SENT)


@pytest.mark.parametrize("value", ["loud", True, None, ["off"]])
def test_another_mode_is_refused(app_with: GuardedApp, value: object) -> None:
    with pytest.raises(ConsentKitError, match="CONSENTKIT_COOKIE_GUARD is one of report, strict, off"):
        app_with(CONSENTKIT_COOKIE_GUARD=value)


# ---------------------------------------------------------------- what is said


def test_an_undeclared_cookie_is_named_once_and_never_its_value(
    app_with: GuardedApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = app_with().test_client()
    for _ in range(3):
        client.get("/plain")
    said = [r for r in caplog.records if r.levelno == logging.WARNING and r.name == "consentkit"]
    (record,) = [r for r in said if "cookie" in r.getMessage()]
    assert "'unknown' was sent and no purpose declares it" in record.getMessage()
    assert "secret-value" not in caplog.text


def test_names_that_change_with_every_request_do_not_fill_log_and_memory(
    app_with: GuardedApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with()

    @app.get("/many/<int:n>")
    def many(n: int) -> Response:
        response = Response("")
        for i in range(50):
            response.headers.add("Set-Cookie", f"x{n}-{i}é=1")
        return response

    client = app.test_client(use_cookies=False)
    for n in range(4):
        assert len(sent(client.get(f"/many/{n}"))) == 50 + 2
    said = [r for r in caplog.records if "undeclared" in getattr(r, "event", "")]
    assert len(said) == 101
    assert "more than 100 undeclared cookies" in said[-1].getMessage()
    assert all(r.getMessage().isascii() for r in said)


def test_what_was_dropped_is_told_as_every_no_of_a_gate(app_with: GuardedApp) -> None:
    app, told = app_with(), list[str]()

    def hear(_kit: object, decision: Decision, subject: str | None) -> None:
        told.append(f"{decision.item} {decision.reason} {subject}")

    with processing_blocked.connected_to(hear, app.extensions["consentkit"].kit):
        app.test_client().get("/plain")
    assert told == ["statistics NO_ANSWER None", "ads NO_ANSWER None", "tests NO_ANSWER None"]


# ---------------------------------------------------------------- caches

ELSEWHERE = {"CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Edge-Control"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", {"private"}),
        ("public, max-age=600, s-maxage=900", {"private", "max-age=600"}),
        ("no-store", {"no-store"}),
        ("private, max-age=5", {"private", "max-age=5"}),
        ('public, max-age=5, private="X-Foo"', {"private", "max-age=5"}),
        ('max-age=5, private="X-Foo"', {"private", "max-age=5"}),
        ("Public, S-MaxAge=9, Max-Age=5", {"private", "max-age=5"}),
        ("Private, s-maxage=9", {"private"}),
        ("No-Store", {"No-Store"}),
    ],
)
def test_a_response_that_was_decided_for_one_person_is_kept_from_shared_caches(
    app_with: GuardedApp, given: str, expected: set[str]
) -> None:
    app = app_with()

    @app.get("/cached")
    def cached() -> Response:
        response = Response(
            "page", headers={**dict.fromkeys(ELSEWHERE, "max-age=900"), "Vary": "X-Cookie-Kind"}
        )
        if given:
            response.headers["Cache-Control"] = given
        return response

    for choice in ([], ["analytics"]):
        client = app.test_client()
        choose(client, *choice)
        response = client.get("/cached")
        assert {part.strip() for part in response.headers["Cache-Control"].split(",")} == expected
        assert {part.strip() for line in response.headers.getlist("Vary") for part in line.split(",")} == {
            "X-Cookie-Kind",
            "Cookie",
        }
        assert not ELSEWHERE.intersection(response.headers.keys())


def test_every_header_that_was_asked_is_named_once(app_with: GuardedApp) -> None:
    app = app_with()

    @app.get("/asked")
    def asked() -> str:
        for header in ("Cookie", "Sec-GPC", "Cookie"):
            vary_by(header)
        return "page"

    assert app.test_client().get("/asked").headers.getlist("Vary") == ["Cookie, Sec-GPC"]


def test_a_response_without_declared_cookies_is_left_as_it_is(app_with: GuardedApp) -> None:
    app = app_with()
    app.after_request_funcs.clear()

    @app.get("/cached")
    def cached() -> Response:
        response = Response("page", headers={"Cache-Control": "public, max-age=600"})
        response.set_cookie("unknown", "1")
        response.delete_cookie("_ads")
        return response

    headers = app.test_client().get("/cached").headers
    assert (headers["Cache-Control"], headers.get("Vary")) == ("public, max-age=600", None)


# ---------------------------------------------------------------- the ledger


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is run on the ledger."""
    said: list[str] = []
    read = Database.read

    def spy(self: Database, work: Callable[[Any], Any]) -> Any:
        def listen(tx: Any) -> Any:
            class Spy:
                def run(self, sql: str, params: Any = ()) -> Any:
                    said.append(sql)
                    return tx.run(sql, params)

            return work(Spy())

        return read(self, listen)

    monkeypatch.setattr(Database, "read", spy)
    return said


def test_the_ledger_is_read_only_for_declared_cookies_and_once(
    app_with: GuardedApp, reads: list[str]
) -> None:
    app = app_with()

    @app.get("/quiet")
    def quiet() -> Response:
        response = Response("")
        response.set_cookie("unknown", "1")
        response.delete_cookie("_ads")
        return response

    client = app.test_client()
    choose(client, "analytics")
    after = app.after_request_funcs.pop(None)
    reads.clear()
    client.get("/quiet")
    client.get("/plain")
    assert reads == []
    app.after_request_funcs[None] = after
    client.get("/plain")
    assert len(reads) == 1
    reads.clear()
    client.get("/jinja")  # the page has asked the gate already
    assert len(reads) == 1


def test_a_ledger_that_cannot_be_read_allows_no_cookie(
    app_with: GuardedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app_with().test_client()
    choose(client, "analytics", "marketing")

    def fail(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(Database, "read", fail)
    response = client.get("/plain")
    assert (response.status_code, sent(response)) == (200, {"unknown"})


def test_a_crash_costs_the_cookies_and_not_the_response(
    app_with: GuardedApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with()
    client = app.test_client()
    choose(client, "analytics", "marketing")

    @app.extensions["consentkit"].kit.subject_loader
    def broken() -> str:
        raise ZeroDivisionError("u-42")

    response = client.get("/plain")
    assert (response.text, sent(response)) == ("plain", {"unknown"})
    assert "the cookie guard failed, so cookies were dropped: u-42" not in caplog.text.replace("\n", " ")
    assert "cookie_guard_failed" in {getattr(r, "event", "") for r in caplog.records}


def test_a_crash_of_the_guard_itself_leaves_the_session(
    app_with: GuardedApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_with()
    monkeypatch.setattr("consentkit.web.cookie_guard.purposes_of", lambda *_: 1 / 0)
    response = app.test_client().post("/login", data={"user": "u-1"}, headers=SAME)
    assert (response.text, sent(response)) == ("in", {"session"})


# ---------------------------------------------------------------- contexts


class Held:
    """A middleware of a host that starts the response after the app has come to its end."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        kept: list[Any] = []
        body = b"".join(self.inner(environ, lambda *started: kept.append(started)))
        start_response(*kept[0])
        return [body]


def login_app(folder: Path, *, held: bool) -> Flask:
    """A host with Flask-Login; `torn` counts its teardown functions."""
    app = Flask("host", instance_path=str(folder / "instance"))
    app.config.update(SECRET_KEY="a key for tests", TESTING=True, CONSENTKIT_COOKIE_GUARD="strict")
    manager = LoginManager(app)
    manager.user_loader(lambda key: type("Account", (UserMixin,), {"id": key})())
    kit = make_kit(purposes=PURPOSES, policies=(), bundles=())
    kit.subject_loader(lambda: current_user.get_id())
    if held:
        app.wsgi_app = Held(app.wsgi_app)  # type: ignore[method-assign]
    kit.init_app(app)
    torn = app.config["TORN"] = {"request": 0, "app": 0}

    @app.teardown_request
    def request_ends(_error: object) -> None:
        torn["request"] += 1

    @app.teardown_appcontext
    def app_ends(_error: object) -> None:
        torn["app"] += 1

    @app.post("/login")
    def login() -> Response:
        login_user(type("Account", (UserMixin,), {"id": request.form["user"]})(), remember=True)
        return set_cookies(Response("in"))

    @app.get("/page")
    def page() -> Response:
        return set_cookies(Response("page"))

    return app


@pytest.mark.parametrize("held", [False, True])
def test_accounts_are_known_when_the_response_starts(tmp_path: Path, held: bool) -> None:
    app = login_app(tmp_path, held=held)
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-1", "analytics")
    client = app.test_client()
    first = client.post("/login", data={"user": "u-1"})
    assert {"session", "remember_token"} < sent(first)
    if not held:  # the session of the held response is not with the browser yet
        assert "_tally_1" in sent(first)
    assert sent(client.get("/page")) - {"session"} == {"_tally_1", "_both", "basket"}
    other = app.test_client()
    assert sent(other.get("/page")) == {"basket"}
    client.delete_cookie("session")
    assert "_tally_1" in sent(client.get("/page")), "remembered by Flask-Login"


@pytest.mark.parametrize(("held", "times"), [(False, 1), (True, 2)])
def test_teardown_functions_run_once_unless_the_request_was_over(
    tmp_path: Path, held: bool, times: int
) -> None:
    app = login_app(tmp_path, held=held)
    client, torn = app.test_client(), app.config["TORN"]
    torn.update(request=0, app=0)
    client.get("/page")
    assert torn == {"request": times, "app": times}


def test_a_teardown_that_fails_breaks_no_response(tmp_path: Path) -> None:
    app = login_app(tmp_path, held=True)
    torn = app.config["TORN"]

    @app.teardown_request
    def fail(_error: object) -> None:
        if torn["request"] > 1 or torn["app"]:
            raise ZeroDivisionError

    response = app.test_client().get("/page")
    assert (response.text, sent(response)) == ("page", set())


@contextmanager
def nested(folder: Path) -> Iterator[FlaskClient]:
    """Another Flask app, mounted inside of the guarded one."""
    app = login_app(folder, held=False)
    mounted = Flask("mounted")
    mounted.secret_key = "another"
    mounted.add_url_rule("/page", "page", lambda: set_cookies(Response(str(session.get("x")))))
    guard: Any = app.wsgi_app
    guard._inner = DispatcherMiddleware(guard._inner, {"/mounted": mounted})
    with app.app_context():
        app.extensions["consentkit"].kit.give("u-1", "analytics")
    yield app.test_client()


def test_an_app_that_is_mounted_inside_is_guarded_by_the_outer_ones_accounts(tmp_path: Path) -> None:
    with nested(tmp_path) as client:
        assert sent(client.get("/mounted/page")) == {"basket"}
        client.post("/login", data={"user": "u-1"})
        assert sent(client.get("/mounted/page")) == {"_tally_1", "_both", "basket"}


def test_what_a_request_inside_a_request_sets_is_decided_for_its_own_person(tmp_path: Path) -> None:
    app = login_app(tmp_path, held=True)

    @app.get("/inside")
    def inside() -> str:
        assert current_user.get_id() == "u-1"
        return ",".join(sorted(sent(app.test_client().get("/page"))))

    with app.app_context():
        app.extensions["consentkit"].kit.give("u-1", "analytics")
    client = app.test_client()
    client.post("/login", data={"user": "u-1"})
    assert client.get("/inside").text == "basket"


# ---------------------------------------------------------------- declarations, headers


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("id=1", ("here",)),
        ("id=1; Domain=.Shop.Example", ("here", "wide")),
        ("id=1; Path=/app", ("here", "deep")),
        ("id=1; Domain=other.example", ("here",)),  # its name is declared: never undeclared
        ("only=1; Path=/elsewhere", ("deep",)),
        ("Only=1", ()),
        ("x_id=1", ()),
    ],
)
def test_domain_and_path_tell_declarations_of_one_name_apart(header: str, found: tuple[str, ...]) -> None:
    catalog = build(
        purposes=[
            Purpose("here", cookies=[Cookie("id")]),
            Purpose("wide", cookies=[Cookie("id", domain="shop.example")]),
            Purpose("deep", cookies=[Cookie("id", path="/app"), Cookie("only", path="/app")]),
        ]
    )
    assert purposes_of(catalog, parse(header), "www.shop.example") == found


@pytest.mark.parametrize(
    ("header", "deletes"),
    [
        ("a=1", False),
        ("a=; Max-Age=0", True),
        ("a=1;max-age=-5", True),
        ("a=1; Max-Age=600; Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
        ("a=1; Max-Age=0; Max-Age=600", False),
        ("a=1; Max-Age=600; Max-Age=0", True),
        ("a=1; Max-Age=soon; Expires=Thu, 01-Jan-1970 00:00:00 GMT", True),
        ("a=1; Expires=Fri, 31 Dec 2199 00:00:00 GMT", False),
        ("a=1; Expires=yesterday", False),
        ("a=1; Expires=Mon, 01-Jan-69 00:00:00 GMT", False),
        ("a=1; Expires=Thu, 01-Jan-70 00:00:00 GMT", True),
        ("a=1; Expires=Sun Nov  6 08:49:37 1994", True),
        ("a=1; Expires=06 nOVember 94 8:49:37 PM-0800", True),
        ("a=1; Expires=Thu, 32 Jan 1970 00:00:00 GMT", False),
        ("a=1; Expires=Thu, 01 Jan 1600 00:00:00 GMT", False),
        ("a=1; Expires=Thu, 01 Jan 1970", False),
        ("a=1; Max-Age=00000000000000000001", False),
        ("a=1; Max-Age=" + "9" * 5000, False),
        ("a=Max-Age=0", False),
        ("a=1; Path=/; Expires", False),
    ],
)
def test_what_deletes_a_cookie(header: str, deletes: bool) -> None:
    assert parse(header).deletes is deletes


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (" a = 1; Domain=.B.example; Path=/c", ("a", "b.example", "/c")),
        ("a=1; path=/c; PATH=/d; domain=", ("a", "", "/d")),
        ("a=1; Path=c", ("a", "", "")),
        ("a", ("", "", "")),
        ("", ("", "", "")),
        ("=v; Path=/", ("", "", "/")),
    ],
)
def test_where_a_cookie_goes(header: str, found: tuple[str, str, str]) -> None:
    cookie = parse(header)
    assert (cookie.name, cookie.domain, cookie.path) == found
