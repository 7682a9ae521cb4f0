"""Who has to be told of an event: a table, and what happens when recipients change."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from consentkit.core.catalog import Catalog, Party, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build, definition
from consentkit.core.propagation import RULES, Audiences, payload, rule_of, type_of
from consentkit.core.published import Published, PurposeRelease
from consentkit.core.record import Event, restricted_jcs
from consentkit.core.terms import ANSWERS, GRANTING, Action, Basis, Kind

PARTIES = [
    Party("mailer", name="Mailer", webhook="https://mailer.example/hook"),
    Party("crm", name="CRM", webhook="https://crm.example/hook"),
    Party("maps", name="Maps", webhook="https://maps.example/hook"),
    Party("host", name="Host", webhook="https://host.example/hook"),
    Party("printer", name="Printer"),
]


def catalogue(*purposes: Purpose) -> Catalog:
    text = PolicyVersion("1", texts={"en": "# Terms"})
    return build(
        purposes=purposes,
        parties=PARTIES,
        policies=[Policy("terms", versions=[text]), Policy("idle", versions=[text])],
    )


def purposes(version: int, recipients: list[str]) -> tuple[Purpose, Purpose]:
    return (
        Purpose("news", title="N", version=version, recipients=recipients, policies=["terms"]),
        Purpose("ads", title="A", recipients=["maps"], category="marketing", signals=["gpc"]),
    )


def audiences(*versions: list[str]) -> Audiences:
    """`news` with these recipients in its versions 1, 2, …; the catalogue has the last one."""
    releases = []
    for number, recipients in enumerate(versions, start=1):
        what = catalogue(*purposes(number, recipients))
        releases.append(PurposeRelease("news", number, definition(what, what.purposes["news"]), number))
    ads = PurposeRelease("ads", 1, definition(what, what.purposes["ads"]), 1)
    return Audiences(what, Published({}, {"news": tuple(releases), "ads": (ads,)}))


def event(kind: Kind, action: Action, item: str = "news", version: str | None = "1", **body: Any) -> Event:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    said = restricted_jcs({"tenant": "", "actor": "guardian:1", "band": "minor", "expires_us": None} | body)
    where = ("0192aa5c-7b1e-7000-8abc-0123456789ab", kind.value, item, version, "", action.value)
    return Event(*where, "guardian:1", "form", "de", "ab" * 32, moment, moment, said, 7)


NOW = audiences(["mailer", "crm", "printer"])


@pytest.mark.parametrize("action", sorted(ANSWERS))
def test_an_answer_about_a_purpose_is_told_to_its_recipients(action: Action) -> None:
    said = event(Kind.PURPOSE, action)
    assert NOW.told(said) == {"crm": ("news",), "mailer": ("news",)}
    assert type_of(said) == f"consent.{action}"


@pytest.mark.parametrize("action", sorted(set(Action) - ANSWERS))
def test_what_is_no_answer_is_told_to_nobody(action: Action) -> None:
    assert not NOW.told(event(Kind.PURPOSE, action))
    assert not NOW.told(event(Kind.POLICY, action, "terms"))
    assert not NOW.told(event(Kind.ANNOUNCEMENT, action, "terms"))
    with pytest.raises(LookupError):
        type_of(event(Kind.PURPOSE, action))


@pytest.mark.parametrize(
    ("kind", "action", "item", "told", "name"),
    [
        (Kind.POLICY, Action.ACCEPTED, "terms", ("crm", "mailer"), "policy.accepted"),
        (Kind.POLICY, Action.WITHDRAWN, "terms", ("crm", "mailer"), "policy.withdrawn"),
        (Kind.POLICY, Action.ACCEPTED, "idle", (), "policy.accepted"),
        (Kind.SIGNAL, Action.OBJECTED, "gpc", ("maps",), "signal.objected"),
        (Kind.SIGNAL, Action.OBJECTED, "other", (), "signal.objected"),
        (Kind.SUBJECT, Action.RESTRICTED, "restriction", ("crm", "mailer", "maps"), "subject.restricted"),
        (Kind.SUBJECT, Action.OBJECTED, "objection", ("crm", "mailer", "maps"), "subject.objected"),
        (Kind.SUBJECT, Action.LIFTED, "restriction", ("crm", "mailer", "maps"), "subject.lifted"),
        (Kind.SUBJECT, Action.ERASED, "subject", ("crm", "mailer", "maps"), "subject.erased"),
    ],
)
def test_the_table(kind: Kind, action: Action, item: str, told: tuple[str, ...], name: str) -> None:
    said = event(kind, action, item, None)
    assert tuple(NOW.told(said)) == told
    assert type_of(said) == name


def test_superseded_events_that_were_purged_are_no_erasure() -> None:
    """Retention writes records with the action `erased`, about other items than the subject."""
    assert rule_of(Kind.SUBJECT, Action.ERASED, "retention") is None


def test_a_party_without_a_webhook_or_without_data_is_never_told() -> None:
    for rule in RULES:
        for action in rule.actions:
            assert not {"printer", "host"} & set(NOW.told(event(rule.kind, action, rule.item or "news")))


class TestRecipientsThatChange:
    """Version 1 went to the mailer, version 2 to mailer and crm, version 3 to the crm alone."""

    who = audiences(["mailer"], ["mailer", "crm"], ["crm"])

    @pytest.mark.parametrize("action", sorted(GRANTING - {Action.ACCEPTED}))
    def test_a_yes_is_told_to_those_of_its_version(self, action: Action) -> None:
        told = [tuple(self.who.told(event(Kind.PURPOSE, action, version=str(n)))) for n in (1, 2, 3)]
        assert told == [("mailer",), ("crm", "mailer"), ("crm",)]

    @pytest.mark.parametrize("action", sorted(ANSWERS - GRANTING))
    def test_a_no_is_told_to_everybody_who_may_hold_something(self, action: Action) -> None:
        told = [tuple(self.who.told(event(Kind.PURPOSE, action, version=str(n)))) for n in (1, 2, 3)]
        assert told == [("mailer",), ("crm", "mailer"), ("crm", "mailer")]

    def test_an_erasure_too(self) -> None:
        told = self.who.told(event(Kind.SUBJECT, Action.ERASED, "subject"))
        assert told == {"crm": ("news",), "mailer": ("news",), "maps": ("ads",)}

    def test_a_purpose_that_was_never_published_concerns_nobody(self) -> None:
        assert not self.who.told(event(Kind.PURPOSE, Action.GIVEN, "unknown"))

    def test_who_is_none_any_more_may_not_go_on(self) -> None:
        """Whatever the gate says: that is about those who receive something now."""
        said = event(Kind.PURPOSE, Action.WITHDRAWN, version="3")
        told = self.who.told(said)
        assert self.who.judged(said, told["mailer"]) == ("news",)
        assert self.who.allowed("mailer", told["mailer"], {"news": True}) == {"news": False}
        assert self.who.allowed("crm", told["crm"], {"news": True}) == {"news": True}
        assert self.who.allowed("crm", told["crm"], {"news": False}) == {"news": False}
        assert self.who.allowed("crm", ["gone"], {}) == {"gone": False}


def test_an_answer_to_a_core_purpose_is_told_to_everybody_who_receives_anything() -> None:
    """Without it all the others stop, and with it they may go on."""
    core = Purpose("account", title="A", basis=Basis.CONTRACT, core=True, recipients=["host"])
    what = catalogue(core, *purposes(1, ["mailer"]))
    releases = {p.key: (PurposeRelease(p.key, 1, definition(what, p), 1),) for p in what.purposes.values()}
    who = Audiences(what, Published({}, releases))
    for action in (Action.WITHDRAWN, Action.GIVEN):
        told = who.told(event(Kind.PURPOSE, action, "account", "9"))
        hosts = {"host": ("account",)} if action is Action.WITHDRAWN else {}
        assert told == {"mailer": ("news",), "maps": ("ads",), **hosts}
    assert who.told(event(Kind.PURPOSE, Action.WITHDRAWN)) == {"mailer": ("news",)}


@pytest.mark.parametrize("version", [None, "", "nine", "9" * 5000, "-1"])
def test_a_version_that_cannot_be_read_is_told_to_those_of_all(version: str | None) -> None:
    who = audiences(["mailer"], ["crm"])
    for action in (Action.GIVEN, Action.WITHDRAWN):
        assert tuple(who.told(event(Kind.PURPOSE, action, version=version))) == ("crm", "mailer")


class TestPayload:
    def test_it_says_what_was_answered_and_nothing_about_how(self) -> None:
        said = event(Kind.PURPOSE, Action.GIVEN, expires_us=1_800_000_000_000_000)
        assert json.loads(payload(said, "u-42", {"news": True})) == {
            "type": "consent.given",
            "timestamp": "2026-01-02T03:04:05.000000Z",
            "data": {
                "event_id": "0192aa5c-7b1e-7000-8abc-0123456789ab",
                "subject": "u-42",
                "kind": "purpose",
                "item": "news",
                "version": "1",
                "action": "given",
                "scope": "",
                "effective_at": "2026-01-02T03:04:05.000000Z",
                "expires_at": "2027-01-15T08:00:00.000000Z",
                "leaf_index": 7,
                "allowed": {"news": True},
            },
        }

    def test_an_erasure_says_why_and_a_renamed_answer_what_it_continues(self) -> None:
        erased = event(Kind.SUBJECT, Action.ERASED, "subject", None, reason="renamed", leaves="1-3")
        assert json.loads(payload(erased, "u-1", {}))["data"]["reason"] == "renamed"
        assert "leaves" not in payload(erased, "u-1", {})
        carried = event(Kind.PURPOSE, Action.GIVEN, continues="0192aa5c")
        assert json.loads(payload(carried, "u-1", {}))["data"]["continues"] == "0192aa5c"

    def test_the_longest_one_is_below_20_kilobytes(self) -> None:
        long = event(Kind.PURPOSE, Action.GIVEN, "n" * 200, "9" * 15)
        assert len(payload(long, "\U0001f600" * 256, {})) < 20_000  # 1024 bytes is the longest id of the API
