"""The guardian's page over HTTP, with three browsers: the child, the guardian, and somebody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import responses
from flask import Flask
from flask.testing import FlaskClient
from guardian_site import make_app, make_kit, outbox_of
from guardians import DAY_US, OTHER, PARENT, Outbox

import consentkit
from consentkit import ConsentKit, ConsentKitError, GuardianNeeded
from consentkit.core.times import from_us
from consentkit.core.webhooks import headers as signed_headers
from consentkit.core.webhooks import secret_bytes
from consentkit.integrations.verifiers import HttpVerifier
from consentkit.web.guardian_session import ASKED, COOKIE

SITE = "https://shop.example"
PAGE = "/consent/guardian"
HTML = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
SECRET = "whsec_" + "a" * 43 + "="
NOTARY = "https://notary.example/checks"
TEXTS = {"gone": "This link cannot be used", "asker": "Only a parent or guardian can answer this"}


@pytest.fixture
def kit() -> ConsentKit:
    verifier = HttpVerifier("notary", NOTARY, SECRET, ["gov_id", "payment_card"], title="The notary")
    return make_kit(verifiers=[verifier])


@pytest.fixture
def outbox(kit: ConsentKit) -> Outbox:
    return outbox_of(kit)


@pytest.fixture
def app(kit: ConsentKit, tmp_path: Path) -> Flask:
    return make_app(kit, tmp_path, CONSENTKIT_BASE_URL=SITE)


class Browser:
    """One person's browser, on https."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(path.removeprefix(SITE), base_url=SITE, headers=HTML, **more)

    def post(self, path: str = PAGE, data: Any = None, headers: dict[str, str] | None = None) -> Any:
        return self.client.post(path, base_url=SITE, headers=headers or HTML, data=data or {})

    def open(self, url: str) -> Any:
        """Follow a link to the page behind it."""
        first = self.get(url)
        return self.get(first.headers["Location"]) if first.status_code == 303 else first

    def answer(self, yes: Any = (), disclose: Any = (), **more: Any) -> Any:
        """Fill in the form that is open: yes to these, no to the rest."""
        form = self.get(PAGE).text
        notices = re.findall(r'name="notice" value="([^"]+)"', form)
        items = [notice.partition(":")[0] for notice in notices]
        said = {f"answer:{item}": "yes" if item in yes else "no" for item in items}
        return self.post(
            data={"decision": "answer", "notice": notices, "disclose": list(disclose), **said, **more}
        )

    def cookie(self, name: str, path: str = "/") -> Any:
        return self.client.get_cookie(name, domain="shop.example", path=path)


@pytest.fixture
def child(app: Flask) -> Browser:
    browser = Browser(app)
    browser.post("/login", data={"user": "kid"})
    return browser


@pytest.fixture
def guardian(app: Flask) -> Browser:
    return Browser(app)


def decide(app: Flask, kit: ConsentKit, item: str = "news") -> str:
    with app.app_context():
        return kit.decide("kid", item).reason


@pytest.fixture
def reason(app: Flask, kit: ConsentKit) -> Callable[..., str]:
    return lambda item="news": decide(app, kit, item)


@contextmanager
def later(kit: ConsentKit, app: Flask, us: int) -> Iterator[None]:
    """The same app some time later."""
    with app.app_context():
        clock = kit.runtime.clock
    before = clock.now
    clock.now = lambda: before() + us  # type: ignore[method-assign]
    yield
    clock.now = before  # type: ignore[method-assign]


# ---------------------------------------------------------------- the main line


def test_a_child_asks_and_a_guardian_answers(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    assert child.post("/ask", data={"item": ["news", "club", "rules"]}).text == "asked"
    (sent,) = outbox
    assert sent.url.startswith(f"{SITE}{PAGE}/")
    assert reason() == "GUARDIAN_PENDING"
    first = guardian.get(sent.url)
    assert (first.status_code, first.headers["Location"]) == (303, f"{PAGE}?locale=en")
    page = guardian.get(PAGE)
    assert page.status_code == 200
    for shown in (
        "Test asks for your permission".replace("Test", "Harbour Press"),
        "Mia",
        "Our letter",
        "e-mail address",
        "The club",
        "House rules",
        sent.invitation,
    ):
        assert shown in page.text
    assert "checked" not in page.text
    done = guardian.answer(["news", "rules"])
    assert done.status_code == 303
    assert "Your answers are recorded." in guardian.get(done.headers["Location"]).text
    assert (reason(), reason("club"), reason("rules")) == ("GIVEN", "REFUSED", "ACCEPTED")


def test_every_answer_of_the_page_is_private(child: Browser, guardian: Browser, outbox: Outbox) -> None:
    child.post("/ask")
    answers = [
        guardian.get(PAGE),
        guardian.get(f"{PAGE}/nothing"),
        guardian.get(outbox[0].url),
        guardian.get(PAGE),
        guardian.answer(["news"]),
        guardian.get(PAGE),
        guardian.get(f"{PAGE}/receipt"),
        guardian.get(f"{PAGE}/export"),
        child.get(outbox[0].url),
    ]
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Cookie" in answer.headers["Vary"]


def test_the_token_stays_in_no_page_and_the_session_is_short(
    child: Browser, guardian: Browser, outbox: Outbox
) -> None:
    child.post("/ask")
    token = outbox[0].url.rpartition("/")[2]
    cookie = guardian.get(outbox[0].url).headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for part in ("Max-Age=1800", f"Path={PAGE}", "HttpOnly", "Secure", "SameSite=Lax"):
        assert part in cookie
    page = guardian.get(PAGE)
    assert token not in page.text
    assert token not in cookie


def test_looking_records_nothing(
    app: Flask, kit: ConsentKit, child: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask")
    for _ in range(3):
        scanner = Browser(app)
        scanner.open(outbox[0].url)
        scanner.client.head(outbox[0].url.removeprefix(SITE), base_url=SITE)
    assert reason() == "GUARDIAN_PENDING"
    with app.app_context():
        assert len(kit.ledger.of_subject("kid")) == 1


def test_every_question_needs_an_answer(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask", data={"item": ["news", "club"]})
    guardian.open(outbox[0].url)
    half = guardian.post(data={"decision": "answer", "answer:news": "yes"})
    assert half.status_code == 422
    assert 'role="alert"' in half.text
    assert "Nothing was recorded" in half.text
    assert re.search(r'value="yes" required checked', half.text)  # what was said is kept
    assert reason() == "GUARDIAN_PENDING"
    assert guardian.answer(["club"]).status_code == 303


def test_a_text_that_changed_is_shown_again(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask")
    guardian.open(outbox[0].url)
    stale = guardian.post(data={"decision": "answer", "answer:news": "yes", "notice": f"news:{'0' * 64}"})
    assert stale.status_code == 409
    assert "has changed since you saw it" in stale.text
    assert reason() == "GUARDIAN_PENDING"


def test_refuse_everything_is_one_click(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask", data={"item": ["news", "club"], "method": "signed_form"})
    page = guardian.open(outbox[0].url)
    assert "Name, date and signature" in page.text
    assert 'type="radio"' not in page.text
    assert guardian.post(data={"decision": "refuse"}).status_code == 303
    assert (reason(), reason("club")) == ("REFUSED", "REFUSED")


def test_the_page_speaks_the_language_of_the_request(
    app: Flask, kit: ConsentKit, guardian: Browser, outbox: Outbox
) -> None:
    with app.test_request_context(base_url=SITE):
        kit.invite_guardian("kid", "rules", contact=PARENT, method="email", locale="de")
    page = guardian.open(outbox[0].url)
    assert '<html lang="de"' in page.text
    assert "Harbour Press bittet um Ihre Erlaubnis" in page.text
    assert "<h1>Regeln</h1>" in page.text
    assert outbox[0].title == "Harbour Press bittet um Ihre Erlaubnis"


# ---------------------------------------------------------------- two messages


def test_the_second_message(
    app: Flask,
    kit: ConsentKit,
    child: Browser,
    guardian: Browser,
    outbox: Outbox,
    reason: Callable[..., str],
) -> None:
    child.post("/ask", data={"method": "email_plus"})
    guardian.open(outbox[0].url)
    assert "One more step" in guardian.open(guardian.answer(["news"]).headers["Location"]).text
    assert TEXTS["gone"] in guardian.open(outbox[0].url).text
    with later(kit, app, 2 * DAY_US), app.app_context():
        assert kit.tend_invitations().confirmations == 1
        other = Browser(app)  # another device, a day later
        page = other.open(outbox[1].url)
        assert "Yes, I confirm it" in page.text
        assert other.post(data={"decision": "answer"}).status_code == 410
        other.open(outbox[1].url)
        assert other.post(data={"decision": "confirm"}).status_code == 303
        assert reason() == "GIVEN"


# ---------------------------------------------------------------- a verifier


def result(reference: str, at: str, **changed: Any) -> bytes:
    found = {"reference": reference, "method": "gov_id", "verified": True, "at": at, "evidence": "e" * 64}
    return json.dumps({**found, **changed}).encode()


def call_back(app: Flask, kit: ConsentKit, body: bytes, *, secret: str = SECRET, name: str = "notary") -> Any:
    with app.app_context():
        now_s = kit.runtime.clock.now() // 1_000_000
    signed = signed_headers("msg_1", now_s, body, [secret_bytes(secret)])
    headers = {"Content-Type": "application/json", **signed}
    return app.test_client().post(f"{PAGE}/callback/{name}", base_url=SITE, data=body, headers=headers)


@pytest.fixture
def provider() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        mock.post(NOTARY, json={"redirect": "https://notary.example/check/1"})
        yield mock


def now_of(app: Flask, kit: ConsentKit) -> str:
    with app.app_context():
        return from_us(kit.runtime.clock.now()).isoformat()


def test_a_guardian_is_verified_and_then_answers(
    app: Flask,
    kit: ConsentKit,
    child: Browser,
    guardian: Browser,
    outbox: Outbox,
    provider: responses.RequestsMock,
    reason: Callable[..., str],
) -> None:
    child.post("/ask", data={"item": ["identity", "photos"], "method": "gov_id"})
    page = guardian.open(outbox[0].url)
    assert "Go to The notary" in page.text
    assert 'type="radio"' not in page.text
    away = guardian.post(data={"decision": "verify"})
    assert away.status_code == 200
    assert away.headers["Refresh"] == "0; url=https://notary.example/check/1"
    assert 'href="https://notary.example/check/1"' in away.text
    asked = json.loads(provider.calls[0].request.body or b"")
    assert asked["return_url"] == SITE + PAGE
    assert asked["callback_url"] == f"{SITE}{PAGE}/callback/notary"
    assert call_back(app, kit, result(asked["reference"], now_of(app, kit))).status_code == 204
    page = guardian.get(PAGE)
    assert "You have been checked" in page.text
    assert "Print &amp; Co" in page.text
    assert guardian.answer(["identity", "photos"]).status_code == 422
    assert guardian.answer(["identity", "photos"], ["photos"]).status_code == 303
    assert (reason("identity"), reason("photos")) == ("GIVEN", "GIVEN")


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, 204),
        ({"secret": "whsec_" + "b" * 43 + "="}, 403),
        ({"name": "nobody"}, 404),
        ({"reference": "0197c000-0000-7000-8000-000000000000.x"}, 403),
        ({"method": "payment_card"}, 403),
        ({"method": "pigeon"}, 403),
        ({"at": "2020-01-01T00:00:00+00:00"}, 403),
        ({"at": "now"}, 403),
        ({"evidence": "scan.pdf"}, 403),
        ({"verified": "yes"}, 403),
        ({"more": "x" * 70_000}, 403),
    ],
)
def test_forged_callbacks(
    app: Flask,
    kit: ConsentKit,
    child: Browser,
    guardian: Browser,
    outbox: Outbox,
    provider: responses.RequestsMock,
    how: dict[str, str],
    status: int,
) -> None:
    child.post("/ask", data={"method": "gov_id"})
    guardian.open(outbox[0].url)
    guardian.post(data={"decision": "verify"})
    asked = json.loads(provider.calls[0].request.body or b"")
    way = {name: how[name] for name in ("secret", "name") if name in how}
    said = {name: value for name, value in how.items() if name not in way}
    body = result(said.pop("reference", asked["reference"]), said.pop("at", now_of(app, kit)), **said)
    assert call_back(app, kit, body, **way).status_code == status
    assert ("You have been checked" in guardian.get(PAGE).text) is (status == 204)


def test_a_callback_that_comes_twice_or_late(
    app: Flask,
    kit: ConsentKit,
    child: Browser,
    guardian: Browser,
    outbox: Outbox,
    provider: responses.RequestsMock,
) -> None:
    child.post("/ask", data={"method": "gov_id"})
    guardian.open(outbox[0].url)
    guardian.post(data={"decision": "verify"})
    asked = json.loads(provider.calls[0].request.body or b"")
    body = result(asked["reference"], now_of(app, kit))
    now_s = app.extensions["consentkit"].kit.runtime.clock.now() // 1_000_000
    old = signed_headers("msg_1", now_s - 400, body, [secret_bytes(SECRET)])
    client, path = app.test_client(), f"{PAGE}/callback/notary"
    assert client.post(path, data=body, headers=old).status_code == 403
    unsigned = client.post(path, data=body)
    assert (unsigned.status_code, unsigned.get_json()["type"]) == (
        403,
        "urn:consentkit:problem:result-refused",
    )
    assert call_back(app, kit, body).status_code == 204
    assert call_back(app, kit, body).status_code == 403


@pytest.mark.parametrize(
    "leads",
    [
        "https://evil.example/",
        "//notary.example",
        "https://notary.example@evil.example/",
        "javascript:1",
        None,
    ],
)
def test_a_verifier_leads_nowhere_else(
    child: Browser, guardian: Browser, outbox: Outbox, leads: str | None
) -> None:
    child.post("/ask", data={"method": "gov_id"})
    guardian.open(outbox[0].url)
    with responses.RequestsMock() as mock:
        mock.post(NOTARY, json={"redirect": leads})
        page = guardian.post(data={"decision": "verify"})
    assert page.status_code == 503
    assert "Refresh" not in page.headers
    assert "cannot be reached at the moment" in page.text
    assert "evil" not in page.text


# ---------------------------------------------------------------- the guardian's own page


def test_see_change_withdraw_export(
    app: Flask,
    kit: ConsentKit,
    child: Browser,
    guardian: Browser,
    outbox: Outbox,
    reason: Callable[..., str],
) -> None:
    child.post("/ask", data={"item": ["news", "club"]})
    guardian.open(outbox[0].url)
    guardian.answer(["news"])
    with app.test_request_context(base_url=SITE):
        kit.guardian_access("kid", contact=PARENT, child="Mia")
    later_on = Browser(app)
    page = later_on.open(outbox[1].url)
    assert "Your answers" in page.text
    assert page.text.count("checked") == 2
    export = later_on.get(f"{PAGE}/export")
    assert [e["action"] for e in export.get_json()["events"]][-2:] == ["given", "refused"]
    assert "attachment" in export.headers["Content-Disposition"]
    assert later_on.answer(["club"]).status_code == 303
    assert (reason(), reason("club")) == ("GUARDIAN_REVOKED", "GIVEN")
    assert later_on.post(data={"decision": "refuse"}).status_code == 303
    assert reason("club") == "GUARDIAN_REVOKED"
    receipt = later_on.get(f"{PAGE}/receipt").get_json()
    assert {a["item"]: a["action"] for a in receipt["answers"]} == {"news": "revoked", "club": "revoked"}
    assert all(a["proof"] for a in receipt["answers"])


def test_nothing_about_the_child_without_verification(
    child: Browser, guardian: Browser, outbox: Outbox, provider: responses.RequestsMock
) -> None:
    child.post("/ask", data={"method": "gov_id"})
    guardian.open(outbox[0].url)
    assert guardian.get(f"{PAGE}/export").status_code == 403
    guardian.post(data={"decision": "refuse"})
    refused = guardian.get(f"{PAGE}/export")
    assert (refused.status_code, refused.get_json()["type"]) == (403, "urn:consentkit:problem:not-verified")
    receipt = guardian.get(f"{PAGE}/receipt").get_json()
    assert [a["action"] for a in receipt["answers"]] == ["refused"]
    assert receipt["subject"] is None
    assert "kid" not in json.dumps({**receipt, "answers": []})
    provider.assert_all_requests_are_fired = False


# ---------------------------------------------------------------- codes


def test_the_code_in_place_of_the_link(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask")
    assert "Type the code" in guardian.get(PAGE).text
    typed = f" {outbox[0].code.lower().replace('-', ' ')} "
    assert guardian.post(data={"decision": "code", "code": typed}).status_code == 303
    guardian.answer(["news"])
    assert reason() == "GIVEN"


def test_a_wrong_code_says_the_same_whatever_is_wrong(
    app: Flask, kit: ConsentKit, child: Browser, guardian: Browser, outbox: Outbox
) -> None:
    child.post("/ask")
    code = outbox[0].code
    wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
    answers = {
        guardian.post(data={"decision": "code", "code": c}).text for c in ("", "what", "0000-0000-0000")
    }
    answers |= {guardian.post(data={"decision": "code", "code": wrong}).text for _ in range(5)}
    answers |= {guardian.post(data={"decision": "code", "code": code}).text}  # five tries are over
    assert len(answers) == 1
    assert "cannot be used" in answers.pop()
    assert guardian.cookie(COOKIE, PAGE) is None


# ---------------------------------------------------------------- attacks


def test_the_child_cannot_answer_itself(
    app: Flask, child: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask", data={"contact": "kid@second.example"})
    assert child.cookie(ASKED) is not None
    signed_in = child.open(outbox[0].url)
    assert (signed_in.status_code, TEXTS["asker"] in signed_in.text) == (403, True)
    child.post("/logout")
    assert child.open(outbox[0].url).status_code == 403
    code = child.post(data={"decision": "code", "code": outbox[0].code})
    assert code.status_code == 403
    assert child.cookie(COOKIE, PAGE) is None
    elsewhere = Browser(app)  # a browser that never asked, but signed in as the child
    elsewhere.post("/login", data={"user": "kid"})
    assert elsewhere.open(outbox[0].url).status_code == 403
    assert reason() == "GUARDIAN_PENDING"


def test_a_session_carried_to_the_child_is_refused(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask")
    guardian.open(outbox[0].url)
    stolen = guardian.cookie(COOKIE, PAGE)
    child.client.set_cookie(COOKIE, stolen.value, domain="shop.example", path=PAGE, secure=True)
    assert child.post(data={"decision": "refuse"}).status_code == 403
    assert reason() == "GUARDIAN_PENDING"


def test_a_link_that_was_used_altered_or_is_another_childs(
    app: Flask, kit: ConsentKit, child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str]
) -> None:
    child.post("/ask")
    url = outbox[0].url
    token = url.rpartition("/")[2]
    for altered in (token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token[5:], "x", token + "x"):
        page = guardian.open(f"{SITE}{PAGE}/{altered}")
        assert (page.status_code, TEXTS["gone"] in page.text) == (404, True)
    guardian.open(url)
    second = Browser(app)
    second.open(url)  # forwarded
    assert guardian.answer(["news"]).status_code == 303
    assert second.post(data={"decision": "refuse"}).status_code == 410
    replayed = Browser(app).open(url)
    assert (replayed.status_code, TEXTS["gone"] in replayed.text) == (410, True)
    assert reason() == "GIVEN"


def test_a_link_that_is_over_stays_over(
    app: Flask, kit: ConsentKit, child: Browser, guardian: Browser, outbox: Outbox
) -> None:
    child.post("/ask")
    with later(kit, app, 15 * DAY_US):
        assert guardian.open(outbox[0].url).status_code == 410
    assert guardian.open(outbox[0].url).status_code == 410


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_answer(
    child: Browser, guardian: Browser, outbox: Outbox, reason: Callable[..., str], site: str
) -> None:
    child.post("/ask")
    guardian.open(outbox[0].url)
    headers = {"Accept": "text/html", "Sec-Fetch-Site": site}
    assert guardian.post(data={"decision": "refuse"}, headers=headers).status_code == 403
    assert reason() == "GUARDIAN_PENDING"


@pytest.mark.parametrize("data", [{}, {"decision": "x"}, {"decision": "answer"}, {"decision": "confirm"}])
def test_without_a_session_there_is_only_the_form_for_the_code(
    guardian: Browser, data: dict[str, str]
) -> None:
    page = guardian.post(data=data)
    assert page.status_code == 422
    assert "Type the code" in page.text
    assert guardian.get(f"{PAGE}/receipt").status_code == 404


@pytest.mark.parametrize("cookie", ["", "x", "a.b", "é", "x" * 4000])
def test_a_session_that_is_none(guardian: Browser, cookie: str) -> None:
    guardian.client.set_cookie(COOKIE, cookie, domain="shop.example", path=PAGE, secure=True)
    assert guardian.get(PAGE).status_code in (200, 404)
    assert guardian.post(data={"decision": "refuse"}).status_code in (404, 422)


def test_a_host_header_gives_no_link(app: Flask, kit: ConsentKit, outbox: Outbox) -> None:
    with app.test_request_context(base_url="https://evil.example"):
        kit.invite_guardian("kid", "news", contact=PARENT, method="email")
    assert outbox[0].url.startswith(SITE)


def test_without_an_address_of_its_own_only_this_machine_is_trusted(
    kit: ConsentKit, outbox: Outbox, tmp_path: Path
) -> None:
    app = make_app(kit, tmp_path)
    with app.app_context(), pytest.raises(ConsentKitError, match="CONSENTKIT_BASE_URL"):
        kit.invite_guardian("kid", "news", contact=PARENT, method="email")
    with (
        app.test_request_context(base_url="https://evil.example"),
        pytest.raises(ConsentKitError, match="Host header"),
    ):
        kit.invite_guardian("kid", "news", contact=PARENT, method="email")
    with app.test_request_context(base_url="http://127.0.0.1:8000/shop"):
        kit.invite_guardian("kid", "news", contact=PARENT, method="email")
    assert outbox[0].url.startswith("http://127.0.0.1:8000/shop/consent/guardian/")


def test_without_a_secret_key_nothing_is_begun(kit: ConsentKit, app: Flask, outbox: Outbox) -> None:
    app.secret_key = None
    with app.app_context(), pytest.raises(ConsentKitError, match="SECRET_KEY"):
        kit.invite_guardian("kid", "news", contact=PARENT, method="email")
    assert outbox == []


@pytest.mark.parametrize(
    "address", ["shop.example", "http://shop.example", "https://", "https://a@shop.example", "https://s?x", 5]
)
def test_what_is_no_public_address(kit: ConsentKit, tmp_path: Path, address: Any) -> None:
    with pytest.raises(ConsentKitError, match="CONSENTKIT_BASE_URL"):
        make_app(kit, tmp_path, CONSENTKIT_BASE_URL=address)


def test_keys_may_change(
    kit: ConsentKit, outbox: Outbox, child: Browser, app: Flask, guardian: Browser
) -> None:
    child.post("/ask")
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = "a new key", ["a key for tests"]
    assert guardian.open(outbox[0].url).status_code == 200
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert Browser(app).open(outbox[0].url).status_code == 404


def test_a_link_that_a_program_without_flask_has_sent(
    app: Flask, kit: ConsentKit, guardian: Browser, tmp_path: Path
) -> None:
    outbox, database = Outbox(), next((tmp_path / "instance").glob("*.sqlite3"))
    job = consentkit.open(kit.catalog, f"sqlite:///{database}")
    job.guardian_mailer(outbox.send)
    job.guardian.pages = lambda: SITE + PAGE
    job.invite_guardian("kid", "news", contact=PARENT, method="email")
    assert "Our letter" in guardian.open(outbox[0].url).text
    job.runtime.dispose()


def test_a_verb_alone_still_needs_the_guardian(app: Flask, kit: ConsentKit, outbox: Outbox) -> None:
    with app.app_context(), pytest.raises(GuardianNeeded):
        kit.give("kid", "news")


def test_contacts_cannot_be_found_out_over_the_childs_page(child: Browser, outbox: Outbox) -> None:
    seen = {(child.post("/ask", data={"contact": c}).status_code) for c in (PARENT, OTHER, PARENT)}
    assert seen == {200}


def test_what_the_browser_denied_before_sign_up_ends_with_the_guardians_yes(
    app: Flask, kit: ConsentKit, guardian: Browser, outbox: Outbox
) -> None:
    """Somebody says no on the banner, then signs up as a child, who cannot take that back."""
    app.add_url_rule("/news", "news", consentkit.requires_consent("news")(lambda: "news"))
    shared = Browser(app)
    assert shared.post("/consent", data={"decision": "reject-all"}).status_code == 303
    shared.post("/login", data={"user": "kid"})
    assert shared.get("/news").status_code == 403
    shared.post("/ask")
    guardian.open(outbox[0].url)
    guardian.answer(["news"])
    assert shared.get("/news").text == "news"
    shared.post("/logout")
    assert shared.get("/news").status_code == 303, "nobody has answered in this browser"
