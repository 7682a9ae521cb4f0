"""Guardians: invited by a link, verified, answering; what they say is in the ledger and what they are called is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from guardians import (
    DAY_US,
    HOUR_US,
    OTHER,
    PARENT,
    Notary,
    Outbox,
    body,
    catalog,
    come,
    invite,
    look,
    ready,
    reply,
    said,
    token_of,
)
from ledgers import OnPostgresql, OnSqlite, ShiftedClock, Suite, open_kit, rows

from consentkit import (
    Age,
    AskedTooOften,
    AssuranceTooLow,
    CatalogError,
    ChoiceRejected,
    ConsentKitError,
    GuardianNotNeeded,
    MessageNotSent,
    MinorRules,
    NoticeOutdated,
    Purpose,
    TokenInvalid,
    UnknownPurpose,
    VerifierFailed,
)
from consentkit.core.inviting import Reply
from consentkit.core.tokens import Session, new_secret, read_ticket, signed
from consentkit.guardians.desk import Desk
from consentkit.guardians.visiting import AskedHere, Page, Visit
from consentkit.kit import Kit

EVIDENCE = "e" * 64


def reason(kit: Kit, item: str = "news", subject: str = "kid") -> str:
    return kit.decide(subject, item).reason


def kept(kit: Kit) -> list[tuple[Any, ...]]:
    return rows(
        kit, "SELECT status, contact_sealed, body, attempts FROM consentkit_invitation ORDER BY created_us"
    )


def everything(kit: Kit) -> str:
    """Every event as text, and every row of an invitation."""
    return repr([e.body for e in kit.ledger.of_subject("kid")]) + repr(kept(kit))


class GuardianSuite(Suite):
    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock) -> Iterator[Kit]:
        kit = open_kit(url, catalog(), clock=clock)
        yield kit
        kit.runtime.dispose()

    @pytest.fixture
    def outbox(self, kit: Kit) -> Outbox:
        return ready(kit)

    @pytest.fixture
    def notary(self, kit: Kit) -> Notary:
        notary = Notary()
        kit.add_verifier(notary)
        return notary

    # ------------------------------------------------------------ one message

    def test_a_guardian_is_asked_and_answers_each_purpose(self, kit: Kit, outbox: Outbox) -> None:
        number = invite(kit, ["news", "club", "rules"], child="Mia")
        (sent,) = outbox
        assert (sent.invitation, sent.kind, sent.contact, sent.child) == (number, "invite", PARENT, "Mia")
        assert (sent.subject, sent.items, sent.method) == ("kid", ("news", "club", "rules"), "email")
        assert sent.url in sent.text
        assert sent.code in sent.text
        assert "Mia" in sent.text
        assert sent.title == "Harbour Press asks for your permission"
        for hidden in (PARENT, "Mia", sent.url, sent.code, sent.text):
            assert hidden not in repr(sent)
        assert reason(kit) == reason(kit, "rules") == "GUARDIAN_PENDING"
        visit = come(kit, sent)
        assert (visit.page, visit.items, visit.child) == (Page.ANSWER, ("news", "club", "rules"), "Mia")
        assert visit.may_allow == {"news", "club", "rules"}
        events = reply(kit, visit, ["news", "rules"])
        assert said(events) == [("news", "given"), ("rules", "accepted"), ("club", "refused")]
        assert (reason(kit), reason(kit, "rules"), reason(kit, "club")) == ("GIVEN", "ACCEPTED", "REFUSED")

    def test_what_the_ledger_holds(self, kit: Kit, outbox: Outbox) -> None:
        number = invite(kit, ["news", "rules"], child="Mia", locale="de")
        requested = kit.ledger.of_subject("kid")
        assert said(requested) == [("news", "requested"), ("rules", "requested")]
        guardian = requested[0].actor.removeprefix("invitation:")
        assert guardian.isdigit()
        assert len(guardian) == 9
        about = {"invitation": number, "verification": "email", "locale": "de"}
        assert about.items() <= body(requested[0]).items()
        assert body(requested[0])["expires_us"] is not None
        given, accepted = reply(kit, come(kit, outbox[0]), ["news", "rules"])
        assert given.actor == accepted.actor == f"guardian:{guardian}"
        assert (given.method, accepted.method, given.locale) == ("form", "tick", "de")
        assert given.notice == kit.purpose_notice("news", "en").digest
        assert about.items() <= body(given).items()
        assert {"level": 1, "age_rule": "DE", "actors": "guardian"}.items() <= body(given).items()
        assert isinstance(body(given)["verified_us"], int)
        assert kit.ledger.verify().faults == []
        for secret in (PARENT, "Mia", "example.org", outbox[0].code, token_of(outbox[0])):
            assert secret not in everything(kit)

    def test_contact_and_name_are_kept_encrypted_and_wiped_with_the_answer(
        self, kit: Kit, outbox: Outbox
    ) -> None:
        invite(kit, child="Mia")
        ((_, sealed, _, _),) = kept(kit)
        assert sealed is not None
        assert b"example" not in bytes(sealed)
        assert b"Mia" not in bytes(sealed)
        reply(kit, come(kit, outbox[0]), ["news"])
        ((status, sealed, text, _),) = kept(kit)
        assert (status, sealed) == ("answered", None)
        assert json.loads(text)["link"] == json.loads(text)["code"] == ""

    def test_a_number_belongs_to_one_contact_of_one_child(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("twin", age=Age(years=9), jurisdiction="DE")
        invite(kit)
        invite(kit, contact=" Parent@Example.ORG ")
        invite(kit, contact=OTHER)
        invite(kit, subject="twin")
        actors = [e.actor for e in (*kit.ledger.of_subject("kid"), *kit.ledger.of_subject("twin"))]
        assert actors[0] == actors[1]
        assert len(set(actors)) == 3

    def test_looking_changes_nothing(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        before = (everything(kit), len(kit.ledger.of_subject("kid")))
        for _ in range(3):  # a mail scanner follows every link
            come(kit, outbox[0])
        assert (everything(kit), len(kit.ledger.of_subject("kid"))) == before
        assert reason(kit) == "GUARDIAN_PENDING"
        reply(kit, come(kit, outbox[0]), ["news"])
        assert reason(kit) == "GIVEN"

    def test_every_question_needs_an_answer(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, ["news", "club"])
        visit, shown = come(kit, outbox[0]), kit.purpose_notice("news", "en").digest
        for answers in (
            Reply({"news": shown}),
            Reply({"news": shown}, ("news", "club")),
            Reply({}, ("news", "ads")),
        ):
            with pytest.raises(ChoiceRejected):
                Desk(kit).reply(visit, answers)
        assert reason(kit) == "GUARDIAN_PENDING"

    def test_a_yes_to_another_text_is_not_recorded(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, ["news", "rules"])
        visit = come(kit, outbox[0])
        with pytest.raises(NoticeOutdated):
            Desk(kit).reply(visit, Reply({"news": "0" * 64}, ("rules",)))
        with pytest.raises(NoticeOutdated):
            Desk(kit).reply(visit, Reply({"rules": "0" * 64}, ("news",)))
        assert len(kit.ledger.of_subject("kid")) == 2
        Desk(kit).reply(visit, Reply({"rules": Desk(kit).shown("rules", "de")}, ("news",)))
        assert reason(kit, "rules") == "ACCEPTED"

    def test_disclosure_needs_a_tick_of_its_own(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, ["photos", "hosting"], method="gov_id")
        desk, visit = Desk(kit), come(kit, outbox[0])
        desk.start_check(visit)
        notary.find(kit)
        visit = look(kit, visit.session)
        with pytest.raises(ChoiceRejected, match="third parties"):
            reply(kit, visit, ["photos", "hosting"])
        given, hosting = reply(kit, visit, ["photos", "hosting"], disclosed=["photos"])
        assert body(given)["disclosed_to"] == "printer"
        assert "disclosed_to" not in body(hosting)  # a processor is no third party

    # ------------------------------------------------------------ what may be asked

    @pytest.mark.parametrize(
        ("items", "method", "error", "match"),
        [
            ("poll", "email", GuardianNotNeeded, "minors = allowed"),
            ("ads", "email", ChoiceRejected, "forbidden for minors"),
            ("account", "email", ChoiceRejected, "rests on contract"),
            ("quote", "email", ChoiceRejected, "one thing at a time"),
            ("photos", "email", ChoiceRejected, "discloses data to printer"),
            ("photos", "email_plus", ChoiceRejected, "discloses data to printer"),
            (["news", "photos"], "text_plus", ChoiceRejected, "discloses data to printer"),
            ("identity", "email_plus", AssuranceTooLow, "ask by signed_form"),
            ("identity", "gov_id", ConsentKitError, "add a verifier"),
            ([], "email", ChoiceRejected, "name the purposes"),
            ("nothing", "email", UnknownPurpose, "nothing"),
            ("news", "pigeon", ValueError, "write one of email"),
        ],
    )
    def test_what_cannot_be_asked(
        self, kit: Kit, outbox: Outbox, items: Any, method: str, error: type[Exception], match: str
    ) -> None:
        with pytest.raises(error, match=match):
            invite(kit, items, method=method)
        assert outbox == []
        assert kept(kit) == []

    @pytest.mark.parametrize("contact", ["", "  ", "a\nb@example.org", "x" * 321, "\x00", None])
    def test_what_is_no_contact(self, kit: Kit, outbox: Outbox, contact: Any) -> None:
        with pytest.raises(ValueError, match="contact"):
            invite(kit, contact=contact)

    def test_who_is_no_child(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("adult", age=Age(years=40), jurisdiction="DE")
        for subject in ("adult", "unknown"):
            with pytest.raises(GuardianNotNeeded):
                invite(kit, subject=subject)
        with pytest.raises(ChoiceRejected, match="visitors"):
            invite(kit, subject="visitor:x")

    def test_without_a_mailer_or_an_address(self, kit: Kit) -> None:
        outbox = ready(kit)
        kit.guardian.pages = None
        with pytest.raises(ConsentKitError, match="need an address"):
            invite(kit)
        kit.guardian.mailer = None
        with pytest.raises(ConsentKitError, match="guardian_mailer"):
            invite(kit)
        assert outbox == []

    def test_a_message_that_cannot_be_sent_invites_nobody(self, kit: Kit, outbox: Outbox) -> None:
        outbox.failing = True
        with pytest.raises(MessageNotSent):
            invite(kit)
        assert kept(kit) == []
        assert kit.ledger.of_subject("kid") == []
        assert reason(kit) == "GUARDIAN_REQUIRED"
        outbox.failing = False
        invite(kit)
        assert reason(kit) == "GUARDIAN_PENDING"

    def test_where_the_place_is_not_known_a_message_is_not_enough(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("elsewhere", age=Age(years=9), jurisdiction="IN")
        with pytest.raises(AssuranceTooLow, match="verified as verifiable in IN"):
            invite(kit, subject="elsewhere", method="email_plus")
        kit.learn("american", age=Age(years=9), jurisdiction="US")
        with pytest.raises(AssuranceTooLow):
            invite(kit, subject="american", method="email")
        invite(kit, subject="american", method="email_plus")

    # ------------------------------------------------------------ two messages

    def test_email_plus_counts_after_the_second_message(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, ["news", "club"], method="email_plus", child="Mia")
        first = come(kit, outbox[0])
        events = reply(kit, first, ["news"])
        assert said(events) == [("club", "refused"), ("news", "requested")]
        assert (reason(kit), reason(kit, "club")) == ("GUARDIAN_PENDING", "REFUSED")
        assert look(kit, first.session).page is Page.WAITING
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        assert kit.tend_invitations().confirmations == 0
        clock.shift_us += DAY_US - HOUR_US
        assert kit.tend_invitations().confirmations == 0
        clock.shift_us += 2 * HOUR_US
        assert kit.tend_invitations().confirmations == 1
        assert kit.tend_invitations().confirmations == 0
        second = outbox[1]
        assert (second.kind, second.items, second.contact, second.child) == (
            "confirm",
            ("news",),
            PARENT,
            "Mia",
        )
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        visit = come(kit, second)
        assert (visit.page, visit.items) == (Page.CONFIRM, ("news",))
        assert reason(kit) == "GUARDIAN_PENDING"
        (given,) = Desk(kit).second(visit, agreed=True)
        assert (given.action, body(given)["level"]) == ("given", 2)
        assert body(given)["verification"] == "email_plus"
        assert reason(kit) == "GIVEN"
        assert kept(kit)[0][:2] == ("answered", None)
        with pytest.raises(TokenInvalid):
            Desk(kit).second(visit, agreed=True)

    def test_the_second_message_may_be_answered_with_no(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, method="text_plus", contact="+49 40 123-45")
        reply(kit, come(kit, outbox[0]), ["news"])
        clock.shift_us += 2 * DAY_US
        kit.tend_invitations()
        events = Desk(kit).second(come(kit, outbox[1]), agreed=False)
        assert said(events) == [("news", "refused")]
        assert reason(kit) == "REFUSED"

    def test_without_the_second_answer_nothing_begins(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, method="email_plus")
        reply(kit, come(kit, outbox[0]), ["news"])
        clock.shift_us += 2 * DAY_US
        kit.tend_invitations()
        assert reason(kit) == "GUARDIAN_PENDING"
        clock.shift_us += 15 * DAY_US
        assert kit.tend_invitations().ended == 1
        assert reason(kit) == "GUARDIAN_REQUIRED"
        with pytest.raises(TokenInvalid):
            come(kit, outbox[1])

    def test_a_second_message_that_fails_is_sent_later(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, method="email_plus")
        reply(kit, come(kit, outbox[0]), ["news"])
        clock.shift_us += 2 * DAY_US
        outbox.failing = True
        assert kit.tend_invitations().failures == 1
        assert kit.tend_invitations().failures == 0
        clock.shift_us += 2 * HOUR_US
        outbox.failing = False
        assert kit.tend_invitations().confirmations == 1
        Desk(kit).second(come(kit, outbox[1]), agreed=True)
        assert reason(kit) == "GIVEN"

    def test_a_text_that_changes_before_the_second_answer_asks_anew(
        self, url: str, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, method="email_plus")
        reply(kit, come(kit, outbox[0]), ["news"])
        clock.shift_us += 2 * DAY_US
        kit.tend_invitations()
        changed = [
            Purpose("news", title="Our letter", data=["e-mail address", "age"], version=2, retention="P1Y")
        ]
        newer = open_kit(
            url, catalog(purposes=[*changed, *list(catalog().purposes.values())[1:]]), clock=clock
        )
        newer.guardian = kit.guardian
        visit = come(newer, outbox[1])
        with pytest.raises(NoticeOutdated):
            Desk(newer).second(visit, agreed=True)
        visit = look(newer, visit.session)
        assert visit.page is Page.ANSWER
        reply(newer, visit, ["news"])
        clock.shift_us += 2 * DAY_US
        assert newer.tend_invitations().confirmations == 1
        Desk(newer).second(come(newer, outbox[2]), agreed=True)
        assert reason(newer) == "GIVEN"
        newer.runtime.dispose()

    # ------------------------------------------------------------ verified by somebody

    def test_verified_by_a_provider(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, ["identity", "news"], method="gov_id")
        desk, visit = Desk(kit), come(kit, outbox[0])
        assert (visit.page, visit.may_allow) == (Page.VERIFY, frozenset())
        with pytest.raises(ChoiceRejected, match="verified first"):
            reply(kit, visit, ["identity"])
        assert desk.start_check(visit) == "https://notary.example/check"
        (check,) = notary.asked
        assert check.return_url == "https://shop.example/consent/guardian"
        assert check.callback_url == "https://shop.example/consent/guardian/callback/notary"
        for word in ("kid", PARENT, "news"):
            assert word not in repr(check)
        assert look(kit, visit.session).page is Page.VERIFY
        assert notary.find(kit, evidence=EVIDENCE)
        visit = look(kit, visit.session)
        assert visit.page is Page.ANSWER
        given, refused = reply(kit, visit, ["identity"])
        proof = {"level": 3, "verification": "gov_id", "provider": "notary", "evidence": EVIDENCE}
        assert proof.items() <= body(given).items()
        assert proof.items() <= body(refused).items()
        assert reason(kit, "identity") == "GIVEN"

    def test_to_refuse_nobody_has_to_be_verified(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, ["identity", "news"], method="gov_id")
        events = reply(kit, come(kit, outbox[0]))
        assert said(events) == [("identity", "refused"), ("news", "refused")]
        assert {body(event)["level"] for event in events} == {0}

    def test_a_check_that_fails(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, method="gov_id")
        desk, visit = Desk(kit), come(kit, outbox[0])
        desk.start_check(visit)
        assert not notary.find(kit, verified=False)
        visit = look(kit, visit.session)
        assert (visit.page, visit.failed) == (Page.VERIFY, True)
        desk.start_check(visit)
        assert notary.find(kit)
        assert look(kit, visit.session).page is Page.ANSWER

    def test_the_check_belongs_to_the_browser_that_began_it(
        self, kit: Kit, outbox: Outbox, notary: Notary
    ) -> None:
        invite(kit, method="gov_id")
        parent = come(kit, outbox[0])
        child = come(kit, outbox[0])  # the link was forwarded
        Desk(kit).start_check(parent)
        notary.find(kit)
        assert look(kit, parent.session).page is Page.ANSWER
        assert look(kit, child.session).page is Page.VERIFY
        with pytest.raises(ChoiceRejected, match="verified first"):
            reply(kit, look(kit, child.session), ["news"])

    @pytest.mark.parametrize(
        "changed",
        [
            {"reference": "0197c000-0000-7000-8000-000000000000.x"},
            {"reference": "nothing"},
            {"method": "payment_card"},
            {"at": "2020-01-01T00:00:00+00:00"},
            {"at": "2099-01-01T00:00:00+00:00"},
        ],
    )
    def test_a_result_that_does_not_fit(
        self, kit: Kit, outbox: Outbox, notary: Notary, changed: dict[str, str]
    ) -> None:
        invite(kit, method="gov_id")
        visit = come(kit, outbox[0])
        Desk(kit).start_check(visit)
        with pytest.raises(TokenInvalid):
            notary.find(kit, **changed)
        assert look(kit, visit.session).page is Page.VERIFY
        assert notary.find(kit)

    def test_a_result_is_taken_once(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, method="gov_id")
        visit = come(kit, outbox[0])
        Desk(kit).start_check(visit)
        notary.find(kit)
        with pytest.raises(TokenInvalid):
            notary.find(kit)
        Desk(kit).start_check(look(kit, visit.session))
        old, notary.asked = notary.asked, notary.asked[:1]
        with pytest.raises(TokenInvalid):  # the result of a check that was begun anew
            notary.find(kit)
        notary.asked = old
        assert notary.find(kit)

    def test_a_result_by_another_provider(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        other = Notary()
        other.name = "other"
        invite(kit, method="gov_id")
        visit = come(kit, outbox[0])
        Desk(kit).start_check(visit)
        other.asked = notary.asked
        with pytest.raises(TokenInvalid):
            other.find(kit)
        assert look(kit, visit.session).page is Page.VERIFY

    # ------------------------------------------------------------ on paper

    def test_a_signed_form(self, kit: Kit, outbox: Outbox) -> None:
        number = invite(kit, ["photos", "news"], method="signed_form")
        assert come(kit, outbox[0]).page is Page.PAPER
        form = {"evidence": EVIDENCE, "operator": "staff-7"}
        with pytest.raises(ChoiceRejected, match="third parties"):
            kit.record_signed_form(number, give="photos", refuse="news", **form)  # type: ignore[arg-type]
        given, refused = kit.record_signed_form(
            number,
            give=["photos"],
            refuse=["news"],
            disclose=["photos"],
            evidence=EVIDENCE,
            operator="staff-7",
        )
        assert (given.method, given.action, refused.action) == ("paper", "given", "refused")
        kept_about = {"evidence": EVIDENCE, "operator": "staff-7", "verification": "signed_form", "level": 3}
        assert kept_about.items() <= body(given).items()
        assert reason(kit, "photos") == "GIVEN"
        with pytest.raises(TokenInvalid):
            kit.record_signed_form(number, give="photos", refuse="news", **form)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"evidence": "scan.pdf"}, ValueError),
            ({"operator": "Ms Miller"}, ValueError),
            ({"refuse": ()}, ChoiceRejected),
            ({"give": "ads"}, ChoiceRejected),
            ({"invitation": "nothing"}, TokenInvalid),
        ],
    )
    def test_a_form_that_does_not_fit(
        self, kit: Kit, outbox: Outbox, changed: dict[str, Any], error: type[Exception]
    ) -> None:
        number = invite(kit, ["club", "news"], method="signed_form")
        form = {
            "invitation": number,
            "give": "club",
            "refuse": "news",
            "evidence": EVIDENCE,
            "operator": "staff-7",
        }
        with pytest.raises(error):
            kit.record_signed_form(**(form | changed))
        assert reason(kit) == "GUARDIAN_PENDING"

    def test_only_a_form_is_recorded_as_one(self, kit: Kit, outbox: Outbox) -> None:
        number = invite(kit)
        with pytest.raises(ChoiceRejected, match="answered by email"):
            kit.record_signed_form(number, give="news", evidence=EVIDENCE, operator="staff-7")

    def test_everything_can_be_refused_without_a_form(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, method="signed_form")
        with pytest.raises(ChoiceRejected):
            reply(kit, come(kit, outbox[0]), ["news"])
        reply(kit, come(kit, outbox[0]))
        assert reason(kit) == "REFUSED"

    # ------------------------------------------------------------ several guardians

    def test_one_is_enough_and_contradiction_denies(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        invite(kit, contact=OTHER)
        reply(kit, come(kit, outbox[0]), ["news"])
        assert reason(kit) == "GIVEN"
        reply(kit, come(kit, outbox[1]))
        assert reason(kit) == "REFUSED"

    def test_child_and_guardian_together(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("petit", age=Age(years=13), jurisdiction="FR")
        invite(kit, subject="petit")
        reply(kit, come(kit, outbox[0]), ["news"])
        assert reason(kit, subject="petit") == "NO_ANSWER"
        kit.give("petit", "news")
        assert reason(kit, subject="petit") == "GIVEN"

    # ------------------------------------------------------------ the guardian's own page

    def access(self, kit: Kit, outbox: Outbox, **more: Any) -> Any:
        kit.guardian_access("kid", contact=PARENT, **more)
        assert outbox[-1].kind == "access"
        return come(kit, outbox[-1])

    def test_a_fresh_link_to_see_change_and_withdraw(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, ["news", "club"])
        reply(kit, come(kit, outbox[0]), ["news"])
        visit = self.access(kit, outbox, child="Mia")
        assert (visit.page, visit.items, visit.child) == (Page.ANSWER, ("news", "club"), "Mia")
        assert {key: row.status for key, row in visit.own.items()} == {"news": "given", "club": "refused"}
        events = reply(kit, visit, ["club"])
        assert said(events) == [("club", "given"), ("news", "revoked")]
        assert (reason(kit), reason(kit, "club")) == ("GUARDIAN_REVOKED", "GIVEN")
        again = look(kit, visit.session)  # the same browser may go on for half an hour
        assert again.page is Page.ANSWER
        reply(kit, again)
        assert reason(kit, "club") == "GUARDIAN_REVOKED"
        with pytest.raises(TokenInvalid):
            come(kit, outbox[-1])

    def test_what_is_left_as_it_was_is_not_said_again(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, ["news", "club"])
        reply(kit, come(kit, outbox[0]), ["news", "club"])
        visit = self.access(kit, outbox)
        assert reply(kit, visit, ["news", "club"]) == []
        visit = look(kit, visit.session)
        assert said(reply(kit, visit, ["news"])) == [("club", "revoked")]
        assert reply(kit, look(kit, visit.session), ["news"]) == []

    def test_a_new_yes_is_verified_like_the_first(
        self, kit: Kit, outbox: Outbox, notary: Notary, clock: ShiftedClock
    ) -> None:
        invite(kit, ["identity", "news"], method="gov_id")
        visit = come(kit, outbox[0])
        Desk(kit).start_check(visit)
        notary.find(kit)
        reply(kit, look(kit, visit.session), ["news"])
        visit = self.access(kit, outbox)
        assert visit.may_allow == {"news"}
        with pytest.raises(ChoiceRejected, match="verified first"):
            reply(kit, visit, ["identity", "news"])
        assert said(reply(kit, visit)) == [("news", "revoked")]
        visit = look(kit, visit.session)
        Desk(kit).start_check(visit)
        notary.find(kit)
        reply(kit, look(kit, visit.session), ["identity"])
        assert reason(kit, "identity") == "GIVEN"

    def test_a_new_yes_by_message_waits_too_and_a_no_does_not(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit, ["news", "club"], method="email_plus")
        reply(kit, come(kit, outbox[0]), ["news"])
        clock.shift_us += 2 * DAY_US
        kit.tend_invitations()
        Desk(kit).second(come(kit, outbox[1]), agreed=True)
        visit = self.access(kit, outbox)
        events = reply(kit, visit, ["club"])
        assert said(events) == [("news", "revoked"), ("club", "requested")]
        assert reason(kit) == "GUARDIAN_REVOKED"
        assert reason(kit, "club") == "REFUSED"
        clock.shift_us += 2 * DAY_US
        assert kit.tend_invitations().confirmations == 1
        visit = come(kit, outbox[-1])
        assert (visit.page, visit.items) == (Page.CONFIRM, ("club",))
        Desk(kit).second(visit, agreed=True)
        assert reason(kit, "club") == "GIVEN"

    def test_receipt_and_export(self, kit: Kit, outbox: Outbox) -> None:
        kit.refuse("kid", "club")
        invite(kit, ["news"])
        reply(kit, come(kit, outbox[0]), ["news"])
        desk, visit = Desk(kit), self.access(kit, outbox)
        receipt = desk.receipt(visit)
        assert [(a["item"], a["status"]) for a in receipt["answers"]] == [("news", "given")]
        assert (receipt["guardian"], receipt["subject"]) == (receipt["answers"][0]["actor"], "kid")
        export = desk.export(visit)
        assert [e["action"] for e in export["events"]] == ["refused", "requested", "given"]

    def test_who_was_not_verified_is_told_nothing_about_the_child(
        self, kit: Kit, outbox: Outbox, notary: Notary
    ) -> None:
        invite(kit, method="gov_id")
        reply(kit, come(kit, outbox[0]))
        visit = self.access(kit, outbox)
        with pytest.raises(ChoiceRejected, match="verified"):
            Desk(kit).export(visit)
        assert Desk(kit).receipt(visit)["subject"] is None

    def test_a_guardian_has_no_say_after_the_threshold(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit)
        reply(kit, come(kit, outbox[0]), ["news"])
        invite(kit, "club")
        visit = come(kit, outbox[1])
        kit.learn("kid", age=Age(years=16))
        assert not Desk(kit).is_needed(visit)
        with pytest.raises(GuardianNotNeeded):
            reply(kit, visit, ["club"])
        kit.guardian_access("kid", contact=PARENT)
        assert len(outbox) == 2
        assert reason(kit) == "AGED_OUT"

    # ------------------------------------------------------------ limits, the same answer for all

    def test_a_child_may_not_ask_without_end(self, kit: Kit, outbox: Outbox, clock: ShiftedClock) -> None:
        for number in range(5):
            invite(kit, contact=f"parent-{number}@example.org")
        with pytest.raises(AskedTooOften) as caught:
            invite(kit, contact=OTHER)
        assert caught.value.again_at is not None
        assert len(outbox) == 5
        clock.shift_us += DAY_US
        invite(kit, contact=OTHER)
        assert len(outbox) == 6

    def test_asking_for_links_takes_nothing_from_the_child(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        reply(kit, come(kit, outbox[0]), ["news"])
        for _ in range(7):
            kit.guardian_access("kid", contact=PARENT)
        assert len(outbox) == 6
        assert len(kept(kit)) == 6
        invite(kit, contact=OTHER)
        assert len(outbox) == 7

    def test_a_verifier_is_not_asked_without_end(self, kit: Kit, outbox: Outbox, notary: Notary) -> None:
        invite(kit, method="gov_id")
        visit = come(kit, outbox[0])
        for _ in range(10):
            Desk(kit).start_check(look(kit, visit.session))
        with pytest.raises(VerifierFailed):
            Desk(kit).start_check(look(kit, visit.session))
        assert len(notary.asked) == 10

    def test_a_contact_is_not_flooded_and_nobody_learns_of_it(self, kit: Kit, outbox: Outbox) -> None:
        for number in range(12):
            subject = f"kid-{number}"
            kit.learn(subject, age=Age(years=9), jurisdiction="DE")
            assert len(invite(kit, subject=subject)) == 36
            assert reason(kit, subject=subject) == "GUARDIAN_PENDING"
        assert len(outbox) == 10
        invite(kit, contact=OTHER)
        assert len(outbox) == 11

    def test_contacts_cannot_be_found_out(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        reply(kit, come(kit, outbox[0]), ["news"])
        before = len(kit.ledger.of_subject("kid"))
        for contact in (PARENT, OTHER):
            kit.guardian_access("kid", contact=contact)
        kit.guardian_access("nobody", contact=PARENT)
        assert [m.contact for m in outbox[1:]] == [PARENT]
        assert len(kit.ledger.of_subject("kid")) == before
        outbox.failing = True
        for contact in (PARENT, OTHER):
            kit.guardian_access("kid", contact=contact)
        for _ in range(9):  # nor by the limit
            kit.guardian_access("kid", contact=PARENT)
        known = [invite(kit, subject=s, contact=PARENT) for s in self.children(kit, outbox)]
        assert len(set(known)) == 2

    def children(self, kit: Kit, outbox: Outbox) -> Iterator[str]:
        outbox.failing = False
        for subject in ("one", "two"):
            kit.learn(subject, age=Age(years=9), jurisdiction="DE")
            yield subject

    # ------------------------------------------------------------ attacks

    def test_the_browser_that_asked_may_not_answer(self, kit: Kit, outbox: Outbox) -> None:
        kit.guardian.asker = lambda: ("browser:xyz", "account:kid", "visitor:v-1")
        invite(kit)
        for marks in (("browser:xyz",), ("browser:new", "visitor:v-1"), ("account:kid",)):
            with pytest.raises(AskedHere):
                come(kit, outbox[0], *marks)
            with pytest.raises(AskedHere):
                Desk(kit).open_code(outbox[0].code, marks)
        visit = come(kit, outbox[0], "browser:parent", "account:parent")
        with pytest.raises(AskedHere):  # the session was carried over to the child's browser
            look(kit, visit.session, "browser:xyz")
        for word in ("xyz", "v-1"):
            assert word not in kept(kit)[0][2]

    def test_a_guardian_may_ask_for_the_own_link(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        reply(kit, come(kit, outbox[0]), ["news"])
        kit.guardian.asker = lambda: ("browser:parent", "account:parent")
        kit.guardian_access("kid", contact=PARENT)
        assert come(kit, outbox[1], "browser:parent", "account:parent").page is Page.ANSWER
        with pytest.raises(AskedHere):
            come(kit, outbox[1], "account:kid")

    def test_who_is_signed_in_as_the_child_may_not_answer(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        with pytest.raises(AskedHere):
            come(kit, outbox[0], "account:kid")
        assert come(kit, outbox[0], "account:kid-2").page is Page.ANSWER

    def test_a_link_is_used_once(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        first, second = come(kit, outbox[0]), come(kit, outbox[0])
        reply(kit, first, ["news"])
        with pytest.raises(TokenInvalid) as caught:
            reply(kit, second, ["news"])
        assert caught.value.expired
        with pytest.raises(TokenInvalid):
            look(kit, second.session)
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        with pytest.raises(TokenInvalid):
            reply(kit, first)
        assert look(kit, first.session).page is Page.DONE
        assert len([e for e in kit.ledger.of_subject("kid") if e.actor.startswith("guardian")]) == 1

    def test_the_signing_key_alone_makes_no_link(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        keys = kit.guardian.signing_keys(kit.runtime.keyed)
        genuine = read_ticket(token_of(outbox[0]), keys)
        for forged in (
            replace(genuine, secret=""),
            replace(genuine, secret=new_secret()),
            replace(genuine, step=1),
        ):
            with pytest.raises(TokenInvalid):
                Desk(kit).open_link(signed(forged, keys), ())
        assert Desk(kit).open_link(signed(genuine, keys), ())

    def test_of_two_answers_at_once_one_is_taken(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        visits = [come(kit, outbox[0]) for _ in range(4)]
        start = Barrier(len(visits))

        def run(visit: Visit) -> int:
            start.wait()
            try:
                return len(reply(kit, visit, ["news"]))
            except TokenInvalid:
                return 0

        with ThreadPoolExecutor(len(visits)) as pool:
            assert sorted(pool.map(run, visits)) == [0, 0, 0, 1]
        assert len([e for e in kit.ledger.of_subject("kid") if e.action == "given"]) == 1

    def test_of_many_guesses_at_once_five_are_looked_at(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        code = outbox[0].code
        wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: Desk(kit).open_code(wrong, ()), range(16)))
        assert kept(kit)[0][3] == 5
        assert Desk(kit).open_code(code, ()) is None

    def test_a_link_is_good_for_one_child_only(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("twin", age=Age(years=9), jurisdiction="DE")
        invite(kit)
        invite(kit, subject="twin")
        reply(kit, come(kit, outbox[1]), ["news"])
        assert reason(kit) == "GUARDIAN_PENDING"
        assert reason(kit, subject="twin") == "GIVEN"
        mine, theirs = come(kit, outbox[0]), Desk(kit)
        forged = Session(outbox[1].invitation, 0, mine.session.browser, mine.session.started_us)
        with pytest.raises(TokenInvalid):
            look(kit, forged)
        assert theirs.visit(theirs.text_of(mine.session), ()).subject == "kid"

    def test_a_link_is_over(self, kit: Kit, outbox: Outbox, clock: ShiftedClock) -> None:
        invite(kit)
        clock.shift_us += 14 * DAY_US
        with pytest.raises(TokenInvalid) as caught:
            come(kit, outbox[0])
        assert caught.value.expired
        assert reason(kit) == "GUARDIAN_REQUIRED"
        assert kept(kit)[0][:2] == ("over", None)

    def test_a_clock_that_is_moved_back_revives_no_link(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit)
        clock.shift_us += 15 * DAY_US
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        clock.shift_us -= 14 * DAY_US
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        invite(kit)
        clock.shift_us -= 2 * DAY_US
        with pytest.raises(TokenInvalid, match="clock"):
            come(kit, outbox[1])

    def test_tending_forgets_contacts_and_then_invitations(
        self, kit: Kit, outbox: Outbox, clock: ShiftedClock
    ) -> None:
        invite(kit)
        invite(kit, contact=OTHER)
        reply(kit, come(kit, outbox[0]), ["news"])
        assert kit.tend_invitations() == type(kit.tend_invitations())()
        clock.shift_us += 14 * DAY_US
        tended = kit.tend_invitations()
        assert (tended.ended, tended.forgotten) == (1, 1)
        assert [row[:2] for row in kept(kit)] == [("over", None)]
        assert kit.tend_invitations().forgotten == 1
        assert kept(kit) == []
        assert reason(kit) == "GIVEN"

    def test_a_session_ends(self, kit: Kit, outbox: Outbox, clock: ShiftedClock) -> None:
        invite(kit)
        visit = come(kit, outbox[0])
        clock.shift_us += HOUR_US
        with pytest.raises(TokenInvalid) as caught:
            look(kit, visit.session)
        assert caught.value.expired

    def test_a_code_has_five_tries(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        desk, code = Desk(kit), outbox[0].code
        wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
        assert (
            desk.open_code("", ())
            is desk.open_code("what", ())
            is desk.open_code("0000-0000-0000", ())
            is None
        )
        for _ in range(3):
            assert desk.open_code(wrong, ()) is None
        assert desk.open_code(code.lower().replace("-", " "), ()) is not None  # a right one is no try
        assert kept(kit)[0][3] == 3
        for _ in range(2):
            assert desk.open_code(wrong, ()) is None
        assert desk.open_code(code, ()) is None
        assert come(kit, outbox[0]).page is Page.ANSWER  # the link is another matter

    def test_a_code_leads_to_the_same_page(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        session = Desk(kit).open_code(outbox[0].code, ())
        assert session is not None
        reply(kit, look(kit, session), ["news"])
        assert reason(kit) == "GIVEN"
        assert Desk(kit).open_code(outbox[0].code, ()) is None

    def test_a_code_is_good_for_its_invitation_only(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        invite(kit, contact=OTHER)
        one, other = (m.code.replace("-", "") for m in outbox)
        assert Desk(kit).open_code(one[:6] + other[6:], ()) is None

    def test_erasure_ends_every_link(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit, child="Mia")
        visit = come(kit, outbox[0])
        kit.erase("kid")
        assert kept(kit) == []
        with pytest.raises(TokenInvalid):
            look(kit, visit.session)
        for yes in (["news"], []):
            with pytest.raises((TokenInvalid, GuardianNotNeeded)):
                reply(kit, visit, yes)
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        assert reason(kit) == "ERASED"
        assert kit.ledger.verify().faults == []

    def test_an_invitation_is_taken_back(self, kit: Kit, outbox: Outbox) -> None:
        number = invite(kit)
        (event,) = kit.cancel_invitation(number)
        assert (event.action, event.actor.partition(":")[0]) == ("lifted", "invitation")
        assert reason(kit) == "GUARDIAN_REQUIRED"
        with pytest.raises(TokenInvalid):
            come(kit, outbox[0])
        for unknown in (number, "nothing"):
            with pytest.raises(ChoiceRejected):
                kit.cancel_invitation(unknown)

    def test_a_new_name_of_the_child_ends_links(self, kit: Kit, outbox: Outbox) -> None:
        invite(kit)
        reply(kit, come(kit, outbox[0]), ["news"])
        invite(kit, "club")
        kit.rename("kid", "mia")
        assert reason(kit, subject="mia") == "GIVEN"
        assert reason(kit, "club", subject="mia") == "GUARDIAN_REQUIRED"
        with pytest.raises(TokenInvalid):
            come(kit, outbox[1])
        assert kit.ledger.verify().faults == []

    def test_a_tenants_children(self, kit: Kit, outbox: Outbox) -> None:
        kit.learn("kid", age=Age(years=9), jurisdiction="DE", tenant="t")
        invite(kit, tenant="t")
        visit = come(kit, outbox[0], "account:kid")  # our account of that name is somebody else
        reply(kit, visit, ["news"])
        assert kit.decide("kid", "news", tenant="t").reason == "GIVEN"
        assert reason(kit) == "GUARDIAN_REQUIRED"

    def test_where_the_guardian_is_says_nothing_about_the_child(
        self, kit: Kit, outbox: Outbox, notary: Notary
    ) -> None:
        kit.facts.jurisdiction, kit.facts.in_request = (lambda: None), (lambda: True)
        kit.learn("drifter", age=Age(years=14))
        invite(kit, subject="drifter", method="gov_id")
        kit.facts.jurisdiction = lambda: "GB"  # where one of fourteen would answer alone
        visit = come(kit, outbox[0])
        Desk(kit).start_check(visit)
        notary.find(kit)
        (event,) = reply(kit, look(kit, visit.session), ["news"])
        assert body(event)["jurisdiction"] is None
        assert body(event)["age_rule"] == "strictest"


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        (MinorRules(guardians="both"), "minors.guardians"),
        (MinorRules(methods=["email", "pigeon"]), "minors.methods"),
        (MinorRules(confirm_after="a day"), "minors.confirm_after"),
        (MinorRules(invitation_valid_for="P"), "minors.invitation_valid_for"),
    ],
)
def test_rules_that_are_none(rules: MinorRules, key: str) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog(minors=rules)
    assert caught.value.key == key


class RulesSuite(Suite):
    @pytest.fixture
    def minors(self) -> MinorRules:
        return MinorRules(guardians="all", methods=["email", "gov_id"], invitation_valid_for="P2D")

    @pytest.fixture
    def kit(self, url: str, clock: ShiftedClock, minors: MinorRules) -> Iterator[Kit]:
        kit = open_kit(url, catalog(minors=minors), clock=clock)
        yield kit
        kit.runtime.dispose()

    def test_every_guardian_who_was_asked(self, kit: Kit, clock: ShiftedClock) -> None:
        outbox = ready(kit)
        invite(kit)
        other = invite(kit, contact=OTHER)
        reply(kit, come(kit, outbox[0]), ["news"])
        assert reason(kit) == "GUARDIAN_PENDING"
        clock.shift_us += 3 * DAY_US
        assert reason(kit) == "GUARDIAN_REQUIRED"
        invite(kit, contact=OTHER)
        reply(kit, come(kit, outbox[2]), ["news"])
        assert reason(kit) == "GIVEN"
        kit.tend_invitations()
        with pytest.raises(ChoiceRejected):  # over long ago
            kit.cancel_invitation(other)

    def test_one_that_was_a_mistake_is_taken_back(self, kit: Kit) -> None:
        outbox = ready(kit)
        invite(kit)
        typo = invite(kit, contact="praent@example.org")
        reply(kit, come(kit, outbox[0]), ["news"])
        assert reason(kit) == "GUARDIAN_PENDING"
        kit.cancel_invitation(typo)
        assert reason(kit) == "GIVEN"

    def test_methods_of_the_operator(self, kit: Kit) -> None:
        ready(kit)
        with pytest.raises(ChoiceRejected, match=r"minors\.methods: email, gov_id"):
            invite(kit, method="email_plus")

    @pytest.mark.parametrize("minors", [MinorRules(children="not_allowed")])
    def test_where_children_are_not_allowed_nobody_is_asked(self, kit: Kit) -> None:
        outbox = ready(kit)
        with pytest.raises(ChoiceRejected, match="not for children"):
            invite(kit)
        assert outbox == []


class TestSqlite(OnSqlite, GuardianSuite): ...


class TestPostgresql(OnPostgresql, GuardianSuite): ...


class TestRulesSqlite(OnSqlite, RulesSuite): ...


class TestRulesPostgresql(OnPostgresql, RulesSuite): ...
