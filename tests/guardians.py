"""Guardians for tests: a catalogue, an outbox in place of mail, and a desk as the page uses it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from consentkit.core.catalog import Catalog, MinorRules, Party, Policy, PolicyVersion, Purpose, Site
from consentkit.core.catalog_rules import build
from consentkit.core.inviting import Invitation, Reply
from consentkit.core.minors import Age
from consentkit.core.record import Event
from consentkit.core.tokens import Session
from consentkit.core.verification import GuardianCheck, GuardianMethod, VerificationResult
from consentkit.guardians.desk import Desk
from consentkit.guardians.visiting import Visit
from consentkit.kit import Kit

PAGES = "https://shop.example/consent/guardian"
PARENT, OTHER = "parent@example.org", "other@example.org"
DAY_US = 24 * 3600 * 1_000_000
HOUR_US = 3600 * 1_000_000
RULES = PolicyVersion(
    "1", effective=datetime(2020, 1, 1, tzinfo=UTC), texts={"en": "# Rules", "de": "# Regeln"}
)


def catalog(**more: Any) -> Catalog:
    """A place where children ask: Germany, so sixteen. `more` replaces arguments of `build`."""
    parts: dict[str, Any] = {
        "site": Site(name="Harbour Press", locales=("en", "de"), default_jurisdiction="DE"),
        "purposes": [
            Purpose("news", title="Our letter", data=["e-mail address"], retention="P1Y"),
            Purpose("club", title="The club", valid_for="P6M"),
            Purpose("photos", title="Photos in print", recipients=["printer"]),
            Purpose("hosting", title="A page of one's own", recipients=["host"]),
            Purpose("identity", title="Buying", assurance="verifiable"),
            Purpose("ads", title="Ads", minors="never"),
            Purpose("poll", title="A poll", minors="allowed"),
            Purpose("account", title="Account", basis="contract"),
            Purpose("quote", title="Quotes", scoped=True),
        ],
        "parties": [Party("printer", name="Print & Co"), Party("host", name="Host", processor=True)],
        "policies": [Policy("rules", title="House rules", minors="guardian", versions=[RULES])],
        "minors": MinorRules(),
    }
    return build(**(parts | more))


class Outbox(list[Invitation]):
    """What was sent. `failing`: the mail server is down."""

    failing = False

    def send(self, invitation: Invitation) -> None:
        if self.failing:
            raise OSError("the mail server is down")
        self.append(invitation)


def ready(kit: Kit) -> Outbox:
    """A kit that can send, and what it sends. Its child is `kid`, nine years old."""
    outbox = Outbox()
    kit.guardian_mailer(outbox.send)
    kit.guardian.pages = lambda: PAGES
    kit.learn("kid", age=Age(years=9), jurisdiction="DE")
    return outbox


def invite(kit: Kit, items: Any = "news", method: str = "email", contact: str = PARENT, **more: Any) -> str:
    """Ask the guardian of `kid`."""
    return kit.invite_guardian(more.pop("subject", "kid"), items, contact=contact, method=method, **more)


def token_of(invitation: Invitation) -> str:
    """The token in a link."""
    assert invitation.url.startswith(f"{PAGES}/"), invitation.url
    return invitation.url.removeprefix(f"{PAGES}/")


def come(kit: Kit, invitation: Invitation, *marks: str) -> Visit:
    """Open the link in a browser of one's own."""
    desk = Desk(kit)
    return look(kit, desk.open_link(token_of(invitation), marks), *marks)


def look(kit: Kit, session: Session, *marks: str) -> Visit:
    """Open the page in the same browser again."""
    desk = Desk(kit)
    return desk.visit(desk.text_of(session), marks)


def reply(kit: Kit, visit: Visit, yes: Sequence[str] = (), disclosed: Sequence[str] = ()) -> list[Event]:
    """Answer yes to these and no to the rest."""
    desk = Desk(kit)
    shown = {item: desk.shown(item, "en") for item in yes}
    refused = tuple(item for item in visit.items if item not in yes)
    return desk.reply(visit, Reply(shown, refused, frozenset(disclosed)))


def said(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event.item, event.action) for event in events]


def body(event: Event) -> Mapping[str, Any]:
    read: Mapping[str, Any] = json.loads(event.body)
    return read


class Notary:
    """A verifier without a network: what it is told to find, it finds. Signatures are tested elsewhere."""

    name, title = "notary", "The notary"
    methods = frozenset({GuardianMethod.GOV_ID, GuardianMethod.PAYMENT_CARD})

    def __init__(self) -> None:
        self.asked: list[GuardianCheck] = []

    def start(self, check: GuardianCheck) -> str:
        self.asked.append(check)
        return "https://notary.example/check"

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> VerificationResult:
        found = json.loads(body)
        at = datetime.fromisoformat(found["at"]) if "at" in found else now
        return VerificationResult(
            found["reference"], GuardianMethod(found["method"]), found["verified"], at, found.get("evidence")
        )

    def find(self, kit: Kit, *, verified: bool = True, **more: Any) -> bool:
        """The result of the last check arrives."""
        check = self.asked[-1]
        found = {"reference": check.reference, "method": check.method.value, "verified": verified, **more}
        return Desk(kit).finish_check(self, {}, json.dumps(found).encode())
