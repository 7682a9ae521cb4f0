"""What the guardian verbs share: what the host adds, whom to ask what, and what is kept of secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from consentkit.core.errors import NotSetUp
from consentkit.core.inviting import Invitation
from consentkit.core.tokens import Keys as SigningKeys
from consentkit.core.verification import GuardianMethod, Verifier
from consentkit.store import inviting
from consentkit.store.database import Tx
from consentkit.store.inviting import Row, Standing
from consentkit.store.keys import Keyed

Mailer = Callable[[Invitation], None]
_NUMBERS = 900_000_000


@dataclass
class GuardianSetup:
    """What the host adds. `pages`: gives the address of the guardian pages, such as https://shop.example/consent/guardian.

    `keys`: sign links beside a key that CONSENTKIT_KEY gives. `asker`: texts that know the browser that is asking.
    """

    mailer: Mailer | None = None
    verifiers: dict[str, Verifier] = field(default_factory=dict)
    pages: Callable[[], str] | None = None
    keys: Callable[[], SigningKeys] = tuple
    asker: Callable[[], Sequence[str]] = tuple

    def ready(self) -> Mailer:
        """Who sends messages, once it is sure that links can be made. Raises NotSetUp."""
        if self.mailer is None:
            raise NotSetUp(
                "nobody sends messages to guardians: register who does with @consent.guardian_mailer"
            )
        self.address()
        self.keys()
        return self.mailer

    def send(self, invitation: Invitation) -> None:
        """Hand a message over. Raises whatever the host's function raises."""
        self.ready()(invitation)

    def address(self) -> str:
        """Where the guardian pages are. Raises NotSetUp."""
        if self.pages is None:
            raise NotSetUp(
                "links to guardians need an address: set kit.guardian.pages = lambda: 'https://…/consent/guardian'"
            )
        return self.pages().rstrip("/")

    def signing_keys(self, keyed: Keyed) -> SigningKeys:
        """Every key that verifies a link; the last one signs."""
        return [keyed.digest_of("guardian links", ""), *self.keys()]

    def verifier_for(self, method: GuardianMethod) -> Verifier:
        """Who offers a method. Raises NotSetUp."""
        for verifier in self.verifiers.values():
            if method in verifier.methods:
                return verifier
        raise NotSetUp(f"nobody offers {method.value!r}: add a verifier, add_verifier(HttpVerifier(…))")


@dataclass(frozen=True, slots=True)
class Draft:
    """Whom to ask what, before anything is written."""

    kind: str
    tenant: str
    subject: str
    items: tuple[str, ...]
    method: GuardianMethod
    locale: str
    contact: str = field(repr=False)
    child: str = field(repr=False)

    @property
    def contact_key(self) -> str:
        """The same for every way to write one address or number."""
        plain = self.contact.strip().casefold()
        return plain if "@" in plain else re.sub(r"[\s()./-]", "", plain)


def number_of(keyed: Keyed, tx: Tx, draft: Draft, bucket: int, key: bytes) -> int:
    """The number of a guardian, nine digits: the same for the same contact of the same child, and of no other.

    It comes from the contact and the salt of the child's pseudonym, which erasure wipes; nothing is kept for it.
    """
    found = inviting.subject_of(tx, bucket, key)
    salt = found[1].hex() if found is not None else ""
    digest = keyed.digest_of("guardian number", f"{salt}\0{draft.contact_key}")
    return _NUMBERS // 9 + int.from_bytes(digest[:8]) % _NUMBERS


def ended(row: Row, status: Standing) -> Row:
    """The row without contact, answers and secrets; what is left is deleted when it counts for no limit any more."""
    body = replace(row.body, link="", code="", answers=None, check=None, verified=None)
    due_us = max(row.expires_us, row.created_us + inviting.DAY_US)
    return replace(row, sealed=None, body=body, status=status, due_us=due_us)


def about(invitation: str) -> str:
    """What an encrypted contact is bound to."""
    return f"invitation {invitation}"


def link_hash(keyed: Keyed, secret: str) -> str:
    """What is kept of a link."""
    return keyed.digest_of("guardian link", secret).hex()


def code_hash(keyed: Keyed, invitation: str, secret: str) -> str:
    """What is kept of a code; it is good for this invitation only."""
    return keyed.digest_of("guardian code", f"{invitation}\0{secret}").hex()
