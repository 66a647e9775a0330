"""Consent records: their canonical bytes, their commitments, and the receipt a person gets.

Canonical form is RFC 8785 (JCS): records hold strings, booleans, null, lists, objects and integers
below 2**53, so sorted compact JSON is JCS. The commitment is SHA-256(nonce ‖ canonical bytes): it
says nothing without the nonce. The receipt is signed (Ed25519, RFC 8032); proofs come with the log.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Entry", "Signer", "canonical", "entry", "opens"]

_NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as stored: canonical bytes, the nonce that hides them, and their commitment."""

    body: bytes
    nonce: bytes
    commitment: bytes


def canonical(record: Mapping[str, object]) -> bytes:
    """Return the canonical bytes of a record."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def entry(record: Mapping[str, object], nonce: bytes) -> Entry:
    """Build the stored form of a record; ``nonce`` is 32 random bytes."""
    body = canonical(record)
    return Entry(body, nonce, hashlib.sha256(nonce + body).digest())


def opens(commitment: bytes, nonce: bytes, body: bytes) -> bool:
    """Say whether a nonce and bytes open a commitment."""
    found = hashlib.sha256(nonce + body).digest()
    return len(nonce) == _NONCE_BYTES and hmac.compare_digest(found, commitment)


class Signer:
    """Signs receipts. ``key_id`` is the first 8 bytes of SHA-256 over the public key, in hex."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        public = private.public_key().public_bytes_raw()
        self.public = base64.b64encode(public).decode()
        self.key_id = hashlib.sha256(public).hexdigest()[:16]

    def receipt(self, stored: Entry, position: int) -> dict[str, object]:
        """Return the receipt: record, nonce, commitment, position and a signature over all four.

        The signature covers the canonical bytes of the object without ``signature``.
        """
        statement: dict[str, object] = {
            "commitment": base64.b64encode(stored.commitment).decode(),
            "effective_seq": position,
            "key_id": self.key_id,
            "nonce": base64.b64encode(stored.nonce).decode(),
            "record": json.loads(stored.body),
            "version": 1,
        }
        signature = self._private.sign(canonical(statement))
        return {**statement, "signature": base64.b64encode(signature).decode()}
