"""Records have one form; commitments hide and bind; receipts are signed."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent.ledger.entry import Signer, canonical, entry, opens

NONCE = b"n" * 32
RECORD = {"kind": "own", "answers": {"b": True, "a": False}, "t": 1, "text": "ü"}
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


def test_canonical_bytes_are_sorted_compact_and_utf8() -> None:
    expected = '{"answers":{"a":false,"b":true},"kind":"own","t":1,"text":"ü"}'
    assert canonical(RECORD) == expected.encode()


def test_the_commitment_is_over_nonce_and_bytes() -> None:
    made = entry(RECORD, NONCE)
    assert made.commitment == hashlib.sha256(NONCE + made.body).digest()


def test_a_commitment_opens_with_its_nonce_and_bytes_only() -> None:
    made = entry(RECORD, NONCE)
    assert opens(made.commitment, NONCE, made.body)
    assert not opens(made.commitment, b"m" * 32, made.body)
    assert not opens(made.commitment, NONCE, made.body + b" ")


def test_a_short_nonce_opens_nothing() -> None:
    made = entry(RECORD, b"")
    assert not opens(made.commitment, b"", made.body)


def signed(receipt: dict[str, Any]) -> None:
    statement = {name: value for name, value in receipt.items() if name != "signature"}
    signature = base64.b64decode(receipt["signature"])
    PRIVATE.public_key().verify(signature, canonical(statement))


def test_a_receipt_verifies_with_the_public_key_alone() -> None:
    receipt = Signer(PRIVATE).receipt(entry(RECORD, NONCE), 7)
    signed(receipt)
    assert (receipt["record"], receipt["effective_seq"]) == (RECORD, 7)
    assert json.loads(json.dumps(receipt)) == receipt


@pytest.mark.parametrize("field", ["record", "effective_seq", "nonce", "commitment", "key_id"])
def test_an_altered_receipt_does_not_verify(field: str) -> None:
    receipt = Signer(PRIVATE).receipt(entry(RECORD, NONCE), 7)
    with pytest.raises(InvalidSignature):
        signed({**receipt, field: "other"})


def test_the_key_id_names_the_public_key() -> None:
    signer = Signer(PRIVATE)
    public = base64.b64decode(signer.public)
    assert signer.key_id == hashlib.sha256(public).hexdigest()[:16]
