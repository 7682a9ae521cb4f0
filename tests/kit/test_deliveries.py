"""Recipients are told: each event, in order, at least once, and provably. Both databases, real receivers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit, rows
from receiving import (
    LOOPBACK,
    Receiver,
    hanging,
    in_turn,
    raw,
    receiving,
    status,
    webhooks,
)
from standardwebhooks import WebhookVerificationError

import consentkit
import consentkit.kit_deliver as kit_deliver
from consentkit import Age, ChoiceRejected, MinorRules
from consentkit.core.catalog import Catalog, Party, Policy, PolicyVersion, Purpose
from consentkit.core.catalog_rules import build
from consentkit.core.propagation import payload
from consentkit.core.record import Answer
from consentkit.core.terms import Action, Basis, Kind
from consentkit.core.webhooks import PAUSES_US, Webhooks, new_secret
from consentkit.integrations import webhooks as sending
from consentkit.kit import Kit
from consentkit.kit_deliver import Delivered
from consentkit.store import delivering, outbox
from consentkit.store.lag import read_lag

MINUTE_US = 60 * 1_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def catalogue(mailer: str = "", crm: str = "", **more: Any) -> Catalog:
    """`news` goes to both, `stats` to the crm, `plain` to nobody."""
    parts: dict[str, Any] = {
        "purposes": [
            Purpose("news", title="News", recipients=["mailer", "crm"]),
            Purpose("stats", title="Stats", recipients=["crm"]),
            Purpose("quote", title="Quote", recipients=["mailer"], scoped=True),
            Purpose("plain", title="Plain"),
        ],
        "parties": [Party("mailer", name="Mailer", webhook=mailer), Party("crm", name="CRM", webhook=crm)],
        "policies": [Policy("terms", versions=[PolicyVersion("1", texts={"en": "# Terms"})])],
    }
    return build(**(parts | more))


def drain(kit: Kit) -> Delivered:
    """Rounds until one has nothing more to do; the last one."""
    while (last := kit.deliver()).more:
        pass
    return last


class Delivering(Suite):
    @pytest.fixture
    def receivers(self) -> Iterator[ExitStack]:
        with ExitStack() as stack:
            yield stack

    @pytest.fixture
    def mailer(self, receivers: ExitStack) -> Receiver:
        return receivers.enter_context(receiving())

    @pytest.fixture
    def crm(self, receivers: ExitStack) -> Receiver:
        return receivers.enter_context(receiving())

    @pytest.fixture
    def another(
        self, url: str, clock: ShiftedClock, mailer: Receiver, crm: Receiver
    ) -> Iterator[Callable[..., Kit]]:
        """More kits on the same database; `another(catalogue(…), webhooks=…)` replaces what they know."""
        with ExitStack() as stack:

            def make(what: Catalog | None = None, **more: Any) -> Kit:
                what = what or catalogue(mailer.url, crm.url)
                more = {"webhooks": webhooks(mailer=mailer, crm=crm), "clock": clock} | more
                kit = open_kit(url, what, **more)
                stack.callback(kit.runtime.dispose)
                return kit

            yield make

    @pytest.fixture
    def kit(self, another: Callable[..., Kit]) -> Kit:
        return another()

    def sealed(self, kit: Kit) -> Kit:
        """With PostgreSQL a sealer runs beside the deliverer."""
        kit.ledger.seal()
        return kit

    # ------------------------------------------------------------ every event, in order, signed

    def test_each_recipient_is_told_what_concerns_it_in_order(
        self, kit: Kit, mailer: Receiver, crm: Receiver
    ) -> None:
        kit.give("u-1", ["news", "stats", "plain"])
        kit.give("u-2", "news")
        kit.withdraw("u-1", "news")
        kit.defer("u-2", "stats")
        kit.accept("u-1", "terms")
        done = drain(self.sealed(kit))
        assert (done.delivered, done.failed, done.more) == (7, {}, False)
        assert mailer.about("u-1") == ["consent.given u-1", "consent.withdrawn u-1"]
        assert mailer.about("u-2") == ["consent.given u-2"]
        assert [m.json["data"]["item"] for m in crm.messages if m.said.endswith("u-1")] == [
            "news",
            "stats",
            "news",
        ]
        for receiver in (mailer, crm):
            leaves = [message.json["data"]["leaf_index"] for message in receiver.messages]
            assert leaves == sorted(leaves)
            for message in receiver.messages:
                receiver.verify(message)
                assert message.headers["Content-Type"] == "application/json"
        assert len({m.id for m in (*mailer.messages, *crm.messages)}) == 7
        assert drain(kit) == Delivered(0, 0)

    def test_what_is_said_is_the_payload_of_the_event(self, kit: Kit, mailer: Receiver) -> None:
        (given,) = kit.give("u-1", "news", method="form", locale="de")
        drain(self.sealed(kit))
        event = kit.ledger.event(given.event_id)
        assert event is not None
        assert mailer.messages[0].body.decode() == payload(event, "u-1", {"news": True})

    def test_a_restriction_and_an_erasure_are_told_to_everybody(
        self, kit: Kit, mailer: Receiver, crm: Receiver
    ) -> None:
        kit.restrict("u-1")
        kit.object("u-1")
        kit.lift("u-1")
        kit.erase("u-1")
        drain(self.sealed(kit))
        types = [
            "subject.restricted",
            "subject.objected",
            "subject.lifted",
            "subject.lifted",
            "subject.erased",
        ]
        assert mailer.said == crm.said == [f"{name} u-1" for name in types]

    def test_another_id_is_the_end_of_the_old_one(self, kit: Kit, mailer: Receiver) -> None:
        kit.give("u-1", "news")
        kit.rename("u-1", "u-9")
        drain(self.sealed(kit))
        assert mailer.about("u-1") == ["consent.given u-1", "subject.erased u-1"]
        assert mailer.about("u-9") == ["consent.given u-9"]
        said = {message.said: message.json["data"] for message in mailer.messages}
        old, new, erased = said["consent.given u-1"], said["consent.given u-9"], said["subject.erased u-1"]
        assert new["continues"] == old["event_id"]
        assert erased["reason"] == "renamed"

    def test_a_tenants_subjects_are_told_to_nobody(self, kit: Kit, mailer: Receiver) -> None:
        (theirs,) = kit.give("u-1", "news", tenant="t-1")
        kit.give("u-2", "news")
        drain(self.sealed(kit))
        assert mailer.said == ["consent.given u-2"]
        assert kit.deliveries(subject="u-1") == kit.deliveries(event_id=theirs.event_id) == []
        assert kit.deliveries(subject="u-1", tenant="t-1") == []
        assert kit.deliveries(event_id=theirs.event_id, tenant="t-1") == []

    def test_many_events_and_a_place_that_is_kept(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox, "PAGE", 5)
        monkeypatch.setattr(outbox, "PAGES", 2)
        for n in range(23):
            kit.give(f"u-{n}", "news")
        self.sealed(kit)
        first = kit.deliver()
        assert (first.queued, first.more) == (20, True)
        drain(another())
        assert [message.json["data"]["leaf_index"] for message in mailer.messages] == list(range(23))

    # ------------------------------------------------------------ whether a recipient may go on

    def allowed(self, receiver: Receiver) -> list[tuple[str, dict[str, bool]]]:
        return [(message.json["type"], message.json["data"]["allowed"]) for message in receiver.messages]

    def test_each_message_says_whether_its_recipient_may_go_on(
        self, kit: Kit, mailer: Receiver, crm: Receiver
    ) -> None:
        for verb in (lambda: kit.give("u-1", ["news", "stats"]), lambda: kit.withdraw("u-1", "news")):
            verb()
            drain(self.sealed(kit))
        kit.restrict("u-1")
        drain(self.sealed(kit))
        assert self.allowed(mailer) == [
            ("consent.given", {"news": True}),
            ("consent.withdrawn", {"news": False}),
            ("subject.restricted", {"news": False}),
        ]
        assert self.allowed(crm)[-1] == ("subject.restricted", {"news": False, "stats": False})

    def test_it_is_what_holds_when_the_message_is_made(self, kit: Kit, mailer: Receiver) -> None:
        """A yes that was withdrawn before it could be told never says yes, nor does one that is sent again."""
        (given,) = kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        drain(self.sealed(kit))
        kit.redeliver(given.event_id, "mailer")
        drain(kit)
        assert [may for _, may in self.allowed(mailer)] == [{"news": False}] * 3

    def test_a_yes_is_not_enough_where_something_else_is_wanting(
        self, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        purposes = [
            Purpose("letters", title="L", recipients=["mailer"], policies=["terms"]),
            Purpose("books", title="B", recipients=["crm"], basis="legal_obligation"),
            Purpose("quote", title="Q", recipients=["crm"], scoped=True),
        ]
        kit = another(catalogue(mailer.url, crm.url, purposes=purposes))
        kit.give("u-1", "letters")
        drain(self.sealed(kit))
        kit.accept("u-1", "terms")
        drain(self.sealed(kit))
        kit.give("u-1", "quote", scope="comment:7")
        drain(self.sealed(kit))
        kit.erase("u-1")
        drain(self.sealed(kit))
        assert self.allowed(mailer) == [
            ("consent.given", {"letters": False}),
            ("policy.accepted", {"letters": True}),
            ("subject.erased", {"letters": False}),
        ]
        assert self.allowed(crm) == [("consent.given", {"quote": True}), ("subject.erased", {"books": True})]

    def test_a_childs_yes_that_waits_for_a_guardian_says_no(
        self, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        """Where the law wants both, the child's own answer is recorded first (France)."""
        kit = another(catalogue(mailer.url, crm.url, minors=MinorRules()))
        kit.learn("kid", age=Age(years=11), jurisdiction="FR")
        kit.give("kid", "news")
        drain(self.sealed(kit))
        kit.give("kid", "news", actor="guardian:1", method="paper")
        drain(self.sealed(kit))
        assert [may for _, may in self.allowed(mailer)] == [{"news": False}, {"news": True}]

    def test_a_loader_that_raises_holds_up_nobody_and_allows_nothing(
        self, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        kit = another(catalogue(mailer.url, crm.url, minors=MinorRules()))
        kit.give("u-1", "news")
        self.sealed(kit)

        def broken(_subject: str) -> Age | None:
            raise RuntimeError("the accounts cannot be read")

        kit.facts.age = broken
        assert drain(kit).delivered == 2
        assert self.allowed(mailer) == [("consent.given", {"news": False})]

    # ------------------------------------------------------------ failures

    def test_a_failure_blocks_its_recipient_and_no_other(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        mailer.answering = in_turn(status(500), status(204))
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        done = drain(self.sealed(kit))
        assert (done.delivered, done.failed) == (2, {"mailer": "HTTP 500"})
        assert (mailer.said, crm.said) == (
            ["consent.given u-1"],
            ["consent.given u-1", "consent.withdrawn u-1"],
        )
        assert kit.deliver() == Delivered(0, 0)  # too early
        clock.shift_us += MINUTE_US
        assert drain(kit).delivered == 2
        assert mailer.said == ["consent.given u-1", "consent.given u-1", "consent.withdrawn u-1"]
        assert mailer.distinct == crm.distinct

    def test_500_for_a_day_and_the_pauses_of_the_schedule(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock
    ) -> None:
        """A recipient that is broken for a month is told in the end, with the repeats of one message as one."""
        mailer.answering = status(500)
        kit.give("u-1", "news")
        kit.withdraw("u-1", "news")
        self.sealed(kit)
        for pause in (*PAUSES_US, *[24 * HOUR_US] * 20):
            before = len(mailer.messages)
            kit.deliver()
            assert len(mailer.messages) == before + 1
            clock.shift_us += pause - MINUTE_US if pause > MINUTE_US else 0
            kit.deliver()
            assert len(mailer.messages) == before + 1
            clock.shift_us += MINUTE_US + pause // 10
        found = kit.deliveries(subject="u-1")
        (first, second) = [d for d in found if d.recipient == "mailer"]
        assert (first.status, first.attempts, first.error) == ("pending", 29, "HTTP 500")
        assert (second.status, second.attempts, second.error) == ("pending", 0, None)
        mailer.answering = status(200)
        drain(kit)
        assert mailer.distinct == ["consent.given u-1", "consent.withdrawn u-1"]
        assert len({message.id for message in mailer.messages}) == 2

    @pytest.mark.parametrize("answering", [status(302, Location="/"), status(404), raw(b"garbage\r\n")])
    def test_whatever_is_no_2xx_is_tried_again(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock, answering: Any
    ) -> None:
        mailer.answering = in_turn(answering, status(200))
        kit.give("u-1", "news")
        self.sealed(kit)
        assert set(drain(kit).failed) == {"mailer"}
        clock.shift_us += MINUTE_US
        assert drain(kit).delivered == 1
        assert len({message.id for message in mailer.messages}) == 1

    def test_one_that_hangs_holds_up_no_other(
        self, kit: Kit, mailer: Receiver, crm: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "DEADLINE_S", 0.5)
        mailer.answering = hanging
        for n in range(4):
            kit.give(f"u-{n}", "news")
        self.sealed(kit)
        done = drain(kit)
        assert (done.delivered, done.failed) == (4, {"mailer": "no answer within 0.5 s"})
        assert (len(mailer.messages), len(crm.messages)) == (1, 4)

    def test_gone_is_gone_until_it_is_enabled(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        mailer.answering = in_turn(status(410), status(200))
        (given,) = kit.give("u-1", "news")
        self.sealed(kit)
        drain(kit)
        clock.shift_us += 3 * DAY_US
        kit.withdraw("u-1", "news")
        self.sealed(kit)
        drain(kit)
        assert len(mailer.messages) == 1
        (recipient,) = [r for r in kit.recipients() if r.key == "mailer"]
        assert recipient.disabled_at is not None
        assert (recipient.waiting, recipient.error) == (2, "HTTP 410")
        states = {d.recipient: d.status for d in kit.deliveries(event_id=given.event_id)}
        assert states == {"mailer": "gone", "crm": "delivered"}
        assert kit.enable_recipient("mailer")
        assert not kit.enable_recipient("nobody")
        drain(kit)
        assert mailer.distinct == ["consent.given u-1", "consent.withdrawn u-1"]
        assert [r.disabled_at for r in kit.recipients()] == [None, None]

    # ------------------------------------------------------------ secrets and addresses

    def test_secrets_are_rotated_without_a_gap(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        new, old = new_secret(), mailer.secret
        both = Webhooks.read({"mailer": [new, old], "crm": crm.secret}, LOOPBACK)
        kit.give("u-1", "news")
        drain(self.sealed(another(webhooks=both)))
        (message,) = mailer.messages
        mailer.verify(message, old)
        mailer.verify(message, new)
        assert message.headers["webhook-signature"].count("v1,") == 2
        with pytest.raises(WebhookVerificationError):
            mailer.verify(message, new_secret())

    def test_without_a_secret_nothing_is_sent_and_the_reason_is_there(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        (given,) = kit.give("u-1", "news")
        self.sealed(kit)
        why = "there is no secret for it in CONSENTKIT_WEBHOOK_SECRETS"
        done = drain(another(webhooks=webhooks(crm=crm)))
        assert (done.delivered, done.failed) == (1, {"mailer": why})
        (found,) = [d for d in kit.deliveries(event_id=given.event_id) if d.recipient == "mailer"]
        assert (found.status, found.attempts, found.error) == ("pending", 0, why)
        assert mailer.messages == []
        assert drain(kit).delivered == 1
        assert mailer.said == ["consent.given u-1"]

    def test_without_its_network_a_private_address_is_not_told(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        kit.give("u-1", "news")
        self.sealed(kit)
        closed = Webhooks.read({"mailer": mailer.secret, "crm": crm.secret})
        assert set(drain(another(webhooks=closed)).failed) == {"mailer", "crm"}
        assert mailer.messages == crm.messages == []

    def test_a_party_that_lost_its_webhook_is_reported(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        crm.answering = status(500)
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        later = another(catalogue(mailer.url, ""))
        assert drain(later).failed == {"crm": "the catalogue has no webhook for it"}
        assert [(r.key, r.waiting) for r in later.recipients()] == [("crm", 1), ("mailer", 0)]

    def test_what_is_open_for_a_party_that_is_gone_can_be_dropped(
        self, kit: Kit, another: Callable[..., Kit], crm: Receiver, clock: ShiftedClock
    ) -> None:
        crm.answering = in_turn(status(204), status(503))
        kit.give("u-1", "stats")
        kit.withdraw("u-1", "stats")
        drain(self.sealed(kit))
        with pytest.raises(ChoiceRejected, match="is told"):
            kit.drop_messages("crm", "dissolved")
        later = another(catalogue())
        with pytest.raises(ChoiceRejected, match="short word"):
            later.drop_messages("crm", "They are no more.")
        with pytest.raises(LookupError):
            later.drop_messages("nobody", "dissolved")
        clock.shift_us += MINUTE_US
        assert later.drop_messages("crm", "dissolved") == 1
        told, dropped = later.deliveries(subject="u-1")
        assert (told.status, told.error) == ("delivered", None)
        assert (dropped.status, dropped.delivered_at, dropped.error) == ("dropped", None, "dissolved")
        assert dropped.tried_at is not None
        assert dropped.tried_at > dropped.since
        assert later.recipients() == []
        assert not rows(later, "SELECT 1 FROM consentkit_delivery WHERE subject_sealed IS NOT NULL")
        assert drain(later).delivered == 0

    @pytest.mark.parametrize("drained", [True, False])
    def test_a_recipient_is_told_of_nothing_before_it_was_named(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver, drained: bool
    ) -> None:
        """A webhook that is added later gets what is recorded from its publication on, also before a round."""
        quiet = another(catalogue("", crm.url))
        quiet.give("u-1", "news")
        self.sealed(quiet)
        if drained:
            drain(quiet)
        loud = another()
        loud.give("u-2", "news")
        self.sealed(loud)
        drain(loud)
        assert (mailer.said, crm.said) == (["consent.given u-2"], ["consent.given u-1", "consent.given u-2"])

    def test_nor_while_it_has_no_webhook(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        """What was open for it stays open, and goes out when it listens again."""
        crm.answering = in_turn(status(500), status(200))
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        without = another(catalogue(mailer.url, ""))
        without.give("u-2", "news")
        drain(self.sealed(without))
        again = another()
        again.give("u-3", "news")
        again.redeliver(next(d.event_id for d in again.deliveries(subject="u-1")), "crm")
        drain(self.sealed(again))
        assert mailer.said == ["consent.given u-1", "consent.given u-2", "consent.given u-3"]
        assert crm.distinct == ["consent.given u-1", "consent.given u-3"]

    def test_a_deliverer_of_an_older_catalogue_queues_nothing(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        """It does not know who receives what by the new one; what is queued it sends all the same."""
        mailer.answering = in_turn(status(500), status(200))
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        new = another(
            catalogue(
                mailer.url,
                crm.url,
                purposes=[Purpose("news", title="News", version=2, recipients=["mailer", "maps"])],
                parties=[
                    Party("mailer", name="Mailer", webhook=mailer.url),
                    Party("maps", name="Maps", webhook=crm.url),
                    Party("crm", name="CRM"),
                ],
            ),
            webhooks=webhooks(mailer=mailer, maps=crm),
        )
        new.give("u-2", "news")
        self.sealed(new)
        clock.shift_us += MINUTE_US
        done = drain(kit)
        assert (done.queued, done.delivered) == (0, 1)
        assert "restart it" in done.failed["catalogue"]
        assert drain(new).delivered == 2
        assert mailer.distinct == ["consent.given u-1", "consent.given u-2"]
        assert [m.json["data"]["allowed"] for m in crm.messages] == [{"news": True}] * 2

    def test_a_catalogue_that_is_published_within_a_round_loses_nothing(
        self,
        kit: Kit,
        another: Callable[..., Kit],
        mailer: Receiver,
        crm: Receiver,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What the round has found out is by the old catalogue, who is told by the new one it does not know."""
        parties = [
            Party("mailer", name="Mailer", webhook=mailer.url),
            Party("maps", name="M", webhook=crm.url),
        ]
        purpose = Purpose("news", title="News", version=2, recipients=["mailer", "maps"])
        what = catalogue(purposes=[purpose], parties=[*parties, Party("crm", name="CRM")])
        kit.give("u-1", "news")
        self.sealed(kit)
        read, made = kit.runtime.reader.sealed, []

        def sealed(**how: Any) -> Any:
            if not made:
                made.append(another(what, webhooks=webhooks(mailer=mailer, maps=crm)))
                made[0].give("u-2", "news")
                self.sealed(made[0])
            return read(**how)

        monkeypatch.setattr(kit.runtime.reader, "sealed", sealed)
        done = kit.deliver()
        assert (done.queued, done.more) == (0, True)
        assert kit.deliver().outdated
        drain(made[0])
        assert mailer.distinct == ["consent.given u-1", "consent.given u-2"]
        assert crm.about("u-2") == ["consent.given u-2"]

    def test_what_is_sealed_and_not_queued_is_counted(self, kit: Kit, clock: ShiftedClock) -> None:
        assert [r.unqueued for r in kit.recipients()] == [0, 0]
        kit.give("u-1", "news")
        clock.shift_us += MINUTE_US
        kit.give("u-2", "news")
        self.sealed(kit)
        assert [(r.waiting, r.unqueued) for r in kit.recipients()] == [(0, 2), (0, 2)]
        lag = kit.runtime.database.read(read_lag)
        assert lag.unqueued == 2
        assert clock.now() - (lag.unqueued_since_us or 0) >= MINUTE_US
        drain(kit)
        assert [r.unqueued for r in kit.recipients()] == [0, 0]

    def test_a_message_waits_since_its_event_was_recorded(
        self, kit: Kit, clock: ShiftedClock, mailer: Receiver
    ) -> None:
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        told = kit.ledger.of_subject("u-1")[0]
        mailer.answering = status(503)
        kit.give("u-2", "news")
        self.sealed(kit)
        clock.shift_us += HOUR_US
        drain(kit)
        clock.shift_us += MINUTE_US
        kit.redeliver(told.event_id, "mailer")  # the first leaf, and the last to be queued
        since = kit.runtime.database.read(read_lag).undelivered_since_us["mailer"]
        assert clock.now() - since >= HOUR_US + MINUTE_US

    def test_an_event_that_cannot_be_told_stops_no_other(self, kit: Kit, mailer: Receiver) -> None:
        strange = Answer(Kind.PURPOSE, "news", Action.WITHDRAWN, "9" * 5000, 1, method="code")
        kit.runtime.writer.append("", "u-1", [strange])
        kit.runtime.writer.append("", "u-2", [replace(strange, extra=(("subject_key", "?"),))])
        kit.give("u-3", "news")
        drain(self.sealed(kit))
        assert mailer.said == ["consent.withdrawn u-1", "consent.given u-3"]
        assert [d.status for d in kit.deliveries(subject="u-2")] == ["unaddressed"] * 2

    def test_a_core_purpose_is_told_to_those_whose_purposes_stop(
        self, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        core = Purpose("account", title="Account", basis=Basis.CONTRACT, core=True)
        kit = another(
            catalogue(mailer.url, crm.url, purposes=[core, Purpose("news", title="N", recipients=["mailer"])])
        )
        kit.give("u-1", "news")
        kit.withdraw("u-1", "account")
        drain(self.sealed(kit))
        kit.give("u-1", "account")
        drain(self.sealed(kit))
        said = [(m.json["data"]["item"], m.json["data"]["allowed"]["news"]) for m in mailer.messages]
        assert said[1:] == [("account", False), ("account", True)]
        assert crm.said == []

    # ------------------------------------------------------------ several deliverers

    def test_more_recipients_than_threads_take_turns(
        self, kit: Kit, mailer: Receiver, crm: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kit_deliver, "AT_ONCE", 1)
        for number in range(4):
            kit.give(f"u-{number}", "news")
        turns: list[str] = []
        for name, receiver in (("mailer", mailer), ("crm", crm)):
            receiver.answering = lambda handler, name=name: (turns.append(name), handler.answer(204))  # type: ignore[misc]
        drain(self.sealed(kit))
        assert turns == ["crm", "mailer"] * 4

    def test_two_deliverers_at_once_send_everything_once(
        self, kit: Kit, another: Callable[..., Kit], mailer: Receiver, crm: Receiver
    ) -> None:
        for n in range(40):
            kit.give(f"u-{n}", "news")
        self.sealed(kit)
        barrier, failures = threading.Barrier(4), []

        def work(one: Kit) -> None:
            barrier.wait()
            try:
                drain(one)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=[another()]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        drain(kit)
        assert failures == []
        for receiver in (mailer, crm):
            assert [message.json["data"]["leaf_index"] for message in receiver.messages] == list(range(40))

    def test_a_deliverer_that_died_is_replaced_when_its_lease_is_over(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock
    ) -> None:
        kit.give("u-1", "news")
        self.sealed(kit)
        outbox_of_nobody = delivering.Deliverer(kit.runtime.database)
        assert outbox_of_nobody.lease("mailer", clock.now())
        drain(kit)
        assert mailer.messages == []
        clock.shift_us += delivering.LEASE_US
        drain(kit)
        assert mailer.said == ["consent.given u-1"]

    def test_a_clock_that_was_far_ahead_blocks_nobody(
        self, kit: Kit, mailer: Receiver, clock: ShiftedClock
    ) -> None:
        kit.give("u-1", "news")
        self.sealed(kit)
        mailer.answering = in_turn(status(500), status(200))
        clock.shift_us += 365 * DAY_US
        drain(kit)
        delivering.Deliverer(kit.runtime.database).lease("mailer", clock.now())
        clock.shift_us -= 365 * DAY_US
        drain(kit)
        assert mailer.distinct == ["consent.given u-1"]
        assert len(mailer.messages) == 2

    def test_a_lease_that_was_lost_stops_the_deliverer(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        """Another one took over while a post was under way: what arrived is written down, and that is all."""
        for n in range(3):
            kit.give(f"u-{n}", "news")
        self.sealed(kit)
        thief = delivering.Deliverer(kit.runtime.database)

        def steal(handler: Any) -> None:
            thief.lease("mailer", clock.now() + 2 * delivering.LEASE_US)
            handler.answer(200)

        mailer.answering = steal
        drain(kit)
        assert (len(mailer.said), len(crm.said)) == (1, 3)
        assert [r.waiting for r in kit.recipients()] == [0, 2]

    # ------------------------------------------------------------ evidence

    def test_delivered_to_one_at_t_pending_at_another_since_t(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        crm.answering = status(503)
        kit.give("u-1", "news")
        self.sealed(kit)
        drain(kit)
        (withdrawn,) = kit.withdraw("u-1", "news")
        before = kit.deliveries(event_id=withdrawn.event_id)
        assert [(d.recipient, d.status, d.since) for d in before] == [
            ("crm", "pending", withdrawn.recorded_at),
            ("mailer", "pending", withdrawn.recorded_at),
        ]
        self.sealed(kit)
        assert kit.deliveries(event_id=withdrawn.event_id) == before
        drain(kit)
        told = {d.recipient: d for d in kit.deliveries(event_id=withdrawn.event_id)}
        assert told["mailer"].status == "delivered"
        assert told["mailer"].delivered_at is not None
        assert told["mailer"].delivered_at >= withdrawn.recorded_at
        assert (told["mailer"].attempts, told["mailer"].error) == (1, None)
        assert (told["crm"].status, told["crm"].delivered_at) == ("pending", None)
        assert told["crm"].since == withdrawn.recorded_at
        assert [d.name for d in told.values()] == ["CRM", "Mailer"]
        of_subject = kit.deliveries(subject="u-1")
        assert [d.type for d in of_subject] == ["consent.given"] * 2 + ["consent.withdrawn"] * 2
        assert [d.status for d in of_subject] == ["pending", "delivered"] * 2
        assert told["mailer"].json["delivered_at"].endswith("Z")
        with pytest.raises(ValueError, match="subject= or event_id="):
            kit.deliveries()
        assert kit.deliveries(subject="nobody") == kit.deliveries(event_id="nonsense") == []

    def test_the_receipt_says_it(self, kit: Kit, crm: Receiver) -> None:
        crm.answering = status(503)
        kit.give("u-1", ["news", "plain"])
        drain(self.sealed(kit))
        answers = {a["item"]: a["deliveries"] for a in kit.receipt("u-1")["answers"]}
        assert [(d["name"], d["status"], d["delivered_at"] is None) for d in answers["news"]] == [
            ("CRM", "pending", True),
            ("Mailer", "delivered", False),
        ]
        assert answers["plain"] == []

    def test_the_receipt_names_the_recipients_of_the_version_that_was_answered(
        self, kit: Kit, another: Callable[..., Kit]
    ) -> None:
        kit.give("u-1", "news")
        later = [Purpose("news", title="News", version=2, recipients=["crm"], locations=["EU"])]
        (answer,) = another(catalogue(purposes=later)).receipt("u-1")["answers"]
        assert ([r["name"] for r in answer["recipients"]], answer["locations"]) == (["CRM", "Mailer"], [])
        assert answer["status"] == "outdated"

    def test_redelivery_repeats_the_message_under_its_id(
        self, kit: Kit, mailer: Receiver, crm: Receiver
    ) -> None:
        (given,) = kit.give("u-1", "news")
        with pytest.raises(ChoiceRejected, match="not queued yet"):
            kit.redeliver(given.event_id)
        drain(self.sealed(kit))
        first = [d.delivered_at for d in kit.deliveries(event_id=given.event_id)]
        assert kit.redeliver(given.event_id, "mailer") == ["mailer"]
        (open_again,) = [d for d in kit.deliveries(event_id=given.event_id) if d.recipient == "mailer"]
        assert open_again.status == "pending"
        assert open_again.delivered_at == first[1]
        drain(kit)
        assert (len(mailer.messages), len(crm.messages)) == (2, 1)
        assert mailer.messages[0].id == mailer.messages[1].id
        assert mailer.messages[0].body == mailer.messages[1].body
        assert [d.delivered_at for d in kit.deliveries(event_id=given.event_id)] == first
        assert kit.redeliver(given.event_id) == ["crm", "mailer"]
        assert drain(kit).delivered == 2

    def test_what_cannot_be_redelivered_says_why(self, kit: Kit) -> None:
        (plain,) = kit.give("u-1", "plain")
        (stats,) = kit.give("u-1", "stats")
        drain(self.sealed(kit))
        with pytest.raises(ChoiceRejected, match="does not concern anybody"):
            kit.redeliver(plain.event_id)
        with pytest.raises(ChoiceRejected, match="does not concern mailer"):
            kit.redeliver(stats.event_id, "mailer")
        with pytest.raises(LookupError, match="there is no event"):
            kit.redeliver("0192aa5c-7b1e-7000-8abc-0123456789ab")
        kit.erase("u-1")
        drain(self.sealed(kit))
        with pytest.raises(ChoiceRejected, match="was erased"):
            kit.redeliver(stats.event_id)

    def test_redelivery_makes_a_waiting_message_due(self, kit: Kit, mailer: Receiver) -> None:
        mailer.answering = in_turn(status(500), status(200))
        (given,) = kit.give("u-1", "news")
        drain(self.sealed(kit))
        assert kit.redeliver(given.event_id, "mailer") == ["mailer"]
        assert drain(kit).delivered == 1

    # ------------------------------------------------------------ erasure

    def hidden(self, kit: Kit) -> bool:
        """Whether no table says the id any more."""
        found = rows(kit, "SELECT subject FROM consentkit_subject WHERE subject = 'u-1'")
        return not found

    def test_the_id_goes_when_everybody_has_confirmed(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        crm.answering = in_turn(status(500), status(200))
        kit.erase("u-1")
        assert not self.hidden(kit)
        drain(self.sealed(kit))
        assert kit.purge() == 0
        assert not self.hidden(kit)
        clock.shift_us += MINUTE_US
        drain(kit)
        assert self.hidden(kit)
        assert mailer.said == crm.distinct == ["consent.given u-1", "subject.erased u-1"]
        assert rows(kit, "SELECT * FROM consentkit_kept_id") == []
        assert rows(kit, "SELECT * FROM consentkit_delivery WHERE subject_sealed IS NOT NULL") == []
        assert {(d.type, d.status) for d in kit.deliveries(subject="u-1")} == {
            ("consent.given", "delivered"),
            ("subject.erased", "delivered"),
        }
        assert kit.ledger.verify().faults == []
        assert kit.of("u-1").decide("news").reason == "ERASED"

    def test_purge_hides_what_a_dead_deliverer_has_left(
        self, kit: Kit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kit.give("u-1", "news")
        kit.erase("u-1")
        with monkeypatch.context() as patch:
            patch.setattr("consentkit.kit_deliver.hide_confirmed", lambda *_: None)
            drain(self.sealed(kit))
        assert not self.hidden(kit)
        assert kit.purge() == 1
        assert self.hidden(kit)

    def test_at_the_deadline_the_id_goes_and_open_messages_keep_theirs(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        crm.answering = status(500)
        kit.give("u-1", "news")
        kit.erase("u-1")
        drain(self.sealed(kit))
        clock.shift_us += 31 * DAY_US
        assert kit.purge() == 1
        assert self.hidden(kit)
        crm.answering = status(200)
        drain(kit)
        assert crm.distinct == ["consent.given u-1", "subject.erased u-1"]

    def test_nobody_had_to_be_told(self, kit: Kit, clock: ShiftedClock, another: Callable[..., Kit]) -> None:
        """Without recipients the deadline stands: the host may tell people by itself."""
        alone = another(catalogue())
        alone.give("u-1", "news")
        alone.erase("u-1")
        self.sealed(alone)
        assert alone.deliver() == Delivered(0, 0)
        assert alone.purge() == 0
        alone.give("u-1", "news")
        assert rows(alone, "SELECT * FROM consentkit_kept_id") == []
        alone.erase("u-1")
        clock.shift_us += 31 * DAY_US
        assert alone.purge() == 1
        assert rows(alone, "SELECT * FROM consentkit_kept_id") == []

    def test_somebody_who_comes_back_before_recipients_were_told(
        self, kit: Kit, mailer: Receiver, crm: Receiver
    ) -> None:
        """The old id is hidden at once; what has to be said about it is said all the same, in order."""
        kit.give("u-1", "news")
        kit.erase("u-1")
        kit.give("u-1", "news")
        kit.erase("u-1", mode="destroy")
        kit.give("u-1", "stats")
        assert len(rows(kit, "SELECT * FROM consentkit_kept_id")) == 2
        self.sealed(kit)
        drain(kit)
        # What was destroyed before it was sealed as a message cannot be told; its erasure is.
        assert mailer.said == ["consent.given u-1", "subject.erased u-1", "subject.erased u-1"]
        assert crm.said[-1] == "consent.given u-1"
        assert rows(kit, "SELECT * FROM consentkit_kept_id") == []
        assert kit.ledger.verify().faults == []

    def test_a_message_outlives_its_event(self, kit: Kit, mailer: Receiver, clock: ShiftedClock) -> None:
        """A withdrawal that could not be delivered is delivered after its event was destroyed."""
        mailer.answering = in_turn(status(500), status(200))
        kit.give("u-1", "quote", scope="comment:7")
        kit.withdraw("u-1", "quote", scope="comment:7")
        drain(self.sealed(kit))
        kit.erase("u-1", mode="destroy")
        self.sealed(kit)
        clock.shift_us += MINUTE_US
        drain(kit)
        assert mailer.distinct == ["consent.given u-1", "consent.withdrawn u-1", "subject.erased u-1"]
        assert mailer.messages[-2].json["data"]["scope"] == "comment:7"

    def test_of_an_id_that_is_gone_nobody_can_be_told_and_that_is_said(
        self, kit: Kit, mailer: Receiver
    ) -> None:
        """Erased, told, hidden; then the events are destroyed too: whoever asked for it named the id, nobody has it."""
        kit.give("u-1", "news")
        kit.erase("u-1")
        drain(self.sealed(kit))
        assert self.hidden(kit)
        (again,) = kit.erase("u-1", mode="destroy")
        assert drain(self.sealed(kit)).delivered == 0
        assert [d.status for d in kit.deliveries(event_id=again.event_id)] == ["unaddressed"] * 2
        assert mailer.said == ["consent.given u-1", "subject.erased u-1"]
        assert drain(kit) == Delivered(0, 0)

    def test_an_open_message_is_not_readable_in_the_database(self, kit: Kit, mailer: Receiver) -> None:
        mailer.answering = status(500)
        kit.give("u-secret-1", "news")
        drain(self.sealed(kit))
        (sealed,) = rows(
            kit, "SELECT subject_sealed FROM consentkit_delivery WHERE subject_sealed IS NOT NULL"
        )
        assert b"u-secret-1" not in bytes(sealed[0])

    def test_a_message_that_was_moved_to_another_recipient_does_not_open(
        self, kit: Kit, mailer: Receiver, crm: Receiver, clock: ShiftedClock
    ) -> None:
        """Somebody who can write the database cannot have the crm told what was meant for the mailer."""
        mailer.answering = crm.answering = status(500)
        kit.give("u-1", "news")
        drain(self.sealed(kit))
        stolen = "(SELECT subject_sealed FROM consentkit_delivery WHERE recipient = 'mailer')"
        swap = f"UPDATE consentkit_delivery SET subject_sealed = {stolen} WHERE recipient = 'crm'"
        kit.runtime.database.write(lambda tx: tx.count(swap))
        clock.shift_us += MINUTE_US
        assert "does not open" in drain(kit).failed["crm"]
        assert len(crm.messages) == 1


class TestSqlite(OnSqlite, Delivering):
    def test_without_flask(self, url: str, mailer: Receiver) -> None:
        kit = consentkit.open(
            catalogue(mailer.url),
            url,
            webhook_secrets={"mailer": mailer.secret},
            webhook_networks=LOOPBACK,
        )
        kit.give("u-1", "news")
        assert kit.deliver() == Delivered(1, 1)
        mailer.verify(mailer.messages[0])
        kit.runtime.dispose()


class TestPostgresql(OnPostgresql, Delivering):
    def test_what_is_not_sealed_waits_for_the_sealer(self, kit: Kit, mailer: Receiver) -> None:
        (given,) = kit.give("u-1", "news")
        assert drain(kit) == Delivered(0, 0)
        assert [d.status for d in kit.deliveries(event_id=given.event_id)] == ["pending", "pending"]
        drain(self.sealed(kit))
        assert mailer.said == ["consent.given u-1"]
