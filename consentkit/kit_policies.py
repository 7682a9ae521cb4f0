"""Verbs and questions about policies: accept, decline, what was shown to whom, what has to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Unpack

from consentkit.core.acceptance import (
    Past,
    accepting,
    continuable,
    continues,
    declining,
    methods,
    text_locale,
)
from consentkit.core.announcing import Announcement, announcements
from consentkit.core.choices import Manner, say
from consentkit.core.errors import ChoiceRejected
from consentkit.core.folding import fold
from consentkit.core.ids import check_subject
from consentkit.core.published import PolicyRelease
from consentkit.core.record import Answer, Event
from consentkit.core.terms import DENIALS, Action, Kind, Method
from consentkit.core.times import to_us
from consentkit.kit_ledger import Ledger
from consentkit.kit_record import How, Recorder, refuse_visitor
from consentkit.store.notifying import record_once, to_tell


class PolicyVerbs(Recorder):
    """Policies are accepted, not consented to: a contract or a notice, in one version and language."""

    def accept(self, subject: str, policy: str, **how: Unpack[How]) -> list[Event]:
        """Record the acceptance of a policy, or of each policy of a bundle.

        Without `notice=` the digest of the current text in `locale=` is recorded. The digest of a version that
        is announced accepts that one early. Raises NoticeOutdated, ChoiceRejected (also for an act that the
        version, or a version since the last acceptance, does not allow), UnknownPolicy, StoreUnavailable,
        ValueError.
        """
        refuse_visitor(subject)
        runtime, past = self.runtime, self._past(subject, how)
        return self._say(
            subject, lambda m: accepting(runtime.catalog, runtime.published, policy, m, past), how
        )

    def accept_shown(self, subject: str, shown: Mapping[str, str], **how: Unpack[How]) -> list[Event]:
        """Accept policies in one act, each by the digest of the text that was shown: the page's verb.

        Raises what `accept` raises; then nothing is recorded.
        """
        past = self._past(subject, how)

        def answers(manner: Manner) -> list[Answer]:
            catalog, published = self.runtime.catalog, self.runtime.published
            acts = (
                accepting(catalog, published, key, replace(manner, notice=digest), past)
                for key, digest in shown.items()
            )
            return [answer for act in acts for answer in act]

        return self._say(subject, answers, how)

    def decline(self, subject: str, policy: str, **how: Unpack[How]) -> list[Event]:
        """Record that a policy was declined: an answer like any other."""
        return self._say(
            subject, lambda m: declining(self.runtime.catalog, self.runtime.published, policy, m), how
        )

    def acceptance_methods(
        self, subject: str | None, release: PolicyRelease, *, tenant: str | None = None
    ) -> tuple[str, ...]:
        """By which acts a subject (None: somebody new) may accept a version, given what was accepted before."""
        past = self._past(subject, {"tenant": tenant}) if subject is not None else Past()
        return methods(self.runtime.published, release, past)

    def announcements(self, subject: str | None, *, tenant: str | None = None) -> tuple[Announcement, ...]:
        """What has to be shown to a subject (None: to somebody without identity). Raises StoreUnavailable."""
        runtime = self.runtime
        runtime.ensure()
        rows = runtime.reader.state(tenant or "", subject).rows if subject is not None else ()
        return announcements(runtime.catalog, runtime.published, rows, runtime.clock.now())

    def notified(
        self, subject: str, key: str, *, version: str | None = None, **how: Unpack[How]
    ) -> list[Event]:
        """Record that the notice of a version, or an announcement, was really shown: once per subject and version.

        Without `version=`: the newest one. An empty list: it was recorded before.
        Raises UnknownPolicy, ChoiceRejected for an unknown version, StoreUnavailable, ValueError.
        """
        check_subject(subject, how.get("tenant"))
        self.runtime.ensure()
        manner = Manner(
            self.runtime.clock.now(), method=str(how.get("method", "code")), locale=how.get("locale")
        )
        manner.check()
        return self._once(subject, self._notice_of(key, version, manner), how.get("tenant") or "")

    def acknowledge(
        self, subject: str, key: str, *, version: str | None = None, **how: Unpack[How]
    ) -> list[Event]:
        """Record that a subject has seen an announcement or a coming version: it is not shown again.

        Without `version=`: the newest. Raises UnknownPolicy, ChoiceRejected, StoreUnavailable, ValueError.
        """

        def answers(manner: Manner) -> list[Answer]:
            shown = self._notice_of(key, version, manner)
            return [replace(shown, kind=Kind.ANNOUNCEMENT, action=Action.ACCEPTED)]

        return self._say(subject, answers, how)

    def announce(self, key: str, subjects: Iterable[str], *, tenant: str | None = None) -> int:
        """Address an announcement to a selection of subjects (`audience = "selected"`). Streams.

        How many were not addressed before. Raises UnknownPolicy, ChoiceRejected for what is no such
        announcement, StoreUnavailable, ValueError.
        """
        policy = self.runtime.catalog.policy(key)
        if policy.kind != "announcement" or policy.audience != "selected":
            raise ChoiceRejected(
                f'{key!r} is not an announcement to a selection: write kind = "announcement" and '
                f'audience = "selected" under [policies.{key}]'
            )
        count = 0
        for subject in subjects:
            check_subject(subject, tenant)
            manner = Manner(self.runtime.clock.now(), actor="operator", method=Method.CODE.value)
            addressed = replace(self._notice_of(key, None, manner), action=Action.REQUESTED)
            count += len(self._once(subject, addressed, tenant or ""))
        return count

    def continue_use(self, subject: str, *, tenant: str | None = None) -> list[Event]:
        """The subject goes on using the service: accept every policy whose version in force allows it so.

        Only where the change was shown to this subject before its date (see `notified`). Never for a purpose.
        """
        runtime, how = self.runtime, How(method=Method.CONTINUED_USE.value, tenant=tenant)
        past, now_us = self._past(subject, {"tenant": tenant}), runtime.clock.now()
        if not any(continuable(runtime.published, key, past, now_us) for key in runtime.catalog.policies):
            return []
        past = self._past(subject, how)

        def answers(manner: Manner) -> list[Answer]:
            catalog, published = runtime.catalog, runtime.published
            keys = [key for key in catalog.policies if continues(published, key, past, manner.at_us)]
            return [answer for key in keys for answer in accepting(catalog, published, key, manner, past)]

        return self._say(subject, answers, how)

    def to_tell(self, policy: str, *, tenant: str | None = None) -> Iterator[str]:
        """Accounts to be told of the newest version of a policy, and not told yet. Streams. Raises UnknownPolicy.

        Of editorial versions nobody is told, only of the one before them. Of a policy those who accepted an
        earlier version; of an announcement everybody, or the selection.
        """
        found = self.runtime.catalog.policy(policy)
        news = self.runtime.published.latest_news(policy)
        return to_tell(self.runtime.database, tenant or "", found, news)

    def _once(self, subject: str, answer: Answer, tenant: str) -> list[Event]:
        events = record_once(self.runtime.writer, tenant, subject, [answer])
        self._recorded(subject, tenant, events)
        return events

    def _notice_of(self, key: str, version: str | None, how: Manner) -> Answer:
        """The `notified` answer about a version: the named one, else the newest."""
        policy = self.runtime.catalog.policy(key)
        releases = self.runtime.published.policies[key]
        release = (
            releases[-1] if version is None else next((r for r in releases if r.version == version), None)
        )
        if release is None:
            raise ChoiceRejected(f"policy {key!r} has no published version {version!r}")
        kind = Kind.ANNOUNCEMENT if policy.kind == "announcement" else Kind.POLICY
        locale = text_locale(self.runtime.catalog, release, replace(how, notice=None))
        shown = replace(how, locale=locale, notice=release.texts[locale])
        return say(shown, kind, key, Action.NOTIFIED, release.version, release.ordinal)

    def _past(self, subject: str, how: How) -> Past:
        """What the subject accepted; what was shown to it only where that matters."""
        check_subject(subject, how.get("tenant"))
        self.runtime.ensure()
        tenant, actor = how.get("tenant") or "", how.get("actor", "subject")
        state = self.runtime.reader.state(tenant, subject)
        if state.facts.erased_us is not None:
            return Past()
        about = [row for row in state.rows if row.kind == Kind.POLICY]
        own = {row.item: row for row in about if row.actor == actor}
        accepted = {key: row.version for key, row in own.items() if row.grants}
        denied = {r.item for r in about if r.status in DENIALS and r.order >= own.get(r.item, r).order}
        if any(key not in accepted for key in own):
            accepted = self._accepted(subject, tenant, actor) | accepted
        if how.get("method") != Method.CONTINUED_USE:
            return Past(accepted, {}, frozenset(denied))
        shown: dict[tuple[str, str], int] = {}
        for event in self._said(subject, tenant, Action.NOTIFIED):
            if event.version is not None:
                shown.setdefault((event.item, event.version), to_us(event.effective_at))
        return Past(accepted, shown, frozenset(denied))

    def _accepted(self, subject: str, tenant: str, actor: str) -> dict[str, int]:
        """What an actor accepted last, whatever was said after it."""
        events = self._said(subject, tenant, Action.ACCEPTED)
        rows = fold(e.body for e in events if e.kind == Kind.POLICY and e.actor == actor)
        return {row.item: row.version for row in rows.values()}

    def _said(self, subject: str, tenant: str, action: Action) -> list[Event]:
        events = Ledger(self.runtime).events(subject=subject, tenant=tenant, action=action.value)
        return [event for event in events if isinstance(event, Event)]
