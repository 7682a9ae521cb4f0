"""Check a proof without the ledger: `python -m consentkit.verify PROOF --key K`.

Needs neither Flask nor a database. K is the log's public key (the text in `consentkit-log.pub`, or its path).
Exit status: 0 the proof holds, 2 it does not, 3 it could not be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consentkit.core.record import commitment
from consentkit.core.times import rfc3339
from consentkit.proof import (
    Checkpoint,
    NoteInvalid,
    ProofInvalid,
    TlogProof,
    VerifierKey,
    verify_proof,
)


class Unreadable(ProofInvalid):
    """This is no proof of an event of consentkit at all."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof that holds: the event's facts, its place, and the checkpoint that covers it."""

    body: dict[str, Any]
    leaf_index: int
    checkpoint: Checkpoint


def verify(proof: str, key: str, origin: str | None = None) -> Verified:
    """Check a proof text against the log's public key, and its origin when it is known.

    The key may stand as `flask consent log-key` prints it. Raises ProofInvalid when it does not hold (Unreadable
    when it is none), KeyInvalid for a text that is not a public key.
    """
    verifier = VerifierKey.parse(key.strip().removeprefix("public key: "))
    try:
        parsed = TlogProof.parse(proof)
        extra = json.loads(parsed.extra)
        body, salt = extra["body"], bytes.fromhex(extra["salt"])
        facts = json.loads(body)
    except NoteInvalid as error:
        raise Unreadable(str(error)) from None
    except (ValueError, KeyError, TypeError):
        raise Unreadable("the proof does not carry an event of consentkit") from None
    named = Checkpoint.parse(parsed.checkpoint.split("\n\n", 1)[0] + "\n").origin
    shown = verify_proof(proof, commitment(salt, body), verifier, origin or named)
    return Verified(facts, shown.index, shown.checkpoint)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m consentkit.verify", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("proof", help="the file with the proof, - for standard input")
    parser.add_argument("--key", required=True, help="the log's public key, or the file that holds it")
    parser.add_argument("--origin", help="the log that the proof has to be of")
    given = parser.parse_args(arguments)
    try:
        text = sys.stdin.read() if given.proof == "-" else Path(given.proof).read_text("utf-8")
        key = Path(given.key).read_text("ascii") if Path(given.key).is_file() else given.key
        verified = verify(text, key, given.origin)
    except (OSError, ValueError) as error:
        if isinstance(error, ProofInvalid) and not isinstance(error, Unreadable):
            print(f"the proof does not hold: {error}", file=sys.stderr)
            return 2
        print(f"the proof cannot be checked: {error}", file=sys.stderr)
        return 3
    print(_readable(verified))
    return 0


def _readable(verified: Verified) -> str:
    body, checkpoint = verified.body, verified.checkpoint
    said = f"{body['actor']} {body['action']} {body['item']}"
    version = f" (version {body['version']})" if body.get("version") else ""
    lines = [
        f"the proof holds: {said}{version}",
        f"  at         {rfc3339(body['effective_us'])}, recorded {rfc3339(body['recorded_us'])}",
        f"  event      {body['event_id']}, leaf {verified.leaf_index}",
        f"  shown      {body.get('notice') or 'no notice recorded'}",
        f"  by         {body.get('method') or 'unknown'}",
        f"  log        {checkpoint.origin}, {checkpoint.size} events",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
