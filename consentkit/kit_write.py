"""The verbs: what a person, a guardian or the operator says becomes events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from consentkit.core.choices import Manner, denying, giving, lifting, restricting
from consentkit.core.gate import OBJECTION
from consentkit.core.record import Answer, Event
from consentkit.core.terms import Action
from consentkit.kit_policies import PolicyVerbs
from consentkit.kit_record import How, Keys, keys_of, refuse_visitor
from consentkit.kit_subject import SubjectVerbs


class Verbs(SubjectVerbs, PolicyVerbs):
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

        def answers(manner: Manner) -> list[Answer]:
            if not items:
                return restricting(manner, Action.OBJECTED, (OBJECTION,))
            catalog = self.runtime.catalog
            keys = [f"purpose:{p.key}" for key in keys_of(items) for p in catalog.every_purpose_of(key)]
            return denying(catalog, keys, manner, Action.OBJECTED)

        return self._say(subject, answers, how)

    def lift(self, subject: str, items: Keys = (), **how: Unpack[How]) -> list[Event]:
        """End a restriction and an objection to everything; with items, the objection to these."""
        return self._say(subject, lambda m: lifting(self.runtime.catalog, keys_of(items), m), how)


def _named(purposes: Sequence[str]) -> list[str]:
    """Keys that mean purposes, also where a category has the same key."""
    return [f"purpose:{key.removeprefix('purpose:')}" for key in purposes]
