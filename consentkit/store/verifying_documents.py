"""Texts, notices and catalogues: each is what its digest says, and what an event names is there."""

# ruff: noqa: S608 - every name is a constant of this package, every value a bind parameter
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from consentkit.core.notice import digest
from consentkit.store.snapshot import Snapshot
from consentkit.store.tables import PREFIX as _P

if TYPE_CHECKING:
    from consentkit.store.verifying import Report


def check_documents(view: Snapshot, report: Report) -> None:
    """Note every stored text that is not the one of its digest, and every published text that is gone."""
    known = set()
    for named, content in view.stream(f"SELECT digest, content FROM {_P}document"):
        known.add(named)
        if digest(content) != named:
            report.changed(f"document {named}", "the text is not the one of its digest")
    for item, version, texts in view.stream(f"SELECT item, version, texts FROM {_P}policy_version"):
        for locale, named in json.loads(texts).items():
            if named not in known:
                where = f"policy {item} {version} ({locale})"
                report.missing(where, "the text of a published version is not there")
