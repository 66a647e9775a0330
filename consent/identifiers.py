"""Identifiers of people, typed and canonical: one normalisation function, versioned.

An ``Identifier`` is raw: it lives inside one request and never in a store. Its ``repr`` shows
the type alone. The canonical form only has to be stable: what ad platforms hash is made elsewhere.
"""

import re
import unicodedata
from enum import StrEnum

import msgspec
import phonenumbers

from consent.errors import MalformedIdentifierError

__all__ = ["Identifier", "IdentifierType", "canonical", "identify"]

_MAX_LENGTH = 256
_MAX_EMAIL = 254
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")


class IdentifierType(StrEnum):
    """Kinds of identifier; part of the MAC input, so values are fixed for good."""

    USER_ID = "user_id"
    ANONYMOUS_ID = "anonymous_id"
    EMAIL = "email"
    PHONE = "phone"


_EMAIL_TYPE, _PHONE_TYPE = IdentifierType.EMAIL, IdentifierType.PHONE  # found faster


class Identifier(msgspec.Struct, frozen=True):
    """One canonical identifier. Build it with ``identify``."""

    type: IdentifierType
    value: str

    def __repr__(self) -> str:
        """Show the type; the value must not reach a log."""
        return f"<Identifier {self.type}>"

    def __reduce__(self) -> str:
        """Refuse to be pickled: raw identifiers do not leave the request."""
        raise TypeError("a raw identifier cannot be serialised")


def canonical(kind: IdentifierType, value: str, region: str = "DE") -> str:
    """Return the canonical form: NFC, trimmed; e-mail lower-cased; phone in E.164.

    Raises:
        MalformedIdentifierError: the value is empty, too long, or not of this kind.
    """
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = text.strip()
    if not text or len(text) > _MAX_LENGTH or not text.isprintable():
        raise MalformedIdentifierError(f"{kind}: empty, too long or not printable")
    if kind is _EMAIL_TYPE:
        text = text.lower()
        if len(text) > _MAX_EMAIL or not _EMAIL.fullmatch(text):
            raise MalformedIdentifierError("email: not an address")
    elif kind is _PHONE_TYPE:
        text = _e164(text, region)
    return text


def _e164(text: str, region: str) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        raise MalformedIdentifierError("phone: not a number") from error
    if not phonenumbers.is_possible_number(number):
        raise MalformedIdentifierError("phone: not a possible number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def identify(kind: IdentifierType, value: str, region: str = "DE") -> Identifier:
    """Build a canonical identifier; raises as ``canonical`` does."""
    return Identifier(kind, canonical(kind, value, region))
