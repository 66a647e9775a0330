"""Seals what is kept about a person under that person's own data key, and opens it again.

Destroying the key is erasing the data, backups included. Contact data is sealed twice: to the
courier's public key (HPKE, RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM), then under the person's
key. Sealed bytes carry a version marker; the slot and the use are authenticated beside them.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent.errors import SealBrokenError

__all__ = ["ContactOpener", "ContactSealer", "KeyWrap", "PersonSeal", "new_key"]

_VERSION = b"\x01"
_NONCE = 12
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def new_key() -> bytes:
    """Return a random 32-byte data key."""
    return os.urandom(32)


class PersonSeal:
    """Seals and opens under one person's data key."""

    __slots__ = ("_cipher", "_slot")

    def __init__(self, key: bytes, slot: int) -> None:
        self._cipher = AESGCM(key)
        self._slot = slot.to_bytes(8, "big")

    def seal(self, use: bytes, plain: bytes) -> bytes:
        """Seal bytes for one use (``event``, ``record``, ``contact``)."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, use + self._slot)

    def open(self, use: bytes, sealed: bytes) -> bytes:
        """Open sealed bytes.

        Raises:
            SealBrokenError: other key, other slot, other use, or altered.
        """
        return _open(self._cipher, sealed, use + self._slot)


class KeyWrap:
    """Wraps data keys under the master key, bound to their number."""

    __slots__ = ("_cipher",)

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(master)

    def wrap(self, key_id: int, key: bytes) -> bytes:
        """Return the wrapped key."""
        nonce = os.urandom(_NONCE)
        aad = b"key" + key_id.to_bytes(8, "big")
        return _VERSION + nonce + self._cipher.encrypt(nonce, key, aad)

    def unwrap(self, key_id: int, wrapped: bytes) -> bytes:
        """Return the data key.

        Raises:
            SealBrokenError: wrapped under another master key, or altered.
        """
        return _open(self._cipher, wrapped, b"key" + key_id.to_bytes(8, "big"))


def _open(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    if sealed[:1] != _VERSION:
        raise SealBrokenError("sealed value: unknown version marker")
    nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
    try:
        return cipher.decrypt(nonce, body, aad)
    except (InvalidTag, ValueError) as error:
        raise SealBrokenError("sealed value: does not open") from error


class ContactSealer:
    """Front side: seals contact data to the courier. It cannot open what it sealed."""

    __slots__ = ("_public",)

    def __init__(self, public: X25519PublicKey) -> None:
        self._public = public

    def seal(self, person: PersonSeal, kind: str, value: str) -> bytes:
        """Seal one contact value, ``kind`` being ``email`` or ``phone``."""
        inner = _SUITE.encrypt(value.encode(), self._public, info=b"einlass/v1/" + kind.encode())
        return person.seal(b"contact", inner)


class ContactOpener:
    """Courier side: the only holder of the private key."""

    __slots__ = ("_private",)

    def __init__(self, private: X25519PrivateKey) -> None:
        self._private = private

    def open(self, person: PersonSeal, kind: str, sealed: bytes) -> str:
        """Open one contact value.

        Raises:
            SealBrokenError: it was not sealed to this courier, for this person and kind.
        """
        inner = person.open(b"contact", sealed)
        try:
            plain = _SUITE.decrypt(inner, self._private, info=b"einlass/v1/" + kind.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("contact: does not open") from error
        return plain.decode()
