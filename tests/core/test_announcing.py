"""What has to be shown to whom, until it is acknowledged."""

from __future__ import annotations

from consentkit.core.announcing import announcements
from consentkit.core.catalog import Catalog, Policy, PolicyVersion
from consentkit.core.catalog_rules import build
from consentkit.core.published import PolicyRelease, Published
from consentkit.core.terms import Change
from consentkit.core.view import Row

CHANGES = ("material", "editorial", "material", "reduces_rights")
VERSIONS = [
    PolicyVersion(str(n), Change(c), texts={"en": "x"}, summary=f"new {n}") for n, c in enumerate(CHANGES, 1)
]


def catalog(audience: str = "all", versions: int = 4) -> Catalog:
    return build(
        policies=[
            Policy("terms", title="Terms", versions=VERSIONS[:versions]),
            Policy("moving", title="We move", versions=VERSIONS[:2], kind="announcement", audience=audience),
        ]
    )


def releases(key: str, count: int, start: int = 100) -> tuple[PolicyRelease, ...]:
    return tuple(
        PolicyRelease(key, str(n), n, Change(c), start * n, 1, ("tick",), {"en": "0" * 64})
        for n, c in enumerate(CHANGES[:count], start=1)
    )


KNOWN = Published({"terms": releases("terms", 4), "moving": releases("moving", 2, 1000)})


def row(kind: str, item: str, status: str, version: int, actor: str = "subject") -> Row:
    return Row(kind, item, "", actor, status, version, 0, 1, None, "e")


def shown(at: int, *rows: Row, audience: str = "all", versions: int = 4) -> list[tuple[str, str, object]]:
    found = announcements(catalog(audience, versions), KNOWN, rows, at)
    return [(a.key, a.version, a.summary) for a in found]


def test_coming_versions_are_announced_but_for_editorial_ones() -> None:
    assert shown(0) == [("terms", "3", "new 3"), ("terms", "4", "new 4")]
    assert shown(150) == [("terms", "3", "new 3"), ("terms", "4", "new 4")]
    assert shown(300) == [("terms", "4", "new 4")]
    assert shown(400) == []


def test_what_was_seen_or_accepted_ahead_is_not_shown_again() -> None:
    seen, ahead = row("announcement", "terms", "accepted", 3), row("policy", "terms", "accepted", 3)
    assert shown(150, seen) == shown(150, ahead) == [("terms", "4", "new 4")]
    assert len(shown(150, row("policy", "terms", "accepted", 1))) == 2
    assert len(shown(150, row("policy", "terms", "declined", 4))) == 2
    assert len(shown(150, row("announcement", "other", "accepted", 4))) == 2
    assert len(shown(150, row("policy", "terms", "accepted", 4, actor="guardian:1"))) == 2


def test_an_announcement_is_shown_from_its_date() -> None:
    assert shown(999) == []
    assert shown(1000) == [("moving", "1", "new 1")]
    assert shown(2000) == [("moving", "2", "new 2")]
    assert shown(1000, row("announcement", "moving", "accepted", 1)) == []
    assert shown(2000, row("announcement", "moving", "accepted", 1)) == [("moving", "2", "new 2")]


def test_an_announcement_to_a_selection() -> None:
    invited = row("announcement", "moving", "requested", 1, actor="invitation")
    assert shown(1000, audience="selected") == []
    assert shown(1000, invited, audience="selected") == [("moving", "1", "new 1")]
    assert shown(1000, row("policy", "moving", "requested", 1, "invitation"), audience="selected") == []


def test_a_version_that_a_newer_process_published() -> None:
    assert shown(300, versions=2) == [("terms", "4", "")]
    assert announcements(build(), KNOWN, (), 0) == ()
    unpublished = Published()
    assert announcements(catalog(), unpublished, (), 0) == ()
