"""A verifier over HTTP: begins a check with one signed request, and reads the signed result that is sent back.

Both are signed by Standard Webhooks 1.0 with one shared secret (`flask consent webhook-secret` makes one).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from consentkit.core.choices import is_digest
from consentkit.core.errors import ConsentKitError, TokenInvalid, VerifierFailed
from consentkit.core.verification import (
    GuardianCheck,
    GuardianMethod,
    VerificationResult,
    is_public_address,
)
from consentkit.core.webhooks import headers as signed_headers
from consentkit.core.webhooks import secret_bytes

TOLERANCE_S = 5 * 60
ANSWER_BYTES = 64 * 1024


class HttpVerifier:
    """Whoever checks guardians, behind an address. Needs the extra `http`.

    `url`: where a check is begun; it answers `{"redirect": …}`. `secret`: `whsec_…`, shared with the provider.
    `hosts`: where browsers may be led beside the host of `url`. Raises ConsentKitError for what cannot work.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secret: str,
        methods: Iterable[str],
        *,
        title: str | None = None,
        hosts: Iterable[str] = (),
        timeout: float = 10.0,
    ) -> None:
        if not is_public_address(url):
            raise ConsentKitError(
                f"verifier {name!r}: url is an https address; http is for this machine only"
            )
        try:
            self._key = secret_bytes(secret)
            self.methods = frozenset(GuardianMethod(method) for method in methods)
        except ValueError as error:
            raise ConsentKitError(f"verifier {name!r}: {error}") from None
        useless = sorted(method for method in self.methods if not method.needs_verifier)
        if useless or not self.methods:
            raise ConsentKitError(
                f"verifier {name!r}: methods is some of {', '.join(m for m in GuardianMethod if m.needs_verifier)}"
            )
        self.name, self.title, self._url, self._timeout = name, title or name, url, timeout
        self._hosts = frozenset({urlsplit(url).hostname, *(host.lower() for host in hosts)})

    def start(self, check: GuardianCheck) -> str:
        """Begin a check. Raises VerifierFailed, also for an address that leads anywhere else than to the provider."""
        asked = {
            "reference": check.reference,
            "method": check.method.value,
            "locale": check.locale,
            "return_url": check.return_url,
            "callback_url": check.callback_url,
        }
        redirect = self._ask(json.dumps(asked).encode()).get("redirect")
        if not _leads_to(redirect, self._hosts):
            raise VerifierFailed(f"{self.name} leads to an address that is not its own")
        return str(redirect)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> VerificationResult:
        """The result in a callback. Raises TokenInvalid: not signed by the provider, too old, or not a result."""
        self._check_signature({name.lower(): value for name, value in headers.items()}, body, now)
        try:
            found = json.loads(body)
            at = datetime.fromisoformat(found["at"])
            result = VerificationResult(
                found["reference"],
                GuardianMethod(found["method"]),
                found["verified"],
                at,
                found.get("evidence"),
            )
        except (ValueError, KeyError, TypeError):
            raise TokenInvalid("the result cannot be read") from None
        evidence = result.evidence is None or (
            isinstance(result.evidence, str) and is_digest(result.evidence)
        )
        texts = isinstance(result.reference, str) and isinstance(result.verified, bool)
        if not texts or not evidence or result.at.tzinfo is None:
            raise TokenInvalid("the result cannot be read")
        return result

    def _ask(self, body: bytes) -> dict[str, Any]:
        try:
            import requests
        except ImportError:
            raise ConsentKitError(
                "verifiers over HTTP need requests: pip install 'consentkit[http]'"
            ) from None
        message = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        headers = {"Content-Type": "application/json", "User-Agent": "consentkit"}
        headers |= signed_headers(message, int(time.time()), body, [self._key])
        try:
            with requests.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as answer:
                text = answer.raw.read(ANSWER_BYTES, decode_content=True)
                found = json.loads(text) if answer.status_code in (200, 201) else None
        except (requests.RequestException, ValueError, OSError) as error:
            raise VerifierFailed(f"{self.name} cannot be reached: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise VerifierFailed(f"{self.name} answers {answer.status_code}, or no JSON object")
        return found

    def _check_signature(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        message, said = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        at_s = int(said) if said.isascii() and said.isdecimal() and len(said) < 13 else 0
        if abs(now.timestamp() - at_s) > TOLERANCE_S:
            raise TokenInvalid("the result is not of now")
        wanted = signed_headers(message, at_s, body, [self._key])["webhook-signature"]
        given = headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(one.encode(), wanted.encode()) for one in given):
            raise TokenInvalid("the result is not signed by the verifier")


def _leads_to(address: object, hosts: frozenset[str | None]) -> bool:
    """Whether a browser may be led there: over https, or on this machine, to one of these hosts."""
    if not isinstance(address, str) or not is_public_address(address.partition("?")[0]):
        return False
    odd = not address.isascii() or not address.isprintable() or set(address) & set(" \\@#")
    return not odd and urlsplit(address).hostname in hosts
