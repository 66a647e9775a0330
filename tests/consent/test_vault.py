"""Sealed under the person's key: opened with it, for that person and use, or not at all."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from consent.errors import SealBrokenError
from consent.vault import ContactOpener, ContactSealer, KeyWrap, PersonSeal, new_key

KEY = b"p" * 32
SEAL = PersonSeal(KEY, 7)


@given(st.binary(max_size=200))
def test_what_was_sealed_opens(plain: bytes) -> None:
    assert SEAL.open(b"event", SEAL.seal(b"event", plain)) == plain


@pytest.mark.parametrize(
    ("seal", "use"),
    [(PersonSeal(b"o" * 32, 7), b"event"), (PersonSeal(KEY, 8), b"event"), (SEAL, b"record")],
    ids=["other key", "other person", "other use"],
)
def test_it_opens_under_the_same_key_person_and_use_only(seal: PersonSeal, use: bytes) -> None:
    with pytest.raises(SealBrokenError):
        seal.open(use, SEAL.seal(b"event", b"secret"))


@pytest.mark.parametrize("place", [0, 1, 13, -1])
def test_an_altered_byte_is_noticed(place: int) -> None:
    sealed = bytearray(SEAL.seal(b"event", b"secret"))
    sealed[place] ^= 1
    with pytest.raises(SealBrokenError):
        SEAL.open(b"event", bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"x" * 12, b"\x02" + b"x" * 40])
def test_what_is_no_seal_is_broken(sealed: bytes) -> None:
    with pytest.raises(SealBrokenError):
        SEAL.open(b"event", sealed)


def test_one_text_sealed_twice_looks_different() -> None:
    assert SEAL.seal(b"event", b"secret") != SEAL.seal(b"event", b"secret")


def test_a_wrapped_key_belongs_to_its_number_and_master_key() -> None:
    wrap = KeyWrap(b"m" * 32)
    wrapped = wrap.wrap(3, KEY)
    assert wrap.unwrap(3, wrapped) == KEY
    with pytest.raises(SealBrokenError):
        wrap.unwrap(4, wrapped)
    with pytest.raises(SealBrokenError):
        KeyWrap(b"n" * 32).unwrap(3, wrapped)


def test_a_new_key_is_32_bytes_and_never_the_same() -> None:
    assert len(new_key()) == 32
    assert new_key() != new_key()


PRIVATE = X25519PrivateKey.from_private_bytes(os.urandom(32))
SEALER, OPENER = ContactSealer(PRIVATE.public_key()), ContactOpener(PRIVATE)


def test_the_courier_opens_contact_data() -> None:
    sealed = SEALER.seal(SEAL, "email", "anna@example.org")
    assert OPENER.open(SEAL, "email", sealed) == "anna@example.org"


def test_the_persons_key_alone_does_not_open_contact_data() -> None:
    sealed = SEALER.seal(SEAL, "email", "anna@example.org")
    assert b"anna" not in SEAL.open(b"contact", sealed)


@pytest.mark.parametrize(
    ("seal", "kind", "opener"),
    [
        (PersonSeal(KEY, 8), "email", OPENER),
        (SEAL, "phone", OPENER),
        (SEAL, "email", ContactOpener(X25519PrivateKey.generate())),
    ],
    ids=["other person", "other kind", "other courier"],
)
def test_contact_data_opens_for_its_person_kind_and_courier_only(
    seal: PersonSeal, kind: str, opener: ContactOpener
) -> None:
    with pytest.raises(SealBrokenError):
        opener.open(seal, kind, SEALER.seal(SEAL, "email", "anna@example.org"))
