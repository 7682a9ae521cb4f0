"""What makes a catalogue valid, and what counts as a material change. A dark pattern is an error."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from consentkit.core.catalog import (
    DEFAULT_CATEGORIES,
    SLUG,
    Bundle,
    Catalog,
    Category,
    Controller,
    ExceptionGround,
    MinorRules,
    Party,
    Policy,
    PolicyVersion,
    Purpose,
    Site,
)
from consentkit.core.errors import CatalogError
from consentkit.core.hosts import check_hosts
from consentkit.core.place_rules import check_places
from consentkit.core.places import RegimeRule
from consentkit.core.policy_rules import check_bundle, check_policy, known_key
from consentkit.core.terms import SIGNALS, Assurance, Basis
from consentkit.core.times import Duration
from consentkit.core.webhooks import webhook_fault

TRACKER_COOKIES = (
    *("_ga*", "_gid", "_gat*", "_gcl_*", "_fbp", "_fbc", "fr", "IDE", "_pk_*", "_hj*", "_clck", "_clsk"),
    *("_uet*", "MUID", "_ttp", "_pin_unauth", "li_sugr", "bcookie", "_scid", "personalization_id"),
)
COOKIE_VALIDITY_DAYS = 13 * 31
COOKIE_VALIDITY = "P6M"
VISITOR_DAYS = 180
_HTTP = re.compile(r"https?://[^\s/]", re.IGNORECASE)

T = TypeVar("T", Category, Purpose, Party, Policy, Bundle, ExceptionGround)


def build(
    *,
    purposes: Iterable[Purpose] = (),
    policies: Iterable[Policy] = (),
    categories: Iterable[Category] = (),
    parties: Iterable[Party] = (),
    bundles: Iterable[Bundle] = (),
    controller: Controller | None = None,
    site: Site | None = None,
    minors: MinorRules | None = None,
    regimes: Iterable[RegimeRule] = (),
    exceptions: Iterable[ExceptionGround] = (),
) -> Catalog:
    """Put a catalogue together and check it. Raises CatalogError for the first fault."""
    catalog = Catalog(
        controller=controller or Controller(),
        site=site or Site(),
        purposes=_by_key("purposes", map(_with_defaults, purposes)),
        policies=_by_key("policies", policies),
        parties=_by_key("parties", parties),
        bundles=_by_key("bundles", bundles),
        minors=minors,
        regimes=tuple(regimes),
        exceptions=_by_key("exceptions", exceptions),
    )
    catalog = replace(catalog, categories=_categories(catalog, _by_key("categories", categories)))
    _check_namespace(catalog)
    _check_durations(catalog)
    check_places(catalog)
    check_hosts(catalog)
    for party in catalog.parties.values():
        if party.url and not _HTTP.match(party.url):
            mend = "Write the whole address of its page, such as https://partner.example/privacy"
            raise CatalogError("is no address of a page", key=f"parties.{party.key}.url", mend=mend)
        if party.webhook and (fault := webhook_fault(party.webhook)):
            mend = "Write the whole address, such as https://partner.example/consent"
            raise CatalogError(fault, key=f"parties.{party.key}.webhook", mend=mend)
    for purpose in catalog.purposes.values():
        _check_purpose(catalog, purpose)
    for policy in catalog.policies.values():
        check_policy(catalog, policy)
    for bundle in catalog.bundles.values():
        check_bundle(catalog, bundle)
    for ground in catalog.exceptions.values():
        for key in ground.purposes:
            known_key(key, catalog.purposes, f"exceptions.{ground.key}.purposes", "purpose")
    return catalog


def _by_key(what: str, things: Iterable[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for thing in things:
        if not SLUG.fullmatch(thing.key):
            mend = "Use lower-case letters, digits and single . _ or - between them, such as marketing.email"
            raise CatalogError(f"{thing.key!r} is not a usable key", key=f"{what}.{thing.key}", mend=mend)
        if thing.key in found:
            raise CatalogError("is declared twice", key=f"{what}.{thing.key}", mend="Keep one of the two")
        found[thing.key] = thing
    return found


def _with_defaults(purpose: Purpose) -> Purpose:
    consent_by_cookie = purpose.cookies and purpose.basis is Basis.CONSENT
    if consent_by_cookie and purpose.valid_for is None:
        return replace(purpose, valid_for=COOKIE_VALIDITY)
    return purpose


def _categories(catalog: Catalog, declared: dict[str, Category]) -> dict[str, Category]:
    """The declared categories in their order; before them `necessary`, after them the unused default ones."""
    taken = {k for k, p in catalog.purposes.items() if p.category != k} | {
        *catalog.policies,
        *catalog.bundles,
    }
    used = {p.category: k for k, p in catalog.purposes.items() if p.category}
    for key in used.keys() - {*declared, *DEFAULT_CATEGORIES}:
        where, mend = f"purposes.{used[key]}.category", f"Add [categories.{key}]"
        raise CatalogError(f"category {key!r} is not declared", key=where, mend=mend)
    default = {k: Category(k) for k in DEFAULT_CATEGORIES if k not in taken or k in used}
    if "necessary" in declared:
        default.pop("necessary")
    return {**{k: c for k, c in default.items() if k == "necessary"}, **default, **declared}


def _check_namespace(catalog: Catalog) -> None:
    spaces = {"policies": catalog.policies, "bundles": catalog.bundles, "categories": catalog.categories}
    owner: dict[str, str] = {}
    for space, keys in spaces.items():
        for key in keys:
            if key in owner:
                raise CatalogError(
                    f"the name is taken by {owner[key]}.{key}", key=f"{space}.{key}", mend="Rename one"
                )
            owner[key] = space
    for key, purpose in catalog.purposes.items():
        if key in owner and purpose.category != key:
            mend = f'Rename one, or put the purpose in that category (category = "{key}")'
            raise CatalogError(f"the name is taken by {owner[key]}.{key}", key=f"purposes.{key}", mend=mend)


def _check_purpose(catalog: Catalog, purpose: Purpose) -> None:
    where = f"purposes.{purpose.key}"
    if purpose.version < 1:
        raise CatalogError("must be 1 or more", key=f"{where}.version", mend="Start with 1")
    for recipient in purpose.recipients:
        known_key(recipient, catalog.parties, f"{where}.recipients", "party")
    for policy in purpose.policies:
        known_key(policy, catalog.policies, f"{where}.policies", "policy")
    if purpose.minors not in ("guardian", "never", "allowed"):
        raise CatalogError("is not known", key=f"{where}.minors", mend="Write guardian, never or allowed")
    if purpose.assurance not in list(Assurance):
        raise CatalogError(
            "is not known", key=f"{where}.assurance", mend=f"Write one of {', '.join(Assurance)}"
        )
    _check_signals(purpose, f"{where}.signals")
    _check_dark_patterns(purpose, where)


def _check_signals(purpose: Purpose, where: str) -> None:
    for signal in set(purpose.signals) - set(SIGNALS):
        raise CatalogError(f"{signal!r} is not known", key=where, mend=f"Write one of {', '.join(SIGNALS)}")
    if purpose.signals and purpose.basis is not Basis.CONSENT:
        mend = 'Write basis = "consent"; where the regime is opt_out, silence allows it all the same'
        raise CatalogError(
            f"a signal would not stop what rests on {purpose.basis.value}", key=where, mend=mend
        )


def _check_dark_patterns(purpose: Purpose, where: str) -> None:
    asked = purpose.basis is Basis.CONSENT
    if purpose.category == "necessary" and asked:
        mend = 'Give it another category, or a basis such as "contract"'
        raise CatalogError(
            "a necessary purpose cannot be refused, so it cannot rest on consent", key=where, mend=mend
        )
    if purpose.category not in (None, "necessary") and not asked and purpose.cookies:
        mend = 'Write basis = "consent", or move the purpose to category "necessary"'
        raise CatalogError(
            "cookies that are not strictly necessary need consent (ePrivacy 5(3))", key=where, mend=mend
        )
    if purpose.sensitive and not purpose.explicit:
        raise CatalogError(
            "sensitive data need explicit consent (GDPR 9(2)(a))", key=where, mend="Add explicit = true"
        )
    if purpose.category == "necessary":
        for cookie in purpose.cookies:
            if any(fnmatchcase(cookie.name, tracker) for tracker in TRACKER_COOKIES):
                mend = 'Move it to a purpose of category "analytics" or "marketing"'
                raise CatalogError(f"{cookie.name} is a tracker's cookie", key=f"{where}.cookies", mend=mend)
    too_long = purpose.valid_for and Duration.parse(purpose.valid_for).days_at_most > COOKIE_VALIDITY_DAYS
    if asked and purpose.cookies and too_long:
        raise CatalogError(
            "consent to cookies may last 13 months", key=f"{where}.valid_for", mend="Write P13M or less"
        )


def _check_durations(catalog: Catalog) -> None:
    named: dict[str, str | None] = {
        "site.visitor_retention": catalog.site.visitor_retention,
        "site.erasure_deadline": catalog.site.erasure_deadline,
    }
    if catalog.minors is not None:
        named["minors.invitation_valid_for"] = catalog.minors.invitation_valid_for
        named["minors.confirm_after"] = catalog.minors.confirm_after
        named["minors.purge_after"] = catalog.minors.purge_after
    for key, purpose in catalog.purposes.items():
        named |= {
            f"purposes.{key}.valid_for": purpose.valid_for,
            f"purposes.{key}.reask_after": purpose.reask_after,
        }
    for where, text in named.items():
        try:
            if text is not None:
                Duration.parse(text)
        except ValueError as error:
            mend = "Write P6M for six months, P30D for thirty days"
            raise CatalogError(str(error), key=where, mend=mend) from None
    if Duration.parse(catalog.site.visitor_retention).days < VISITOR_DAYS:
        raise CatalogError(
            f"a visitor's cookie lives for {VISITOR_DAYS} days, so the ledger has to know it as long",
            key="site.visitor_retention",
            mend="Write P6M or more",
        )


def definition(catalog: Catalog, purpose: Purpose) -> str:
    """The facts of a purpose whose change is material, as canonical JSON. Texts are not among them."""
    countries = sorted(catalog.parties[r].country for r in purpose.recipients)
    facts: dict[str, Any] = {
        "basis": purpose.basis.value,
        "cookies": sorted(c.name for c in purpose.cookies),
        "countries": countries,
        "data": sorted(purpose.data),
        "explicit": purpose.explicit,
        "locations": sorted(purpose.locations),
        "recipients": sorted(purpose.recipients),
        "retention": purpose.retention,
        "sensitive": purpose.sensitive,
    }
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def material_changes(old: str, new: str) -> tuple[str, ...]:
    """Which facts differ materially between two definitions (EDPB 05/2020 paragraph 110).

    Fewer cookies and a shorter retention ask nobody again.
    """
    was, now = json.loads(old), json.loads(new)
    changed = [key for key in now if key not in ("cookies", "retention") and was.get(key) != now[key]]
    if set(now["cookies"]) - set(was["cookies"]):
        changed.append("cookies")
    if _longer(was["retention"], now["retention"]):
        changed.append("retention")
    return tuple(changed)


def _longer(was: str, now: str) -> bool:
    if was == now:
        return False
    try:
        return Duration.parse(now).days_at_most > Duration.parse(was).days_at_most
    except ValueError:
        return True


def canonical(catalog: Catalog) -> str:
    """The whole catalogue as canonical JSON: what `publish` stores. Texts of policies stand there by digest."""
    return json.dumps(
        _plain(catalog), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: object) -> object:
    if isinstance(value, PolicyVersion):
        shown = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        digests = {locale: hashlib.sha256(text.encode()).hexdigest() for locale, text in value.texts.items()}
        return {**shown, "texts": digests}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value
