"""What the gate may know: last answers, the rules of the catalogue, and the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from consentkit.core.catalog import MinorRules
from consentkit.core.minors import NOTHING_KNOWN, Facts
from consentkit.core.places import Place
from consentkit.core.terms import DENIALS, GRANTS, Basis, Kind, Regime

RESTRICTION, OBJECTION = "restriction", "objection"


@dataclass(slots=True, unsafe_hash=True)  # not frozen: made for each decision, and twice as fast to make
class Row:
    """An actor's last answer to an item. `version` is an ordinal, `level` a guardian's assurance."""

    kind: str
    item: str
    scope: str
    actor: str
    status: str
    version: int
    level: int
    effective_us: int
    expires_us: int | None
    event_id: str

    @property
    def order(self) -> tuple[int, bool, str]:
        """The later answer is the greater; at the same instant a denial beats a grant."""
        return (self.effective_us, self.status in DENIALS, self.event_id)

    @property
    def grants(self) -> bool:
        """Whether it is a yes."""
        return self.status in GRANTS


@dataclass(frozen=True, slots=True)
class Rule:
    """What the catalogue asks for one item at one moment. `floor`: the lowest ordinal still good.

    `category`: whose regime holds, empty for what is always asked first; `regime`: the operator's own, as a floor.
    """

    kind: Kind
    item: str
    version: str = ""
    floor: int = 0
    basis: Basis = Basis.CONSENT
    minors: str = "allowed"
    level: int = 0
    policies: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    category: str = ""
    regime: Regime | None = None
    dpv: tuple[str, ...] = ()
    scoped: bool = False


@dataclass(slots=True)
class View:
    """All that the gate may know when it answers.

    `scope`: the one thing that is asked about; rows of other scopes do not count. `place`: what the law asks
    where the subject is. `signals`: opt-out signals of this very request.
    """

    now_us: int
    place: Place
    rows: Sequence[Row] = ()
    facts: Facts = NOTHING_KNOWN
    minors: MinorRules | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)
    core: tuple[str, ...] = ()
    exceptions: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()
    scope: str = ""
