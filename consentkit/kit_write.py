"""The verbs: what a person, a guardian or the operator says becomes events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Unpack

from consentkit.core.choices import (
    Manner,
    denying,
    giving,
    is_objection,
    lifting,
    objecting,
    restricting,
    say,
)
from consentkit.core.ids import check_subject
from consentkit.core.record import Answer, Event
from consentkit.core.terms import SIGNALS, Action, Kind, Method
from consentkit.core.times import not_ahead, to_us
from consentkit.kit_policies import PolicyVerbs
from consentkit.kit_record import How, Keys, keys_of, refuse_visitor
from consentkit.kit_sweep import SweepVerbs
from consentkit.store.signalling import record_signal


class Verbs(SweepVerbs, PolicyVerbs):
    """Recording verbs. Each is one transaction: all of its events, or none."""

    def give(self, subject: str, items: Keys, *, renew: bool = False, **how: Unpack[How]) -> list[Event]:
        """Record consent to purposes or categories: `given`, with `renew` `renewed` (GDPR 6(1)(a), 7).

        Raises ChoiceRejected, SeparateConsentNeeded, GuardianNeeded, UnknownPurpose, StoreUnavailable,
        ValueError.
        """
        refuse_visitor(subject)
        return self._say(subject, lambda m: giving(self.runtime.catalog, keys_of(items), m, renew=renew), how)

    def refuse(self, subject: str, items: Keys, **how: Unpack[How]) -> list[Event]:
        """Record a refusal. Never rejected, whatever came before."""
        return self._say(
            subject, lambda m: denying(self.runtime.catalog, keys_of(items), m, Action.REFUSED), how
        )

    def withdraw(self, subject: str, items: Keys, **how: Unpack[How]) -> list[Event]:
        """Record a withdrawal (GDPR 7(3)); by another actor than the subject `revoked`. Never rejected."""
        return self._say(
            subject, lambda m: denying(self.runtime.catalog, keys_of(items), m, Action.WITHDRAWN), how
        )

    def choose(
        self,
        subject: str,
        *,
        give: Sequence[str] = (),
        refuse: Sequence[str] = (),
        withdraw: Sequence[str] = (),
        **how: Unpack[How],
    ) -> list[Event]:
        """Record what a visitor or an account chose in one act: the banner's verb. Keys name purposes.

        Raises what `give` raises; refusals alone are never rejected.
        """

        def answers(manner: Manner) -> list[Answer]:
            catalog = self.runtime.catalog
            separate = [key for key in give if catalog.purpose(key).separate]
            acts = [[key for key in give if key not in separate], *([key] for key in separate)]
            said = [answer for act in acts if act for answer in giving(catalog, _named(act), manner)]
            said += denying(catalog, _named(refuse), manner, Action.REFUSED) if refuse else []
            return said + (denying(catalog, _named(withdraw), manner, Action.WITHDRAWN) if withdraw else [])

        return self._say(subject, answers, how)

    def defer(self, subject: str, items: Keys, **how: Unpack[How]) -> list[Event]:
        """Record that a question was closed without an answer (DPV ConsentRequestDeferred): evidence, no answer."""
        return self._say(
            subject, lambda m: denying(self.runtime.catalog, keys_of(items), m, Action.DEFERRED), how
        )

    def restrict(self, subject: str, **how: Unpack[How]) -> list[Event]:
        """Restrict all processing for a subject (GDPR 18) until `lift`."""
        return self._say(subject, lambda m: restricting(m, Action.RESTRICTED), how)

    def object(self, subject: str, items: Keys = (), **how: Unpack[How]) -> list[Event]:
        """Record an objection (GDPR 21): to these purposes, of whatever basis, or to everything."""
        return self._say(subject, lambda m: objecting(self.runtime.catalog, keys_of(items), m), how)

    def lift(self, subject: str, items: Keys = (), **how: Unpack[How]) -> list[Event]:
        """End a restriction and an objection to everything; with items, the objections to these that this actor made.

        A refusal, a withdrawal and a yes are left alone: where there is no objection nothing is recorded.
        """
        catalog = self.runtime.catalog
        ends = partial(is_objection, catalog) if items else None
        return self._say(subject, lambda m: lifting(catalog, keys_of(items), m), how, ends)

    def signalled(
        self, subject: str, signal: str = "gpc", *, at: datetime | None = None, tenant: str | None = None
    ) -> list[Event]:
        """Record a browser's opt-out signal such as Global Privacy Control (11 CCR 7025(c)), once per subject.

        `at`: when it was seen. It is a no to every purpose with that signal, until a later explicit yes. On
        record already, or erased: an empty list. Raises StoreUnavailable, ValueError.
        """
        check_subject(subject, tenant)
        if signal not in SIGNALS:
            raise ValueError(f"signal {signal!r}: write one of {', '.join(SIGNALS)}")
        self.runtime.ensure()
        now_us = self.runtime.clock.now()
        at_us = None if at is None else not_ahead(to_us(at), now_us)
        manner = Manner(now_us if at_us is None else at_us, "browser", Method.BROWSER_SIGNAL.value)
        facts, said = self._by_law(
            tenant or "", subject, [say(manner, Kind.SIGNAL, signal, Action.OBJECTED)], manner
        )
        runtime = self.runtime
        events = record_signal(
            runtime.writer, runtime.reader, tenant or "", subject, said[0], at_us=at_us, facts=facts
        )
        self._recorded(subject, tenant or "", events)
        return events


def _named(purposes: Sequence[str]) -> list[str]:
    """Keys that mean purposes, also where a category has the same key."""
    return [f"purpose:{key.removeprefix('purpose:')}" for key in purposes]
