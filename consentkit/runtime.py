"""What a kit needs at run time: one catalogue, one database, one clock; opened at first use."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypedDict, Unpack

from sqlalchemy import Engine

from consentkit.core.catalog import Catalog
from consentkit.core.catalog_rules import canonical
from consentkit.core.catalog_stored import restored
from consentkit.core.errors import CatalogError, StoreUnavailable
from consentkit.core.notice import Notice, category_notice, digest, notice_of, purpose_notice, revision_of
from consentkit.core.published import Published
from consentkit.core.rulebook import Rulebook, rulebook
from consentkit.core.webhooks import Webhooks
from consentkit.logs import log
from consentkit.store import publishing, schema
from consentkit.store.clock import Clock
from consentkit.store.database import Database
from consentkit.store.engines import own_engine, sqlite_folder
from consentkit.store.journal import JOURNAL_FILE, Journal
from consentkit.store.keys import Keyed, load_key
from consentkit.store.ledger import LedgerWriter
from consentkit.store.log_keys import LogKeys, load_log_keys
from consentkit.store.outbox import register, retire
from consentkit.store.reading import LedgerReader
from consentkit.store.restoring import Lost, begin_new_log
from consentkit.store.sealing import Progress, Sealed, Sealer

_PAST_BOOKS = 64


class Keys(TypedDict, total=False):
    """Secrets and how to begin: see `config.Settings`, and `prepare` of Runtime."""

    key: str | bytes | None
    log_key: str | None
    log_anchor: str | None
    erasure_journal: str | None
    webhooks: Webhooks
    prepare: bool


class Runtime:
    """A catalogue at work on a database.

    `prepare`: make tables and publish by itself (embedded SQLite, `consentkit.open` on a SQLite URL);
    elsewhere an unpublished catalogue or a missing table refuses to work and names the command.
    """

    def __init__(
        self,
        catalog: Catalog,
        database: Database,
        *,
        key: str | bytes | None = None,
        log_key: str | None = None,
        log_anchor: str | None = None,
        erasure_journal: str | None = None,
        webhooks: Webhooks | None = None,
        prepare: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.catalog, self.database = catalog, database
        self.clock = clock or Clock()
        self._key, self._log, self._prepare = key, (log_key, log_anchor), prepare
        self._journal = erasure_journal
        self.webhooks = webhooks or Webhooks()
        self._lock = threading.RLock()
        self._ready = False
        self._published = Published()
        self._rulebook: Rulebook | None = None
        self._past: dict[tuple[int, str | None], Rulebook] = {}
        self._catalogues: list[tuple[int, str]] = []
        self._notices: dict[str, Notice] = {}

    @classmethod
    def of_url(cls, catalog: Catalog, url: str, **keys: Unpack[Keys]) -> Runtime:
        """On a database of our own, named by URL. Raises ConsentKitError for one that is not supported."""
        engine = own_engine(url)
        return cls(catalog, Database(lambda: engine, owned=True), **keys)

    @classmethod
    def of_engine(cls, catalog: Catalog, engine: Callable[[], Engine], **keys: Unpack[Keys]) -> Runtime:
        """On the host's engine, asked for at each use."""
        return cls(catalog, Database(engine, owned=False), **keys)

    @cached_property
    def keyed(self) -> Keyed:
        """What is keyed with CONSENTKIT_KEY."""
        return load_key(self._key, self.folder)

    @property
    def folder(self) -> Path | None:
        """The folder of a SQLite database."""
        return sqlite_folder(self.database.engine)

    @cached_property
    def writer(self) -> LedgerWriter:
        """Appends."""
        return LedgerWriter(self.database, self.keyed, self.clock)

    @cached_property
    def reader(self) -> LedgerReader:
        """Reads."""
        return LedgerReader(self.database, self.keyed)

    @cached_property
    def log_keys(self) -> LogKeys:
        """Who signs and verifies checkpoints. Raises ConsentKitError."""
        return load_log_keys(*self._log, self.folder)

    @cached_property
    def journal(self) -> Journal | None:
        """Where erasures are written down outside the database; None where no place is set."""
        path = self._journal or (self.folder / JOURNAL_FILE if self.folder else None)
        return Journal(Path(path)) if path else None

    def seal(self, progress: Progress | None = None) -> Sealed:
        """Seal what is pending. Raises LedgerBroken, StoreUnavailable, ConsentKitError."""
        self.ensure()
        return Sealer(self.database, self.keyed, self.log_keys, self.clock).seal(progress)

    def begin_new_log(self) -> list[Lost]:
        """After a restore that cannot be made whole: go on under a new origin, the loss on record."""
        self.ensure()
        lost = begin_new_log(self.writer, self.log_keys)
        self.seal()
        return lost

    def upgrade(self) -> tuple[int, ...]:
        """Make or upgrade the tables; returns the steps that were applied."""
        with self.database.connection() as connection:
            return schema.upgrade(connection, self.clock.now())

    def publish(self) -> list[publishing.Step]:
        """Store texts and catalogue. Raises CatalogError when a published text or version was changed."""
        steps = self._publish()
        if steps:
            log(logging.INFO, "published", "published %(count)d changes of the catalogue", count=len(steps))
        with self._lock:
            self._ready, self._rulebook = False, None
        return steps

    def _publish(self) -> list[publishing.Step]:
        """Parties with a webhook are told of what is recorded from now on, so they are entered first."""
        told = [party.key for party in self.catalog.parties.values() if party.webhook]
        self.database.write(lambda tx: register(tx, told))
        steps = publishing.publish(self.catalog, self.database, self.clock.now())
        self.database.write(lambda tx: retire(tx, told))
        return steps

    def plan(self) -> list[publishing.Step]:
        """What `publish` would change."""
        now_us = self.clock.now()
        return self.database.read(
            lambda tx: publishing.plan(self.catalog, publishing.read_published(tx), now_us)
        )

    def ensure(self) -> None:
        """Open the database at first use. Raises StoreUnavailable, SchemaOutdated, CatalogError."""
        if not self._ready:
            with self._lock:
                if not self._ready:
                    self._open()

    def _open(self) -> None:
        if self._prepare:
            self._make_folder()
        with self.database.connection(write=False) as connection:
            have = schema.installed(connection)
        if self._prepare and have < schema.VERSION:
            self.upgrade()
        else:
            schema.check(have)
        _ = self.keyed
        if self._prepare and not self.database.read(lambda tx: publishing.is_published(self.catalog, tx)):
            self._publish()
        if not self.database.read(lambda tx: publishing.is_published(self.catalog, tx)):
            raise StoreUnavailable("this catalogue is not published: run `flask consent publish`")
        self._published = self.database.read(publishing.read_published)
        self._rulebook = rulebook(self.catalog, self._published, self.clock.now())
        self._ready = True

    def _make_folder(self) -> None:
        name = self.database.engine.url.database
        if self.database.engine.dialect.name == "sqlite" and name:
            try:
                Path(name).resolve().parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"the folder of {name} cannot be made: {error.strerror}") from error

    @property
    def published(self) -> Published:
        """The versions by which answers are judged."""
        self.ensure()
        return self._published

    def rules(self) -> Rulebook:
        """The rules now."""
        self.ensure()
        now, book, published = self.clock.now(), self._rulebook, self._published
        if book is None or book.published is not published or not book.holds(now):
            book = self._rulebook = rulebook(self.catalog, published, now)
        return book

    def past_rules(self, at_us: int, key: str) -> Rulebook:
        """The rules of a past moment for a key: by the catalogue of then, or by today's if that had no such key."""
        self.ensure()
        book = self._past_book(at_us, self._catalogue_at(at_us))
        return book if book.knows(key) else self._past_book(at_us, None)

    def _catalogue_at(self, at_us: int) -> str:
        """The digest of the catalogue that was published last at a moment; the one at work, from the last one on."""
        if not self._catalogues:
            self._catalogues = self.database.read(publishing.catalogues)
        places = [stored_us for stored_us, _ in self._catalogues]
        place = max(bisect_right(places, at_us), 1)
        return self._digest if place == len(places) else self._catalogues[place - 1][1]

    def _past_book(self, at_us: int, catalogue: str | None) -> Rulebook:
        """The same rules for every moment between two changes of versions, so they are made once.

        Of a catalogue by its digest; None: of today's, with the versions of then.
        """
        published = self._published
        place = (bisect_right(published.changes_us, at_us), catalogue)
        book = self._past.get(place)
        if book is None or book.published is not published:
            if len(self._past) >= _PAST_BOOKS:
                self._past.clear()
            catalog = self.catalog if catalogue in (None, self._digest) else self._restored(str(catalogue))
            book = rulebook(catalog, published, at_us, past=catalogue is None)
            self._past[place] = book
        return book

    @cached_property
    def _digest(self) -> str:
        return digest(canonical(self.catalog))

    def _restored(self, name: str) -> Catalog:
        found = self.database.read(lambda tx: publishing.read_document(tx, name))
        try:
            if found is None or digest(found[1]) != name:
                raise ValueError("it was changed")
            return restored(found[1])
        except (CatalogError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise StoreUnavailable(f"the catalogue {name} cannot be read: {error}") from error

    def notice(self, locale: str | None = None) -> Notice:
        """What the banner shows in a locale; one that the site does not have is the default one."""
        wanted = locale if locale in self.catalog.locales else self.catalog.site.default_locale
        if wanted not in self._notices:
            self._notices[wanted] = notice_of(self.catalog, wanted)
        return self._notices[wanted]

    def purpose_notice(self, key: str, locale: str | None = None) -> Notice:
        """What is shown where one purpose, or a category's switch, is asked by itself. Raises UnknownPurpose."""
        wanted = locale if locale in self.catalog.locales else self.catalog.site.default_locale
        known = f"{key} {wanted}"
        if known not in self._notices:
            category = self.catalog.categories.get(key)
            if category is not None:
                self._notices[known] = category_notice(self.catalog, category, wanted)
            else:
                self._notices[known] = purpose_notice(self.catalog, self.catalog.purpose(key), wanted)
        return self._notices[known]

    @cached_property
    def revision(self) -> str:
        """Eight hex digits: the banner asks again when they change."""
        return revision_of(self.catalog)

    def dispose(self) -> None:
        """Close idle connections of our own engine, so that none is shared with a forked child."""
        self.database.dispose()
