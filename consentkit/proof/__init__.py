"""Signed notes, checkpoints and proofs: what a stranger checks without trusting the database.

Needs `cryptography` and nothing else of this package but `consentkit.core`.
"""

from consentkit.core.merkle import ProofInvalid
from consentkit.proof.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from consentkit.proof.note import (
    KeyInvalid,
    Note,
    NoteInvalid,
    SigningKey,
    VerifierKey,
    sign_note,
    verify_note,
)
from consentkit.proof.tlog_proof import Inclusion, TlogProof, verify_leaf_proof, verify_proof

__all__ = [
    "Checkpoint",
    "Inclusion",
    "KeyInvalid",
    "Note",
    "NoteInvalid",
    "ProofInvalid",
    "SigningKey",
    "TlogProof",
    "VerifierKey",
    "sign_checkpoint",
    "sign_note",
    "verify_checkpoint",
    "verify_leaf_proof",
    "verify_note",
    "verify_proof",
]
