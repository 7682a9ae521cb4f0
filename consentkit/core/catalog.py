"""The catalogue: what is asked, for whom, on which ground. Values only; rules are in `catalog_rules`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property

from consentkit.core.errors import CatalogError, UnknownPolicy, UnknownPurpose
from consentkit.core.places import AgeRule, Places, RegimeRule
from consentkit.core.terms import Basis, Change, Kind, Regime

Text = str | Mapping[str, str]
"""A text, or a table of the same text by locale (BCP 47)."""

SLUG = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
DEFAULT_CATEGORIES = ("necessary", "preferences", "analytics", "marketing")
EXPRESS_METHODS = ("tick", "button")
ACCEPTANCE_METHODS = ("tick", "button", "form", "login_button", "api", "paper", "code", "import")


def localized(text: Text, locale: str, default: str = "en") -> str:
    """The text in `locale`, else in its language, else in the default locale, else in any."""
    if isinstance(text, str):
        return text
    for key in (locale, locale.split("-")[0], default):
        if key in text:
            return text[key]
    return next(iter(text.values()), "")


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie that a purpose sets; `name` may hold `*` and `?`."""

    name: str
    description: Text = ""
    duration: str = ""
    path: str = "/"
    domain: str = ""

    def matches(self, name: str) -> bool:
        """Whether a cookie of this name is meant."""
        return fnmatchcase(name, self.name.replace("[", "[[]"))


@dataclass(frozen=True, slots=True)
class Category:
    """A group of purposes that the banner shows as one switch. No title: the built-in text.

    `regime`: what silence means at most; the jurisdiction's own regime holds where it is stricter.
    """

    key: str
    title: Text = ""
    description: Text = ""
    regime: Regime | None = None

    def __post_init__(self) -> None:
        if self.regime is not None:
            _as_term(self, "regime", Regime, f"categories.{self.key}.regime")


@dataclass(frozen=True, slots=True)
class Purpose:
    """The unit of consent (GDPR 4(11), 6(1)), with a version of its own."""

    key: str
    title: Text = ""
    description: Text = ""
    version: int = 1
    category: str | None = None
    basis: Basis = Basis.CONSENT
    explicit: bool = False
    separate: bool = False
    scoped: bool = False
    sensitive: bool = False
    core: bool = False
    policies: Sequence[str] = ()
    valid_for: str | None = None
    reask_after: str | None = None
    retention: str = ""
    data: Sequence[str] = ()
    recipients: Sequence[str] = ()
    locations: Sequence[str] = ()
    cookies: Sequence[Cookie] = ()
    minors: str = "guardian"
    assurance: str = "none"
    signals: Sequence[str] = ()
    dpv: Sequence[str] = ()
    gcm: Sequence[str] = ()

    def __post_init__(self) -> None:
        _as_term(self, "basis", Basis, f"purposes.{self.key}.basis")

    @property
    def in_bundle(self) -> bool:
        """Whether one switch may answer it together with others (PIPL 23-39: separate consent may not)."""
        return self.basis is Basis.CONSENT and not (self.separate or self.explicit or self.scoped)


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who receives data: a recipient, a processor or a vendor (GDPR 13(1)(e))."""

    key: str
    name: str = ""
    url: str = ""
    contact: str = ""
    address: str = ""
    country: str = ""
    role: str = ""
    hosts: Sequence[str] = ()
    processor: bool = False
    webhook: str = ""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One immutable version of a policy: a text per locale. `effective` None: when published."""

    version: str
    change: Change = Change.MATERIAL
    effective: datetime | None = None
    acceptance: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "text/markdown"
    summary: Text = ""

    def __post_init__(self) -> None:
        _as_term(self, "change", Change, f"policies.versions.{self.version}.change")
        if not self.acceptance:
            express = self.change is Change.REDUCES_RIGHTS
            object.__setattr__(self, "acceptance", EXPRESS_METHODS if express else ACCEPTANCE_METHODS)


@dataclass(frozen=True, slots=True)
class Policy:
    """A document that is accepted. The order of its versions is the order they are written in."""

    key: str
    title: Text = ""
    versions: Sequence[PolicyVersion] = ()
    required: bool = False
    kind: str = "policy"
    audience: str = "all"
    minors: str = "allowed"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Policies that are accepted in one act, one event each."""

    key: str
    policies: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExceptionGround:
    """A ground on which processing may run without consent, such as a court order: one of a closed list.

    `source`: the article of the law. `purposes`: only these may be opened on it; none named: any.
    """

    key: str
    title: Text = ""
    description: Text = ""
    source: str = ""
    purposes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Controller:
    """Who decides (GDPR 4(7))."""

    name: str = ""
    contact: str = ""
    address: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Facts about the site that the notices and pages need. Durations are ISO 8601."""

    name: str = ""
    default_locale: str = "en"
    locales: Sequence[str] = ()
    default_jurisdiction: str | None = None
    visitor_retention: str = "P13M"
    erasure_deadline: str = "P30D"
    link: str = "strictest"


@dataclass(frozen=True, slots=True)
class MinorRules:
    """The operator's rules for minors. `age`: years from which a person answers alone.

    The jurisdiction's age holds where it is higher. `ages`: rows in place of those of the package. `guardians`:
    whether one of several is enough, or every invited one has to agree. `methods`: how they may be verified, none
    named: all. `confirm_after`: when a yes by message is asked about again.
    """

    age: int | None = None
    children: str = "guardian"
    unknown_age: str = "adult"
    guardians: str = "any"
    methods: Sequence[str] = ()
    invitation_valid_for: str = "P14D"
    confirm_after: str = "P1D"
    purge_after: str = "P14D"
    ages: Sequence[AgeRule] = ()

    @property
    def turns_away(self) -> bool:
        """Whether a child is refused, so that no guardian is asked."""
        return self.children == "not_allowed"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is asked about, by kind and key."""

    kind: Kind
    key: str


@dataclass(frozen=True)
class Catalog:
    """Everything that may be asked. Build it with `catalog_rules.build`, which checks it."""

    controller: Controller = field(default_factory=Controller)
    site: Site = field(default_factory=Site)
    categories: Mapping[str, Category] = field(default_factory=dict)
    purposes: Mapping[str, Purpose] = field(default_factory=dict)
    parties: Mapping[str, Party] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    minors: MinorRules | None = None
    regimes: Sequence[RegimeRule] = ()
    exceptions: Mapping[str, ExceptionGround] = field(default_factory=dict)

    def purpose(self, key: str) -> Purpose:
        """The purpose of that key, with or without the prefix `purpose:`. Raises UnknownPurpose."""
        found = self.purposes.get(key.removeprefix("purpose:"))
        if found is None:
            raise UnknownPurpose(f"there is no purpose {key!r}", mend=self._known())
        return found

    def policy(self, key: str) -> Policy:
        """The policy of that key. Raises UnknownPolicy."""
        found = self.policies.get(key)
        if found is None:
            raise UnknownPolicy(f"there is no policy {key!r}", mend=self._known(("policies", "bundles")))
        return found

    def policies_of(self, key: str) -> tuple[Policy, ...]:
        """The policies that a policy's or bundle's key means. Raises UnknownPolicy."""
        if key in self.bundles:
            return tuple(self.policy(member) for member in self.bundles[key].policies)
        return (self.policy(key),)

    def purposes_of(self, key: str) -> tuple[Purpose, ...]:
        """The purposes that a key means: a category's bundled ones, or one purpose. Raises UnknownPurpose.

        A purpose that has its own category's key is meant by `purpose:<key>`.
        """
        if key in self.categories:
            return tuple(p for p in self.in_category(key) if p.in_bundle)
        return (self.purpose(key),)

    def every_purpose_of(self, key: str) -> tuple[Purpose, ...]:
        """The same, but a category's purposes of whatever basis. Raises UnknownPurpose."""
        return tuple(self.in_category(key)) if key in self.categories else (self.purpose(key),)

    def items_of(self, key: str) -> tuple[Item, ...]:
        """The purposes or policies that a key of the shared namespace means. Raises UnknownPurpose, ValueError."""
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is no key: give one key of the catalogue, as text")
        if key in self.policies or key in self.bundles:
            return tuple(Item(Kind.POLICY, p.key) for p in self.policies_of(key))
        return tuple(Item(Kind.PURPOSE, p.key) for p in self.purposes_of(key))

    def in_category(self, category: str) -> Iterator[Purpose]:
        """Every purpose of a category, whatever its basis."""
        return (p for p in self.purposes.values() if p.category == category)

    @cached_property
    def choices(self) -> tuple[Category, ...]:
        """The categories that have something to choose, in the order of the catalogue."""
        return tuple(c for c in self.categories.values() if self.purposes_of(c.key))

    @cached_property
    def apart(self) -> tuple[Purpose, ...]:
        """Consent purposes that need an answer of their own: separate or explicit, or in no category."""
        return tuple(
            p
            for p in self.purposes.values()
            if p.basis is Basis.CONSENT and not p.scoped and (p.category is None or not p.in_bundle)
        )

    @cached_property
    def places(self) -> Places:
        """What the law asks at each place, with the operator's rules laid over it."""
        rules = self.minors or MinorRules()
        return Places(rules.age, rules.ages, self.regimes)

    @cached_property
    def relaxed(self) -> frozenset[str]:
        """Jurisdictions whose row does not ask first for every switch."""
        return frozenset(
            code
            for code in self.places.regimes
            for c in self.choices
            if self.places.at(code).regime(c.key, c.regime) is not Regime.OPT_IN
        )

    @cached_property
    def signals(self) -> frozenset[str]:
        """The opt-out signals that some purpose heeds."""
        return frozenset(signal for purpose in self.purposes.values() for signal in purpose.signals)

    @cached_property
    def core_purposes(self) -> tuple[str, ...]:
        """Keys of the purposes without which the service cannot run."""
        return tuple(p.key for p in self.purposes.values() if p.core)

    @cached_property
    def locales(self) -> tuple[str, ...]:
        """The site's locales, the default one first."""
        return tuple(dict.fromkeys((self.site.default_locale, *self.site.locales)))

    def _known(self, kinds: Sequence[str] = ("purposes", "categories", "policies", "bundles")) -> str:
        """The keys that could have been meant, by kind."""
        found = [f"{kind}: {', '.join(sorted(keys))}" for kind in kinds if (keys := getattr(self, kind))]
        return f"Known {'; '.join(found)}" if found else f"The catalogue has no {kinds[0]}"


def _as_term(value: object, name: str, terms: type[StrEnum], where: str) -> None:
    """In code a term may be written as text; an unknown one is a CatalogError."""
    try:
        object.__setattr__(value, name, terms(getattr(value, name)))
    except ValueError:
        mend = f"Write one of {', '.join(terms)}"
        raise CatalogError(f"{getattr(value, name)!r} is not known", key=where, mend=mend) from None
