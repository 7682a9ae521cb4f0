"""Entering an invitation, sending its message, and recording that somebody was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from consentkit.core.errors import AskedTooOften, MessageNotSent
from consentkit.core.guardian_message import message_of
from consentkit.core.ids import check_subject
from consentkit.core.inviting import INVITE, Invitation, items_of, requesting
from consentkit.core.minors import Facts
from consentkit.core.record import Event, bucket_of
from consentkit.core.terms import Action
from consentkit.core.times import from_us
from consentkit.core.tokens import Code, Ticket, new_code, signed
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.setup import Draft, GuardianSetup, about, code_hash, ended, link_hash, number_of
from consentkit.kit_facts import FactSources
from consentkit.kit_policies import PolicyVerbs
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
        """Write the row of a new invitation, and give its code.

        `withheld`: nobody is to be sent anything; so it is for a contact that is sent too much. Raises AskedTooOften.
        """
        runtime, bucket = self.runtime, bucket_of(draft.tenant, draft.subject)
        (invitation,), code = runtime.clock.event_ids(bucket, 1), new_code(bucket)
        act = runtime.writer.act(draft.tenant, draft.subject, (), facts=facts)
        contact = runtime.keyed.digest_of("guardian contact", draft.contact_key)
        askers = tuple(self.setup.asker()) if draft.kind == INVITE else ()

        def work(tx: Tx) -> Row:
            now_us, key = runtime.clock.now(), runtime.writer.known(tx, act, anew=True).key
            before = inviting.asked_by_subject(tx, bucket, key, draft.kind, now_us)
            if len(before) >= SUBJECT_A_DAY:
                again_at = from_us(min(before) + inviting.DAY_US)
                raise AskedTooOften(
                    f"a guardian was asked {len(before)} times in 24 hours", again_at=again_at
                )
            silent = withheld or inviting.sent_to_contact(tx, contact, now_us) >= CONTACT_A_DAY
            number = number_of(runtime.keyed, tx, draft, bucket, key)
            body = Body(draft.kind, draft.items, draft.method.value, draft.locale, number)
            about_it = (bucket, invitation, draft.tenant, key, contact)
            row = Row(*about_it, None, body, Standing.WITHHELD, expires_us, 0, code.place, now_us, expires_us)
            row = ended(row, Standing.WITHHELD) if silent else self._opened(row, draft, askers, secret, code)
            inviting.add(tx, row)
            return row

        return runtime.database.write(work), str(code)

    def _opened(self, row: Row, draft: Draft, askers: Sequence[str], secret: str, code: Code) -> Row:
        """The row with what it takes to come in: hashes of link and code, and whom to send them to."""
        keyed = self.runtime.keyed
        kept = json.dumps({"contact": draft.contact, "child": draft.child})
        body = replace(
            row.body,
            askers=tuple(keyed.digest_of("guardian asker", text).hex() for text in askers),
            link=link_hash(keyed, secret),
            code=code_hash(keyed, row.invitation, code.secret),
        )
        return replace(row, sealed=keyed.seal(kept, about(row.invitation)), body=body, status=Standing.OPEN)

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
