"""What a guardian answered becomes events, and the invitation is used up, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consentkit.core.acceptance import accepting, declining
from consentkit.core.choices import Manner, denying, giving, is_digest
from consentkit.core.errors import ChoiceRejected, NoticeOutdated, TokenInvalid
from consentkit.core.gate import Row as Said
from consentkit.core.inviting import ACCESS, INVITE, Reply, check_reply, requesting, third_parties
from consentkit.core.record import Answer, Event
from consentkit.core.terms import DENIALS, Action, Method
from consentkit.core.times import Duration
from consentkit.core.verification import GuardianMethod
from consentkit.guardians.sending import Messages
from consentkit.guardians.setup import about, ended
from consentkit.kit_policies import PolicyVerbs
from consentkit.kit_record import How
from consentkit.runtime import Runtime
from consentkit.store import inviting
from consentkit.store.database import Tx
from consentkit.store.inviting import Row, Standing
from consentkit.store.ledger import Act, Known

Extra = tuple[tuple[str, Any], ...]
_OPERATOR = re.compile(r"[A-Za-z0-9._/:-]{1,80}")


@dataclass(frozen=True, slots=True)
class Proof:
    """How an answer was given and what is known of who gave it. `level` 0: nobody was verified."""

    method: str = Method.FORM.value
    level: int = 0
    extra: Extra = ()


@dataclass(frozen=True, slots=True)
class Writes:
    """What becomes of the invitation: its new row, and one that is added beside it."""

    new: Row
    add: Row | None = None


class _Elsewhere(PolicyVerbs):
    """The kit in the request of somebody who is not the subject: where that is says nothing about the subject."""

    def __init__(self, kit: PolicyVerbs) -> None:
        self._kit, self.facts = kit, replace(kit.facts, in_request=lambda: False)

    @property
    def runtime(self) -> Runtime:
        """The catalogue at work on a database."""
        return self._kit.runtime

    def _recorded(self, *said: Any, **more: Any) -> None:
        self._kit._recorded(*said, **more)


class Replies(Messages):
    """Recording what guardians say."""

    def signed_form(
        self,
        invitation: str,
        give: Sequence[str],
        refuse: Sequence[str],
        disclose: Sequence[str],
        evidence: str,
        operator: str,
    ) -> list[Event]:
        """Record what a signed form says."""
        if not is_digest(evidence):
            raise ValueError("evidence: give the SHA-256 of the scanned form, 64 lower-case hex digits")
        if not _OPERATOR.fullmatch(operator):
            raise ValueError("operator: the staff id of who read the form, such as staff-7; no name")
        row = self.runtime.database.read(lambda tx: inviting.find(tx, invitation))
        now_us = self.runtime.clock.now()
        if row is None or row.status is not Standing.OPEN or row.expires_us <= now_us:
            raise TokenInvalid("there is no open invitation of this number", expired=row is not None)
        if GuardianMethod(row.body.method) is not GuardianMethod.SIGNED_FORM:
            raise ChoiceRejected(f"this invitation is answered by {row.body.method}, not by a signed form")
        yes = {key: self.shown(key, row.body.locale) for key in give if key in row.body.items}
        reply = Reply(yes, tuple(refuse), frozenset(disclose))
        seen: Extra = (("evidence", evidence), ("operator", operator), ("verified_us", now_us))
        level = GuardianMethod.SIGNED_FORM.assurance.level
        return self.answer(row, self.subject_of(row), reply, Proof(Method.PAPER.value, level, seen))

    def shown(self, item: str, locale: str) -> str:
        """The digest of what the guardian's page shows about an item in a locale."""
        policy = self.runtime.catalog.policies.get(item)
        if policy is None:
            return self.runtime.purpose_notice(f"purpose:{item}", locale).digest
        release = self.runtime.published.in_force(item, self.runtime.clock.now())
        if release is None:
            raise ChoiceRejected(f"policy {item!r} is not in force yet")
        return release.texts.get(locale) or release.texts[self.runtime.catalog.site.default_locale]

    # ------------------------------------------------------------ one reply

    def answer(self, row: Row, subject: str, reply: Reply, proof: Proof, used_by: str = "") -> list[Event]:
        """Record a reply and use the invitation up. A yes by a method with two messages waits for the second.

        Raises NoticeOutdated for a yes to another text, ChoiceRejected, TokenInvalid where somebody was faster.
        """
        standing = self.standing_yes(row, subject)
        disclosed = reply.disclosed.union(standing)
        check_reply(self.runtime.catalog, self.items_of(row), replace(reply, disclosed=disclosed))
        if row.body.kind == ACCESS:
            denied = {k for k, said in self.own(row, subject).items() if said.status in DENIALS}
            changed = {k: digest for k, digest in reply.yes.items() if k not in standing}
            reply = replace(reply, yes=changed, no=tuple(k for k in reply.no if k not in denied))
        for item, digest in reply.yes.items():
            self._check_shown(item, digest)
        done = replace(row, body=replace(row.body, used_by=used_by, used_us=self.runtime.clock.now()))
        if reply.yes and GuardianMethod(row.body.method).twice:
            return self._wait(row, done, subject, reply, proof)
        closed = replace(done, status=Standing.ANSWERED)
        new = closed if row.body.kind == ACCESS else ended(closed, Standing.ANSWERED)
        return self._record(row, subject, self._said(row, subject, reply, proof), Writes(new))

    def _wait(self, row: Row, done: Row, subject: str, reply: Reply, proof: Proof) -> list[Event]:
        """Keep a yes until it is confirmed, and record that it was asked about again; a no is recorded at once."""
        runtime, rules = self.runtime, self.facts.rules(self.runtime.catalog)
        if rules is None:
            raise ChoiceRejected("the catalogue has no rules for minors any more: nobody is asked")
        now_us = runtime.clock.now()
        due_us = Duration.parse(rules.confirm_after).after(now_us)
        expires_us = Duration.parse(rules.invitation_valid_for).after(due_us)
        waiting: dict[str, Any] = {"kind": INVITE, "items": tuple(reply.yes), "answers": dict(reply.yes)}
        body = replace(done.body, **waiting, link="", code="", sent=False)
        later = replace(
            done, status=Standing.WAITING, body=body, due_us=due_us, expires_us=expires_us, attempts=0
        )
        writes = Writes(later)
        if row.body.kind == ACCESS:
            writes = Writes(replace(done, status=Standing.ANSWERED), self._moved(later))
        said = self._said(row, subject, replace(reply, yes={}), proof)
        said += requesting(
            runtime.catalog,
            runtime.published,
            tuple(reply.yes),
            row.body.number,
            now_us=now_us,
            locale=row.body.locale,
            expires_us=expires_us,
            extra=_about(row),
        )
        return self._record(row, subject, said, writes)

    def _moved(self, row: Row) -> Row:
        """The row as an invitation of its own."""
        keyed, now_us = self.runtime.keyed, self.runtime.clock.now()
        (invitation,) = self.runtime.clock.event_ids(row.bucket, 1)
        kept = keyed.unseal(row.sealed or b"", about(row.invitation))
        return replace(
            row,
            invitation=invitation,
            sealed=keyed.seal(kept, about(invitation)),
            place="",
            created_us=now_us,
        )

    def confirm(self, row: Row, subject: str, agreed: bool, used_by: str) -> list[Event]:
        """The answer to the second message. Raises NoticeOutdated where the text has changed meanwhile."""
        answers = dict(row.body.answers or {})
        now_us = self.runtime.clock.now()
        for item, digest in answers.items() if agreed else ():
            try:
                self._check_shown(item, digest)
            except NoticeOutdated:
                body = replace(row.body, answers=None)
                self.put(row, replace(row, status=Standing.OPEN, body=body))
                raise
        method = GuardianMethod(row.body.method)
        reply = Reply(answers) if agreed else Reply({}, tuple(answers))
        proof = Proof(
            level=method.assurance.level if agreed else 0, extra=(("verified_us", now_us),) if agreed else ()
        )
        body = replace(row.body, used_by=used_by, used_us=now_us)
        new = ended(replace(row, body=body), Standing.ANSWERED)
        return self._record(row, subject, self._said(row, subject, reply, proof), Writes(new))

    def _said(self, row: Row, subject: str, reply: Reply, proof: Proof) -> list[Answer]:
        """The answers behind a reply, by the guardian of this invitation."""
        catalog, actor = self.runtime.catalog, f"guardian:{row.body.number}"
        own = self.own(row, subject)
        known = max((r.level for r in own.values()), default=0)
        how = Manner(
            self.runtime.clock.now(), actor, proof.method, row.body.locale, level=max(known, proof.level)
        )
        extra = (*_about(row), *proof.extra)
        said: list[Answer] = []
        for key, digest in reply.yes.items():
            told = " ".join(party.key for party in third_parties(catalog, key))
            more = (*extra, ("disclosed_to", told)) if told else extra
            given = self._yes(row, subject, key, replace(how, notice=digest, level=proof.level))
            said += [replace(answer, extra=more) for answer in given]
        for key in reply.no:
            said += [replace(answer, extra=extra) for answer in self._no(key, how, own)]
        return said

    def _yes(self, row: Row, subject: str, key: str, how: Manner) -> list[Answer]:
        runtime = self.runtime
        if key not in runtime.catalog.policies:
            return giving(runtime.catalog, [f"purpose:{key}"], how)
        act = how if how.method == Method.PAPER else replace(how, method=Method.TICK.value)
        spoken = How(actor=how.actor, method=act.method, tenant=row.tenant)
        past = _Elsewhere(self.kit)._past(subject, spoken)
        return accepting(runtime.catalog, runtime.published, key, act, past)

    def _no(self, key: str, how: Manner, own: Mapping[str, Said]) -> list[Answer]:
        catalog = self.runtime.catalog
        before = own.get(key)
        if before is not None and before.grants:
            named = key if key in catalog.policies else f"purpose:{key}"
            return denying(catalog, [named], how, Action.WITHDRAWN)
        if key in catalog.policies:
            return declining(catalog, self.runtime.published, key, how)
        return denying(catalog, [f"purpose:{key}"], how, Action.REFUSED)

    def _record(self, row: Row, subject: str, said: list[Answer], writes: Writes) -> list[Event]:
        runtime, actor = self.runtime, f"guardian:{row.body.number}"
        manner = Manner(runtime.clock.now(), actor, locale=row.body.locale)
        facts, said = _Elsewhere(self.kit)._by_law(row.tenant, subject, said, manner)

        def claim(tx: Tx, _act: Act, _known: Known) -> None:
            if not inviting.swap(tx, row, writes.new):
                raise TokenInvalid("it was answered meanwhile", expired=True)
            if writes.add is not None:
                inviting.add(tx, writes.add)

        if not said:
            self.put(row, writes.new)
            return []
        events = runtime.writer.append(row.tenant, subject, said, facts=facts, then=claim)
        self.kit._recorded(subject, row.tenant, events)
        return events

    def put(self, row: Row, new: Row) -> None:
        if not self.runtime.database.write(lambda tx: inviting.swap(tx, row, new)):
            raise TokenInvalid("it was answered meanwhile", expired=True)

    # ------------------------------------------------------------ what is known

    def items_of(self, row: Row) -> list[str]:
        """The items of an invitation that the catalogue still has."""
        catalog = self.runtime.catalog
        return [item for item in row.body.items if item in catalog.purposes or item in catalog.policies]

    def standing_yes(self, row: Row, subject: str) -> frozenset[str]:
        """Items to which this guardian's earlier yes is still good."""
        now_us, rules = self.runtime.clock.now(), self.runtime.rules().rules
        return frozenset(
            item
            for item, said in self.own(row, subject).items()
            if said.grants
            and said.version >= rules[item].floor
            and (said.expires_us is None or said.expires_us > now_us)
        )

    def own(self, row: Row, subject: str) -> dict[str, Said]:
        """This guardian's last answers by item."""
        actor, rules = f"guardian:{row.body.number}", self.runtime.rules().rules
        state = self.runtime.reader.state(row.tenant, subject)
        return {r.item: r for r in state.rows if r.actor == actor and r.item in rules and not r.scope}

    def _check_shown(self, item: str, digest: str) -> None:
        """Raise NoticeOutdated where no language of the page shows this text today."""
        locales = self.runtime.catalog.locales
        if digest not in {self.shown(item, locale) for locale in locales}:
            raise NoticeOutdated(
                f"{item!r} is shown with another text now", current=self.shown(item, locales[0])
            )

    def subject_of(self, row: Row) -> str:
        found = self.runtime.database.read(lambda tx: inviting.subject_of(tx, row.bucket, row.subject_key))
        if found is None:
            raise TokenInvalid("the child's data were erased")
        return found[0]


def _about(row: Row) -> Extra:
    return (("invitation", row.invitation), ("verification", row.body.method))
