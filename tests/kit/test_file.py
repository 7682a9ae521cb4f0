# ruff: noqa: E501 - a case of the table is a line
"""`consent.toml`: what is read, and the one clear error for each way to break it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consentkit.core.catalog import Catalog
from consentkit.core.errors import CatalogError, UnknownPolicy, UnknownPurpose
from consentkit.kit_file import load

HEAD = '[controller]\nname = "A"\ncontact = "a@example.org"\n[site]\nname = "S"\n'
POLICY = '[policies.terms]\ntitle = "T"\n[[policies.terms.versions]]\nversion = "1"\n'
Load = Callable[..., Catalog]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Write a file below the head that every file has, and load it."""

    def write_and_load(text: str, *, head: str = HEAD) -> Catalog:
        (tmp_path / "en.md").write_text("# Terms\n")
        (tmp_path / "consent.toml").write_text(head + text)
        return load(tmp_path / "consent.toml")

    return write_and_load


def test_everything_that_a_file_may_say(read: Load) -> None:
    catalog = read("""
        [categories.lab]
        title = {en = "Lab", de = "Labor"}
        [purposes."marketing.email"]
        title = "Mail"
        version = 2
        category = "lab"
        recipients = ["mailer"]
        cookies = [{name = "_m*", duration = "P1M"}]
        [parties.mailer]
        name = "Mailer"
        [policies.terms]
        title = "Terms"
        required = true
        [[policies.terms.versions]]
        version = "1"
        effective = 2020-01-01
        files = {en = "en.md"}
        [[policies.terms.versions]]
        version = "2"
        change = "editorial"
        effective = 2021-01-01T10:00:00+02:00
        files = {en = "en.md"}
        [bundles.all]
        policies = ["terms"]
        [minors]
        age = 14
        """)
    purpose = catalog.purpose("marketing.email")
    assert (purpose.version, purpose.cookies[0].name, purpose.valid_for) == (2, "_m*", "P6M")
    first, second = catalog.policy("terms").versions
    assert first.effective == datetime(2020, 1, 1, tzinfo=UTC)
    assert second.effective == datetime(2021, 1, 1, 8, tzinfo=UTC)
    assert first.texts == {"en": "# Terms\n"}
    assert catalog.minors is not None
    assert catalog.minors.age == 14
    assert [p.key for p in catalog.policies_of("all")] == ["terms"]


def test_nothing_but_the_head_is_a_catalogue(read: Load) -> None:
    assert not read("").purposes


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert load(tmp_path / "c.toml").site.name == "S"


BROKEN = {
    "no controller": ('[site]\nname = "S"', "controller", "Add controller to the file"),
    "no contact": ('[controller]\nname="A"\n[site]\nname="S"', "controller.contact", "Add contact to [controller]"),
    "syntax": ("[purposes", "", "Mend that line"),
    "twice": ('[purposes.x]\ntitle="x"\n[purposes.x]\ntitle="x"', "", "Mend that line"),
    "too deep": ("a = " + "[" * 20_000, "", "levels"),
    "a dotted key as a nested table": (
        '[purposes.marketing.email]\ntitle="x"',
        "purposes.marketing.email",
        '[purposes."marketing.email"]',
    ),
    "the same beside a purpose": (
        '[purposes.marketing]\ntitle="M"\n[purposes.marketing.email]\ntitle="x"',
        "purposes.marketing.email",
        '[purposes."marketing.email"]',
    ),
    "a nested policy": ('[policies.site.terms]\ntitle="T"', "policies.site.terms", '[policies."site.terms"]'),
    "unknown table": ('[purpose.x]\ntitle="x"', "purpose", "Write purposes"),
    "misspelt": ('[purposes.x]\ntitle="x"\ncategry="a"', "purposes.x.categry", "Write category"),
    "unknown": ('[purposes.x]\ntitle="x"\nzzz=1', "purposes.x.zzz", "Known here: assurance, basis"),
    "unknown in a cookie": ('[purposes.x]\ntitle="x"\ncookies=[{name="a", zzz=1}]', "purposes.x.cookies.0.zzz", "Known here"),
    "a dotted key in a message": ('[purposes."a.b"]\ntitle=3', 'purposes."a.b".title', "Write a text"),
    "not a table": ("[purposes]\nx = 3", "purposes.x", "Write a table"),
    "no title": ("[purposes.x]", "purposes.x.title", "Add title to [purposes.x]"),
    "a list of one": ('[purposes.x]\ntitle="x"\ndata="mail"', "purposes.x.data", "data = [...]"),
    "quoted number": ('[purposes.x]\ntitle="x"\nversion="1"', "purposes.x.version", "without quotes"),
    "version zero": ('[purposes.x]\ntitle="x"\nversion=0', "purposes.x.version", "Start with 1"),
    "quoted boolean": ('[purposes.x]\ntitle="x"\nexplicit="yes"', "purposes.x.explicit", "true or false"),
    "basis": ('[purposes.x]\ntitle="x"\nbasis="consnt"', "purposes.x.basis", "Write one of consent, contract"),
    "category": ('[purposes.x]\ntitle="x"\ncategory="x1"', "purposes.x.category", "Add [categories.x1]"),
    "duration": ('[purposes.x]\ntitle="x"\nvalid_for="6 months"', "purposes.x.valid_for", "Write P6M"),
    "capital": ('[purposes.News]\ntitle="x"', "purposes.News", "lower-case"),
    "recipient": ('[purposes.x]\ntitle="x"\nrecipients=["y"]', "purposes.x.recipients", "Known: none"),
    "on by default": ('[purposes.x]\ntitle="x"\ndefault=true', "purposes.x.default", "off until the person says yes"),
    "no way to refuse": ('[purposes.x]\ntitle="x"\nrequired=true', "purposes.x.required", "consent can be refused"),
    "age": ("[minors]\nage=0", "minors.age", "within these bounds"),
    "a ground without a title": ("[exceptions.order]", "exceptions.order.title", "Add title to [exceptions.order]"),
    "a ground with a key of its own": ('[exceptions.order]\ntitle="O"\nlaw="x"', "exceptions.order.law", "Known here: description, purposes, source, title"),
    "a ground for an unknown purpose": ('[exceptions.order]\ntitle="O"\npurposes=["x"]', "exceptions.order.purposes", "Known: none"),
    "a ground for nothing": ('[exceptions.order]\ntitle="O"\npurposes=[]', "exceptions.order.purposes", "Write at least one"),
    "a ground's key": ('[exceptions."Court order"]\ntitle="O"', "exceptions.Court order", "lower-case"),
    "minors' duration": ('[minors]\npurge_after="soon"', "minors.purge_after", "P30D"),
    "no versions": ('[policies.terms]\ntitle="T"', "policies.terms.versions", "Add versions"),
    "versions empty": ('[policies.terms]\ntitle="T"\nversions=[]', "policies.terms.versions", "[[policies.terms.versions]]"),
    "version a number": (POLICY.replace('"1"', "1"), "policies.terms.versions.0.version", "in quotes"),
    "no files": (POLICY, "policies.terms.versions.0.files", "Add files"),
    "file missing": (POLICY + 'files={en="no.md"}', "policies.terms.versions.files.en", "relative to the TOML"),
    "locale missing": (POLICY + 'files={de="en.md"}', "policies.terms.versions", 'Add files = {en = "..."}'),
    "date in quotes": (POLICY + 'effective="2027"\nfiles={en="en.md"}', "policies.terms.versions.0.effective", "without quotes"),
    "no offset": (POLICY + 'effective=2027-01-01T00:00:00\nfiles={en="en.md"}', "policies.terms.versions.0.effective", "00Z"),
    "method": (POLICY + 'acceptance=["nod"]\nfiles={en="en.md"}', "policies.terms.versions.1.acceptance", "Known: tick"),
    "bundle": ('[bundles.b]\npolicies=["z"]', "bundles.b.policies", "Known"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_one_clear_error(name: str, read: Load, tmp_path: Path) -> None:
    text, key, mend = BROKEN[name]
    with pytest.raises(CatalogError) as caught:
        read(text, head="" if name.startswith("no con") else HEAD)
    error = caught.value
    assert error.key == key
    assert mend in error.mend
    assert error.file == str(tmp_path / "consent.toml")
    assert str(error).startswith(f"{error.file}: ")
    assert str(error).endswith(error.mend)
    assert ".. " not in str(error)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(CatalogError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'# caf\xe9\n[site]\nname = "S"')
    with pytest.raises(CatalogError, match=r"not UTF-8 at byte 5\. Save the file as UTF-8"):
        load(tmp_path / "latin.toml")
    (tmp_path / "consent.toml").write_text(HEAD + POLICY + 'files={en="latin.toml"}')
    with pytest.raises(CatalogError, match="is not UTF-8"):
        load(tmp_path / "consent.toml")


def test_an_unknown_key_is_a_lookup_error(read: Load) -> None:
    catalog = read('[purposes.news]\ntitle="N"')
    with pytest.raises(UnknownPurpose, match=r"there is no purpose 'nws'\. Known purposes: news"):
        catalog.items_of("nws")
    with pytest.raises(UnknownPolicy, match="The catalogue has no policies"):
        catalog.policies_of("terms")
    with pytest.raises(LookupError):
        catalog.purpose("x")
