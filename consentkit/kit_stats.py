"""Figures for the operator: how many said what. Counts of rows, not decisions: for those see audiences."""

from __future__ import annotations

from typing import Any

from consentkit.core.terms import Kind
from consentkit.kit_read import Answers
from consentkit.store.statistics import Tally, count_answers, count_subjects


class Statistics(Answers):
    """What an operator wants to see at a glance."""

    def stats(self, *, tenant: str | None = None) -> dict[str, Any]:
        """How many subjects the ledger knows, and how many last answers say the same, ready for JSON.

        `subjects`: `accounts`, `visitors`, `erased`. `answers`: a list of `kind`, `item`, `version`, `status`,
        `actor` (subject, guardian, operator, browser, invitation) and `count`, of subjects who are not erased. It
        reads every last answer of the tenant: for a report, not for a page. Raises StoreUnavailable, ValueError.
        """
        if tenant is not None and not isinstance(tenant, str):
            raise ValueError("tenant: give the name of the tenant as text, or None")
        self.runtime.ensure()
        read, named = self.runtime.database.read, tenant or ""
        answers = read(lambda tx: count_answers(tx, named))
        return {
            "subjects": read(lambda tx: count_subjects(tx, named)),
            "answers": [self._counted(tally) for tally in answers],
        }

    def _counted(self, tally: Tally) -> dict[str, Any]:
        said = {"kind": tally.kind, "item": tally.item, "version": self._version(tally)}
        return {**said, "status": tally.status, "actor": tally.actor, "count": tally.answers}

    def _version(self, tally: Tally) -> str | None:
        if tally.kind == Kind.PURPOSE:
            return str(tally.version)
        releases = self.runtime.published.policies.get(tally.item, ())
        return next((release.version for release in releases if release.ordinal == tally.version), None)
