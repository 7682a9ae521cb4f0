"""Audiences: who may be processed now, as SQL for a mailing of a million or for a query of the host's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from consentkit.core.criteria import Criteria
from consentkit.core.crowds import Asked, crowds
from consentkit.core.errors import ConsentKitError
from consentkit.core.ids import check_subject, check_tenant
from consentkit.core.rulebook import Rulebook
from consentkit.kit_facts import placed
from consentkit.kit_read import Answers
from consentkit.runtime import Runtime
from consentkit.signals import audience_read, tell
from consentkit.store import audience as store
from consentkit.store.crowds import Question

Ids = store.Ids
_CHUNK = 500
_KEPT_AT_MOST = 64
"""Scopes are as many as there are comments or devices."""


class Audiences(Answers):
    """The gate's answer for everybody at once. Nothing here is decided anew: `core.audience` follows the gate."""

    def audience(
        self, item: str, *, tenant: str | None = None, scope: str = "", among: sa.Select[Any] | None = None
    ) -> Ids:
        """The ids of the subjects that may be processed, as a SELECT of one column `subject`.

        Of every account that the ledger knows; visitors are left out. `among`: of these ids only, a SELECT of one
        column in the same database. Where somebody who was never asked is allowed it has to be given. The moment is
        that of execution. Raises UnknownPurpose, ConsentKitError, StoreUnavailable, ValueError.
        """
        question, stranger = self._question(self._told(item, tenant, scope), item, tenant, scope)
        ids = None if among is None else self._ids(question, among)
        if ids is None and stranger is not None:
            raise ConsentKitError(
                f"{item!r} is allowed for people whom the ledger has never seen, so it cannot list them: "
                "say among whom, audience(…, among=select(User.id))"
            )
        known = store.audience(question, ids)
        if ids is None or stranger is None:
            return known
        unknown = store.strangers(question, ids, lambda each: self._unseen(question, stranger, each, ids))
        return sa.select(sa.union_all(known, unknown).subquery().c[0].label("subject"))

    def allowed(
        self, item: str, subject: Any, *, tenant: str | None = None, scope: str = ""
    ) -> sa.ColumnElement[bool]:
        """The condition, for a query of the host's in the ledger's database, that a subject may be processed.

        `subject`: the column that holds the id, such as `User.id`. The moment is that of execution. Raises
        UnknownPurpose, StoreUnavailable, ValueError.
        """
        question, stranger, answer = self._answer(self._told(item, tenant, scope), item, tenant, scope)
        candidate = self._text(question, subject)
        unseen = self._unseen(question, stranger, candidate, sa.select(candidate))
        return store.allowed(question, answer, candidate, unseen)

    def audience_ids(
        self, item: str, *, tenant: str | None = None, scope: str = "", among: Iterable[str] | None = None
    ) -> Iterator[str]:
        """The ids of the subjects that may be processed. Streams: in whatever order, in little memory.

        `among`: of these ids only, in their order; each is put to the gate itself. Raises UnknownPurpose,
        ConsentKitError, ValueError, and StoreUnavailable, also in the middle: then the list is not complete.
        """
        if isinstance(among, str):
            raise ValueError("among= is a list or another iterable of ids, not one text")
        check_tenant(tenant)
        self.runtime.catalog.items_of(item)
        if among is not None:
            tell(audience_read, self.sender, asked=item, tenant=tenant or "", scope=scope)
            return self._each(item, tenant or "", scope, iter(among))
        return store.stream(self.runtime.database, self.audience(item, tenant=tenant, scope=scope))

    def _each(self, item: str, tenant: str, scope: str, among: Iterator[str]) -> Iterator[str]:
        while chunk := list(islice(among, _CHUNK)):
            for subject in chunk:
                check_subject(subject)
            rules, states = self.runtime.rules(), self.runtime.reader.states(tenant, chunk)
            for subject in chunk:
                asked = (rules, item, subject, states[subject])
                if self.answer(*asked, tenant=tenant, scope=scope, exceptions=False).allowed:
                    yield subject

    def _told(self, item: str, tenant: str | None, scope: str) -> Rulebook:
        """The rules to go by, after whoever listens has been told of the question."""
        check_tenant(tenant)
        book = self.runtime.rules()
        tell(audience_read, self.sender, asked=item, tenant=tenant, scope=scope)
        return book

    def _answer(
        self, book: Rulebook, item: str, tenant: str | None, scope: str
    ) -> tuple[Question, Criteria | None, store.Answer]:
        """The answer for any column. Kept with its rules: writing it takes longer than the database to give it."""
        book.asked(item)
        loaders = (self.facts.age is None, self.facts.jurisdiction is None)
        key = ("allowed", item, tenant, scope, *loaders)
        found: tuple[Question, Criteria | None, store.Answer] | None = book.kept.get(key)
        if found is None:
            question, stranger = self._question(book, item, tenant, scope)
            found = question, stranger, store.answer(question)
            if len(book.kept) >= _KEPT_AT_MOST:
                book.kept.clear()
            book.kept[key] = found
        return found

    def _question(
        self, book: Rulebook, item: str, tenant: str | None, scope: str
    ) -> tuple[Question, Criteria | None]:
        """What is asked; and what of those whom the ledger does not know, where they are allowed."""
        runtime, catalog = self.runtime, self.runtime.catalog
        rules, minors = book.asked(item), self.facts.rules(catalog)
        default = None if tenant or self.facts.jurisdiction is not None else catalog.site.default_jurisdiction
        ask_age = self.facts.age is not None and not tenant
        found = crowds(
            Asked(rules, book, minors, default, ask_age),
            lambda facts, now_us: placed(catalog, facts, default, now_us) if default else facts,
        )
        nobody = not rules and item != "necessary"
        question = Question(
            tenant or "",
            scope,
            () if nobody else found,
            runtime.database.postgresql,
            runtime.clock.now,
            lambda about: runtime.rules().rules[about.key].floor,
        )
        stranger = next(crowd for crowd in found if crowd.nowhere).of_unknown_age
        return question, stranger if stranger is not None and stranger.silent and not nobody else None

    def _unseen(
        self, question: Question, stranger: Criteria | None, candidate: Any, ids: Ids
    ) -> sa.ColumnElement[bool]:
        """What holds of an id that the ledger does not know: it may be hidden there after an erasure."""
        if stranger is None:
            return sa.false()
        if not stranger.alive:
            return candidate.is_not(None)  # type: ignore[no-any-return]
        runtime = self.runtime
        return store.none_of(question, candidate, lambda: _erased(runtime, question, ids))

    def _ids(self, question: Question, among: sa.Select[Any]) -> Ids:
        if not isinstance(among, sa.SelectBase):
            raise ValueError("among= is a SELECT; for ids at hand there is audience_ids(…, among=…)")
        columns = list(among.selected_columns)
        if len(columns) != 1:
            raise ValueError(f"among= selects {len(columns)} columns: select the one with the ids")
        return sa.select(self._text(question, among.subquery().c[0]).label("subject"))

    @staticmethod
    def _text(question: Question, column: Any) -> Any:
        """The id as the ledger knows it. Raises ValueError where the database would write another text."""
        kind = getattr(column, "type", None)
        if not isinstance(kind, TypeEngine):
            raise ValueError(f"{column!r} is no column: give the one with the ids, such as User.id")
        text = isinstance(kind, (sa.String, sa.Integer)) and not isinstance(kind, sa.Enum)
        if not text and not (isinstance(kind, sa.Uuid) and question.postgresql and kind.native_uuid):
            raise ValueError(
                f"the ids are of type {kind!r}: give an expression of type String with the very text that "
                "the ledger was given"
            )
        return store.exact(question, column)


def _erased(runtime: Runtime, question: Question, ids: Ids) -> list[str]:
    """Those of some ids that are hidden in the ledger after an erasure: only the key tells which.

    And whoever is about to be hidden: a purge may do it before the statement is executed for which this is asked.
    """
    database, tenant = runtime.database, question.tenant
    soon = list(store.stream(database, store.to_hide(question)))
    hidden = set(store.stream(database, store.hidden(question)))
    if not hidden:
        return soon
    unknown = store.stream(database, store.strangers(question, ids, lambda each: sa.true()))
    return soon + [each for each in unknown if runtime.keyed.hidden_subject(tenant, each) in hidden]
