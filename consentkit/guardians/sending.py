"""Entering an invitation, sending its message, and recording that somebody was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from consentkit.core.errors import AskedTooOften, MessageNotSent
from consentkit.core.guardian_message import message_of
from consentkit.core.inviting import INVITE, Invitation, items_of, requesting
from consentkit.core.minors import Facts
from consentkit.core.record import Event, bucket_of
from consentkit.core.terms import Action
from consentkit.core.times import from_us
from consentkit.core.tokens import Ticket, new_code, signed
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.setup import Draft, GuardianSetup, about, code_hash, link_hash, number_of
from consentkit.kit_facts import FactSources
from consentkit.kit_policies import PolicyVerbs
from consentkit.kit_record import check_subject
from consentkit.runtime import Runtime
from consentkit.store import inviting
from consentkit.store.database import Tx
from consentkit.store.inviting import Body, Row, Standing

SUBJECT_A_DAY, CONTACT_A_DAY = 5, 10
"""Messages in 24 hours: that one subject may ask for, and that one contact is sent, whoever asks."""
_CONTACT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,320}")
_CHILD = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,80}")


class Messages:
    """From a draft to a message that is out."""

    def __init__(self, kit: PolicyVerbs, setup: GuardianSetup) -> None:
        self.kit, self.setup = kit, setup

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        return self.kit.runtime

    @property
    def facts(self) -> FactSources:
        """Where facts about subjects come from."""
        return self.kit.facts

    def draft(
        self,
        kind: str,
        subject: str,
        tenant: str | None,
        locale: str | None,
        contact: str,
        child: str,
        method: str = GuardianMethod.EMAIL_PLUS,
        items: Sequence[str] = (),
    ) -> Draft:
        """What is asked of whom, checked as far as that needs nobody's data."""
        check_subject(subject, tenant)
        if not isinstance(contact, str) or not contact.strip() or not _CONTACT.fullmatch(contact):
            raise ValueError(
                "contact: an e-mail address or a telephone number, at most 320 printable characters"
            )
        if not isinstance(child, str) or not _CHILD.fullmatch(child):
            raise ValueError("child: how the page calls the child, at most 80 printable characters")
        if method not in list(GuardianMethod):
            raise ValueError(f"method {method!r}: write one of {', '.join(GuardianMethod)}")
        catalog = self.runtime.catalog
        self.setup.ready()
        self.runtime.ensure()
        wanted = locale if locale in catalog.locales else catalog.site.default_locale
        found = items_of(catalog, items) if kind == INVITE else ()
        about = (subject, found, GuardianMethod(method), wanted, contact.strip(), child.strip())
        return Draft(kind, tenant or "", *about)

    def facts_of(self, draft: Draft, now_us: int) -> Facts:
        facts = self.kit._known(draft.tenant, draft.subject)
        if draft.tenant:
            return facts
        return self.facts.complete(self.runtime.catalog, draft.subject, facts, now_us)

    def enter(
        self, draft: Draft, secret: str, expires_us: int, facts: Facts | None, *, withheld: bool = False
    ) -> tuple[Row, str]:
        """Write the row of a new invitation. Raises AskedTooOften. A contact that is sent too much is sent no more."""
        runtime, bucket = self.runtime, bucket_of(draft.tenant, draft.subject)
        keyed, code, askers = runtime.keyed, new_code(bucket), tuple(self.setup.asker())
        (invitation,) = runtime.clock.event_ids(bucket, 1)
        act = runtime.writer.act(draft.tenant, draft.subject, (), facts=facts)
        contact = keyed.digest_of("guardian contact", draft.contact_key)
        kept = json.dumps({"contact": draft.contact, "child": draft.child})

        def work(tx: Tx) -> Row:
            now_us, key = runtime.clock.now(), runtime.writer.known(tx, act).key
            count, first_us = inviting.asked_by_subject(tx, bucket, key, now_us)
            too_often = count >= SUBJECT_A_DAY
            if too_often and draft.kind == INVITE:
                again = from_us(first_us + inviting.DAY_US)
                raise AskedTooOften(f"a guardian was asked {count} times in 24 hours", again_at=again)
            sent = inviting.sent_to_contact(tx, contact, now_us)
            silent = withheld or too_often or sent >= CONTACT_A_DAY
            body = Body(
                kind=draft.kind,
                items=draft.items,
                method=draft.method.value,
                locale=draft.locale,
                number=number_of(keyed, tx, draft, bucket, key),
                askers=tuple(keyed.digest_of("guardian asker", text).hex() for text in askers),
                link="" if silent else link_hash(keyed, secret),
                code="" if silent else code_hash(keyed, invitation, code.secret),
            )
            row = Row(
                bucket=bucket,
                invitation=invitation,
                tenant=draft.tenant,
                subject_key=key,
                contact_hash=contact,
                sealed=None if silent else keyed.seal(kept, about(invitation)),
                body=body,
                status=Standing.WITHHELD if silent else Standing.OPEN,
                expires_us=expires_us,
                attempts=0,
                place=code.place,
                created_us=now_us,
                due_us=max(expires_us, now_us + inviting.DAY_US) if silent else expires_us,
            )
            inviting.add(tx, row)
            return row

        return runtime.database.write(work), str(code)

    def send_or_forget(self, draft: Draft, row: Row, secret: str, code: str) -> None:
        """Send the message of a new invitation; where that fails there is none. Raises MessageNotSent."""
        try:
            self.send(draft, row, secret, code)
        except Exception as error:
            self.runtime.database.write(lambda tx: inviting.drop(tx, row))
            raise MessageNotSent from error

    def send(self, draft: Draft, row: Row, secret: str, code: str) -> None:
        runtime, page = self.runtime, self.setup.address()
        ticket = Ticket(row.invitation, row.body.step, secret, runtime.clock.now(), row.expires_us)
        url = f"{page}/{signed(ticket, self.setup.signing_keys(runtime.keyed))}"
        shown = {"locale": draft.locale, "url": url, "code": code, "child": draft.child}
        title, text = message_of(
            runtime.catalog, draft.kind, draft.items, page=page, expires_us=row.expires_us, **shown
        )
        self.setup.send(
            Invitation(
                invitation=row.invitation,
                kind=draft.kind,
                subject=draft.subject,
                tenant=draft.tenant,
                items=draft.items,
                method=draft.method,
                expires=from_us(row.expires_us),
                contact=draft.contact,
                title=title,
                text=text,
                **shown,
            )
        )

    def request(
        self,
        row: Row,
        subject: str,
        items: Sequence[str],
        expires_us: int | None,
        action: Action = Action.REQUESTED,
    ) -> list[Event]:
        """Record that a guardian was asked, or is asked no more."""
        runtime = self.runtime
        answers = requesting(
            runtime.catalog,
            runtime.published,
            items,
            row.body.number,
            now_us=runtime.clock.now(),
            locale=row.body.locale,
            expires_us=expires_us,
            extra=(("invitation", row.invitation), ("verification", row.body.method)),
            action=action,
        )
        events = runtime.writer.append(row.tenant, subject, answers)
        self.kit._recorded(subject, row.tenant, events)
        return events

    def kept(self, row: Row) -> dict[str, str]:
        """Contact and child's name, while they are kept."""
        if row.sealed is None:
            return {}
        kept: dict[str, str] = json.loads(self.runtime.keyed.unseal(row.sealed, about(row.invitation)))
        return kept

    def number(self, draft: Draft, key: bytes) -> int:
        bucket, keyed = bucket_of(draft.tenant, draft.subject), self.runtime.keyed
        return self.runtime.database.read(lambda tx: number_of(keyed, tx, draft, bucket, key))
