"""Outgoing calls: asked for every request, redirect and attempt, and blocked before a byte leaves.

The world outside is one real server, an origin for 127.0.0.1 and a proxy for every other name; it notes each
connection, so that a test sees what left.
"""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from weakref import WeakSet

import pytest
import requests
from flask import Flask
from ledgers import OnPostgresql, OnSqlite, Suite, catalog, open_kit
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util import Retry

import consentkit
from consentkit import (
    CatalogError,
    ConsentKit,
    ConsentKitError,
    ConsentMissing,
    ExceptionGround,
    GateUnavailable,
    NotARecipient,
    Party,
    Purpose,
    UnknownPurpose,
    processing_blocked,
)
from consentkit.core.hosts import owner
from consentkit.core.terms import Basis
from consentkit.integrations.requests import ConsentAdapter, _ask_again, gated_session
from consentkit.kit import Kit
from consentkit.kit_declared import declarations
from consentkit.web import state

PARTIES = [
    Party("mailer", name="Mailer", hosts=["*.mailer.example", "127.0.0.1"]),
    Party(
        "tracker", name="Tracker", hosts=["pixel.tracker.example", "xn--trcker-cua.example", "2001:db8::1"]
    ),
    Party("ads_of_mailer", name="Ads of mailer", hosts=["*.ads.mailer.example", "203.0.113.7"]),
    Party("idle", name="Named by no purpose", hosts=["idle.example"]),
]
PURPOSES = [
    Purpose("news", title="News", recipients=["mailer"]),
    Purpose("stats", title="Stats", category="analytics", recipients=["tracker", "mailer"]),
    Purpose("heatmap", title="Heatmap", category="analytics"),
    Purpose("orders", title="Orders", basis=Basis.CONTRACT, recipients=["ads_of_mailer"]),
    Purpose("quote", title="Quote", scoped=True, recipients=["mailer"]),
]
CATALOG = catalog(
    purposes=PURPOSES, parties=PARTIES, exceptions=[ExceptionGround("court_order", title="Order")]
)


class World(ThreadingHTTPServer):
    """Notes connections and requests. `when` is called with each request before it is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.connections, self.seen = 0, list[str]()
        self.when: Callable[[str], None] = lambda url: None
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.through = {"http": self.url, "https": self.url}

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class Answer(BaseHTTPRequestHandler):
    """`/to?url=…` redirects, `/503` and `/digest` answer with that, all else is 200."""

    server: World

    def do_GET(self) -> None:
        url = self.path if "://" in self.path else f"{self.server.url}{self.path}"
        asked, to = urlsplit(url), parse_qs(urlsplit(url).query).get("url", [""])[0]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(f"{asked.netloc}{asked.path}")
        self.server.when(url)
        status = {"/to": 302, "/503": 503}.get(asked.path, 200)
        if asked.path == "/digest" and "Authorization" not in self.headers:
            status = 401
        self.send_response(status)
        self.send_header("Content-Length", "2")
        if to:
            self.send_header("Location", to.encode().decode("latin-1"))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_CONNECT = do_GET

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    thread = threading.Thread(target=world.serve_forever, args=[0.02])
    thread.start()
    yield world
    world.shutdown()
    thread.join()
    world.server_close()


@pytest.fixture(autouse=True)
def no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def to(host: str, url: str) -> str:
    return f"http://{host}/to?url={quote(url, safe='')}"


class Outgoing(Suite):
    """A kit, and a session that reaches the world."""

    @pytest.fixture
    def kit(self, url: str) -> Iterator[Kit]:
        kit = open_kit(url, CATALOG)
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def news(self, kit: Kit, world: World) -> Iterator[requests.Session]:
        """A session for `news` of u-1 that reaches every name through the world."""
        with kit.gated_session("news", subject="u-1") as session:
            session.proxies = world.through
            yield session


class RequestsSuite(Outgoing):
    def test_each_request_is_asked(self, kit: Kit, world: World, news: requests.Session) -> None:
        blocked: list[tuple[str, str]] = []

        def hear(_: object, decision: Any, subject: str) -> None:
            blocked.append((decision.reason, subject))

        with processing_blocked.connected_to(hear, kit):
            with pytest.raises(ConsentMissing, match="NO_ANSWER"):
                news.get("http://api.mailer.example/")
            assert world.connections == 0
            kit.give("u-1", "news")
            assert news.get("http://api.mailer.example/1").text == "ok"
            assert _ask_again.get() is None
            kit.withdraw("u-1", "news")
            with pytest.raises(ConsentMissing, match="WITHDRAWN"):
                news.post("http://api.mailer.example/2")
        assert world.seen == ["api.mailer.example/1"]
        assert blocked == [("NO_ANSWER", "u-1"), ("WITHDRAWN", "u-1")]

    def test_all_purposes_of_a_session(self, kit: Kit, world: World) -> None:
        session = kit.gated_session("news", "analytics", subject="u-1")
        kit.give("u-1", ["news", "stats"])
        with pytest.raises(ConsentMissing, match="'heatmap'"):
            session.get(world.url)
        kit.give("u-1", "heatmap")
        assert session.get(world.url).ok
        session.close()

    @pytest.mark.parametrize("items", [("news", "stats"), ("stats", "news")])
    def test_of_several_the_denial_of_the_lowest_rule_is_answered(
        self, kit: Kit, world: World, items: tuple[str, ...]
    ) -> None:
        kit.refuse("u-1", "stats")
        with (
            kit.gated_session(*items, subject="u-1") as session,
            pytest.raises(ConsentMissing, match="'stats' is blocked: REFUSED"),
        ):
            session.get(world.url)
        assert world.connections == 0

    def test_whose_call_it_is(self, kit: Kit, world: World) -> None:
        kit.give("u-1", "quote", scope="comment:1", tenant="t")
        for subject, tenant, scope in (
            (None, None, ""),
            ("u-1", None, "comment:1"),
            ("u-1", "t", "comment:2"),
        ):
            with (
                kit.gated_session("quote", subject=subject, tenant=tenant, scope=scope) as session,
                pytest.raises(ConsentMissing, match="NO_ANSWER"),
            ):
                session.get(world.url)
        with kit.gated_session("quote", subject="u-1", tenant="t", scope="comment:1") as session:
            assert session.get(world.url).ok
        assert world.connections == 1

    # ------------------------------------------------------------ before a byte leaves

    def test_before_a_name_is_looked_up(self, kit: Kit) -> None:
        with kit.gated_session("news", subject="u-1") as session:
            with pytest.raises(ConsentMissing):
                session.get("http://no-such-host.invalid/")
            kit.give("u-1", "news")
            with pytest.raises(requests.ConnectionError):
                session.get("http://no-such-host.invalid/")

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_before_a_proxy_is_reached(
        self, kit: Kit, world: World, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(f"{scheme}_proxy", world.url)
        with kit.gated_session("news", subject="u-1") as session:
            with pytest.raises(ConsentMissing):
                session.get(f"{scheme}://api.mailer.example/")
            assert world.connections == 0
            kit.give("u-1", "news")
            if scheme == "http":
                assert session.get("http://api.mailer.example/").ok
            else:  # the world answers CONNECT and then speaks no TLS
                with pytest.raises(requests.exceptions.SSLError):
                    session.get("https://api.mailer.example/")
        assert world.connections == 1

    def test_before_a_body_is_read(self, kit: Kit, world: World, news: requests.Session) -> None:
        read: list[int] = []

        def rows() -> Iterator[bytes]:
            for n in range(3):
                read.append(n)
                yield b"row"

        class Upload(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                read.append(size or 0)
                return super().read(size)

        for body in (rows(), Upload(b"x" * 100)):
            with pytest.raises(ConsentMissing):
                news.post("http://api.mailer.example/", data=body)
        assert (read, world.connections) == ([], 0)

    def test_a_ledger_that_fails_blocks(self, kit: Kit, world: World, news: requests.Session) -> None:
        kit.give("u-1", "news")
        kit.runtime.database.write(lambda tx: tx.count("DROP TABLE consentkit_state"))
        with pytest.raises(GateUnavailable):
            news.get("http://api.mailer.example/")
        assert world.connections == 0

    # ------------------------------------------------------------ redirects

    def test_a_redirect_to_a_tracker_is_stopped(self, kit: Kit, world: World, news: requests.Session) -> None:
        kit.give("u-1", ["news", "stats"])
        with pytest.raises(NotARecipient, match=r"pixel\.tracker\.example belongs to 'tracker'") as caught:
            news.get(to("api.mailer.example", "http://pixel.tracker.example/p"))
        assert (caught.value.host, caught.value.party) == ("pixel.tracker.example", "tracker")
        assert "no recipient of 'news', so nothing is sent: use a session for 'stats'" in str(caught.value)
        assert world.seen == ["api.mailer.example/to"]

    def test_other_redirects_go_on(self, kit: Kit, world: World, news: requests.Session) -> None:
        kit.give("u-1", "news")
        last = "http://b.mailer.example/end"
        response = news.get(to("a.mailer.example", to("of-no-party.example", last)))
        assert (response.url, len(response.history)) == (last, 2)

    def test_a_withdrawal_between_two_hops(self, kit: Kit, world: World, news: requests.Session) -> None:
        kit.give("u-1", "news")
        world.when = lambda url: kit.withdraw("u-1", "news") and None
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            news.get(to("a.mailer.example", "http://b.mailer.example/"))
        assert world.seen == ["a.mailer.example/to"]

    def test_redirects_that_are_followed_by_hand(
        self, kit: Kit, world: World, news: requests.Session
    ) -> None:
        kit.give("u-1", "news")
        first = news.get(to("a.mailer.example", "//pixel.tracker.example/"), allow_redirects=False)
        assert first.next is not None
        with pytest.raises(NotARecipient):
            news.send(first.next)
        assert world.seen == ["a.mailer.example/to"]

    def test_a_request_that_is_sent_again_to_sign_in(
        self, kit: Kit, world: World, news: requests.Session
    ) -> None:
        kit.give("u-1", "news")
        auth = HTTPDigestAuth("name", "word")
        assert news.get("http://a.mailer.example/digest", auth=auth).ok
        world.when = lambda url: kit.withdraw("u-1", "news") and None
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            news.get("http://a.mailer.example/digest", auth=HTTPDigestAuth("name", "word"))
        assert world.seen == ["a.mailer.example/digest"] * 3

    # ------------------------------------------------------------ an adapter without purposes

    def test_an_adapter_asks_for_the_purposes_that_name_the_party(self, kit: Kit, world: World) -> None:
        session = requests.Session()
        session.proxies = world.through
        for prefix in ("http://", "https://"):
            session.mount(prefix, kit.consent_adapter(subject="u-1"))
        assert session.get("http://x.ads.mailer.example/").ok  # for orders, which rest on a contract
        kit.give("u-1", "stats")
        assert session.get("http://pixel.tracker.example/").ok
        with pytest.raises(ConsentMissing, match="'news'"):
            session.get("http://api.mailer.example/")  # for news and stats: which of them is not known
        for url, said in (
            ("http://other.example/", "other.example belongs to no party.*add it to the hosts of a party"),
            (to("pixel.tracker.example", "http://other.example/"), "other.example belongs to no party"),
            ("http://idle.example/", "belongs to 'idle', which no purpose names in recipients"),
        ):
            with pytest.raises(NotARecipient, match=said):
                session.get(url)
        assert len(world.seen) == 3
        session.close()

    # ------------------------------------------------------------ attempts

    def test_each_attempt_is_asked(self, kit: Kit, world: World) -> None:
        class Mine(Retry):
            pauses = 0

            def sleep(self, response: Any = None) -> None:
                type(self).pauses += 1
                super().sleep(response)

        kit.give("u-1", "news")
        session = requests.Session()
        rules = Mine(total=3, status_forcelist=[503], backoff_factor=0)
        session.mount("http://", kit.consent_adapter("news", subject="u-1", max_retries=rules))
        with pytest.raises(requests.exceptions.RetryError):
            session.get(f"{world.url}/503")
        assert (len(world.seen), Mine.pauses) == (4, 0)
        world.when = lambda url: kit.withdraw("u-1", "news") and None
        with pytest.raises(ConsentMissing, match="WITHDRAWN"):
            session.get(f"{world.url}/503")
        assert len(world.seen) == 5
        session.close()

    def test_attempts_of_a_session(self, kit: Kit, world: World) -> None:
        kit.give("u-1", "news")
        rules = Retry(total=3, status_forcelist=[503])
        world.when = lambda url: kit.withdraw("u-1", "news") and None
        with (
            kit.gated_session("news", subject="u-1", max_retries=rules) as session,
            pytest.raises(ConsentMissing, match="WITHDRAWN"),
        ):
            session.get(f"{world.url}/503")
        assert len(world.seen) == 1

    def test_an_adapter_that_asks_nobody_is_not_mounted(self, kit: Kit, world: World) -> None:
        with kit.gated_session("news", subject="u-1") as session:
            for prefix in ("http://", f"{world.url}/"):
                with pytest.raises(
                    TypeError, match=r"takes no HTTPAdapter.*give max_retries=.* to gated_session"
                ):
                    session.mount(prefix, HTTPAdapter(max_retries=Retry(3)))
            session.mount("http://", kit.consent_adapter("news", subject="u-1", max_retries=3))
            with pytest.raises(ConsentMissing):
                session.get(world.url)
            assert session.get_adapter(world.url).max_retries.total == 3
        assert world.connections == 0

    def test_attempts_that_are_set_later(self, kit: Kit, world: World) -> None:
        kit.give("u-1", "news")
        with kit.gated_session("news", subject="u-1") as session:
            session.get_adapter(world.url).max_retries = Retry(total=3, status_forcelist=[503])
            world.when = lambda url: kit.withdraw("u-1", "news") and None
            with pytest.raises(ConsentMissing):
                session.get(f"{world.url}/503")
        assert len(world.seen) == 1

    def test_attempts_of_two_threads_ask_for_their_own_subject(self, kit: Kit, world: World) -> None:
        kit.give("u-1", "news")
        kit.give("u-2", "news")
        withdraw = threading.Barrier(2, lambda: kit.withdraw("u-2", "news") and None, timeout=30)
        outcomes = dict[str, str]()

        def hold(_: str) -> None:
            if len(world.seen) <= 2:  # the first attempt of each
                withdraw.wait()

        world.when = hold

        def call(subject: str) -> None:
            with kit.gated_session("news", subject=subject) as session:
                session.get_adapter(world.url).max_retries = Retry(total=1, status_forcelist=[503])
                try:
                    session.get(f"{world.url}/503")
                except (ConsentMissing, requests.RequestException) as error:
                    outcomes[subject] = type(error).__name__

        threads = [threading.Thread(target=call, args=[subject]) for subject in ("u-1", "u-2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == {"u-1": "RetryError", "u-2": "ConsentMissing"}

    # ------------------------------------------------------------ with the rest

    def test_an_exception_opens_it_for_its_block(
        self, kit: Kit, world: World, news: requests.Session
    ) -> None:
        with kit.exception("court_order", subject="u-1", purposes="news", reference="1", operator="1"):
            assert news.get("http://api.mailer.example/").ok
            with pytest.raises(NotARecipient):
                news.get("http://pixel.tracker.example/")
        with pytest.raises(ConsentMissing):
            news.get("http://api.mailer.example/")

    def test_what_cannot_be_made(self, kit: Kit, world: World) -> None:
        with pytest.raises(ConsentKitError, match="needs the key of a purpose"):
            kit.gated_session(subject="u-1")
        for make in (kit.gated_session, kit.consent_adapter):
            with pytest.raises(UnknownPurpose, match="'nws'"):
                make("news", "nws", subject="u-1")
        with pytest.raises(TypeError):
            kit.gated_session("news")  # type: ignore[call-arg]
        session = kit.gated_session("news", subject="u-1")
        with pytest.raises(TypeError, match="stays in its process"):
            pickle.dumps(session)
        with pytest.raises(TypeError, match="stays in its process"):
            copy.copy(session)
        session.close()
        assert world.connections == 0

    def test_it_is_declared(self, kit: Kit) -> None:
        adapter = ConsentAdapter(kit, "news", subject="u-1")
        session = gated_session(kit, "stats", subject="u-1")
        found = {(d.kind, d.where.rpartition(".")[2], d.items) for d in declarations(kit, shared=False)}
        assert found == {("adapter", "test_it_is_declared", ("news", "stats"))}
        adapter.close()
        session.close()


class TestSqlite(OnSqlite, RequestsSuite): ...


class TestPostgresql(OnPostgresql, RequestsSuite): ...


# ---------------------------------------------------------------- whose host it is


class TestSpelling(OnSqlite, Outgoing):
    @pytest.mark.parametrize(
        "address",
        [
            "http://pixel.tracker.example/",
            "http://PIXEL.Tracker.Example/",
            "http://pixel.tracker.example./",
            "http://pixel.tracker.example:8080/",
            "http://name:word@pixel.tracker.example/",
            "http://api.mailer.example@pixel.tracker.example/",
            "http://api.mailer.example%2f@pixel.tracker.example/",
            "http://träcker.example/",
            "http://xn--trcker-cua.example/",
            "http://TRÄCKER.example/",
            "http://[2001:db8::1]/",
            "http://[2001:DB8:0:0::1]:8080/",
            "http://x.ads.mailer.example/",
            "http://203.0.113.7/",
            "http://pixel%2etracker.example/",
            "http://3405803783/",
            "http://0xcb.0.0x71.7/",
            "http://[::ffff:203.0.113.7]/",
        ],
    )
    def test_every_spelling_of_a_host_is_the_same_host(
        self, kit: Kit, world: World, news: requests.Session, address: str
    ) -> None:
        kit.give("u-1", "news")
        with pytest.raises(NotARecipient):
            news.get(address)
        written = requests.Request("GET", address).prepare().url
        with pytest.raises(NotARecipient):
            news.get(to("api.mailer.example", str(written)))
        assert world.seen == ["api.mailer.example/to"]

    @pytest.mark.parametrize(
        "address",
        [
            "http://127.0.0.1%23.evil.example/",
            "http://tr%C3%A4cker.example/",
            "http://träcker.example/",  # requests writes a redirect's host with %
            "http://a:99999/",
        ],
    )
    def test_no_redirect_to_a_host_that_cannot_be_read(
        self, kit: Kit, world: World, news: requests.Session, address: str
    ) -> None:
        kit.give("u-1", "news")
        with pytest.raises(requests.exceptions.InvalidURL):
            news.get(to("api.mailer.example", address))
        assert world.seen == ["api.mailer.example/to"]

    @pytest.mark.parametrize(
        "address",
        [
            "http://api.mailer.example\\@pixel.tracker.example/",
            "http://api.mailer.example\\.pixel.tracker.example/",
            "http:///path",
            "http://pixel.tracker.example../",
            "http://pixel..tracker.example/",
            "http://.pixel.tracker.example/",
            "http://[::1/",
            "",
        ],
    )
    def test_a_host_that_can_be_read_in_two_ways(
        self, kit: Kit, world: World, news: requests.Session, address: str
    ) -> None:
        """requests mends an address before it sends it; one that is put into a prepared request it takes as it is."""
        kit.give("u-1", "news")
        request = requests.Request("GET", "http://api.mailer.example/").prepare()
        request.url = address
        adapter = kit.consent_adapter("news", subject="u-1")
        with pytest.raises(requests.exceptions.InvalidURL, match="so nothing is sent"):
            adapter.send(request, proxies=world.through)
        adapter.close()
        assert world.connections == 0


# ---------------------------------------------------------------- without naming a kit


def make_app(folder: Path) -> tuple[Flask, ConsentKit]:
    app = Flask("host", instance_path=str(folder))
    kit = ConsentKit(purposes=PURPOSES, parties=PARTIES)
    app.config.update(SECRET_KEY="a key for tests", TESTING=True)
    kit.init_app(app)
    return app, kit


def test_the_module_form_asks_the_context_s_kit_or_the_only_one(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_apps", WeakSet())  # other tests' apps may live on
    session = consentkit.gated_session("news", subject="u-1")
    with pytest.raises(ConsentKitError, match="so nothing is sent"):
        session.get(world.url)
    app, kit = make_app(tmp_path / "a")
    with pytest.raises(ConsentMissing):
        session.get(world.url)
    kit.give("u-1", "news")
    assert session.get(world.url).ok
    other, _ = make_app(tmp_path / "b")
    with pytest.raises(ConsentKitError, match="so nothing is sent"):
        session.get(world.url)
    with app.app_context():
        assert session.get(world.url).ok
    with other.app_context(), pytest.raises(ConsentMissing):
        session.get(world.url)
    with Flask("bare").app_context(), pytest.raises(ConsentKitError):
        session.get(world.url)
    assert world.seen == [f"{urlsplit(world.url).netloc}/"] * 2
    session.close()


# ---------------------------------------------------------------- without requests, without Flask


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)


def test_who_calls_nobody_imports_neither() -> None:
    python(
        "import sys, consentkit, consentkit.kit\n"
        "assert not {'requests', 'urllib3', 'flask'} & set(sys.modules), sys.modules\n"
        "consentkit.gated_session\n"
        "assert 'requests' not in sys.modules"
    )


def test_without_requests_the_error_says_what_to_install(tmp_path: Path) -> None:
    python(
        "import sys; sys.modules['requests'] = None\n"
        "import consentkit; from consentkit import *\n"
        "from consentkit.core.catalog_rules import build\n"
        f"kit = consentkit.open(build(purposes=[Purpose('news')]), 'sqlite:///{tmp_path}/l.sqlite3')\n"
        "for make in (kit.gated_session, kit.consent_adapter, gated_session):\n"
        "    try: make('news', subject='u-1')\n"
        "    except ConsentKitError as error: assert \"pip install 'consentkit[http]'\" in str(error), error\n"
        "    else: raise AssertionError\n"
    )


# ---------------------------------------------------------------- hosts in the catalogue


@pytest.mark.parametrize(
    ("host", "party"),
    [
        ("api.mailer.example", "mailer"),
        ("a.b.mailer.example", "mailer"),
        ("ads.mailer.example", "mailer"),
        ("x.ads.mailer.example", "ads_of_mailer"),
        ("mailer.example", None),
        ("notmailer.example", None),
        ("mailer.example.evil.example", None),
        ("pixel.tracker.example", "tracker"),
        ("other.tracker.example", None),
        ("x.pixel.tracker.example", None),
        ("[2001:db8::1%25eth0]", "tracker"),
    ],
)
def test_the_closest_pattern_decides(host: str, party: str | None) -> None:
    found = owner(CATALOG.parties, host)
    assert (found and found.key) == party


@pytest.mark.parametrize(
    "host",
    [
        *("", "*", "*.", "https://a.example", "a.example:80", "a.example/x", "a b.example", "a..example"),
        *("*.*.example", "a*.example", "bücher.example", "x@a.example", "a" * 64 + ".example"),
        *(".a.example", "a.example..", "\n"),
    ],
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(CatalogError, match=r"parties\.x\.hosts: .* is not a host\. Write a name such as"):
        catalog(parties=[Party("x", hosts=[host])], purposes=())


def test_a_host_of_two_parties() -> None:
    two = [Party("x", hosts=["*.a.example", "*.a.example"]), Party("y", hosts=["*.A.example."])]
    assert catalog(parties=two[:1], purposes=()).parties
    with pytest.raises(CatalogError, match=r"parties\.y\.hosts: '\*\.A\.example\.' belongs to 'x' already"):
        catalog(parties=two, purposes=())


@pytest.mark.parametrize(
    "host", ["A.example.", "localhost", "_x.a-b.example", "*.org", "10.0.0.1", "::1", "[2001:db8::1]"]
)
def test_what_is_one(host: str) -> None:
    assert catalog(parties=[Party("x", hosts=[host])], purposes=()).parties
