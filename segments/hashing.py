"""Turns contact data into what one ad platform hashes, and hashes it: unsalted SHA-256.

Works in memory, at the wire, after the consent check; nothing here is stored or logged. Knows
families of normal forms (E1-E6 e-mail, P1-P3 phone), no platform, no key, no pseudonym.
Sources: the platforms' own "format user data" pages and client libraries, see
tests/vectors/identifiers/README.md. Never hashes the empty text.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from consent.errors import MalformedIdentifierError
from consent.identifiers import IdentifierType, canonical
from segments.errors import IdentifierRejectedError

__all__ = ["EMAIL_FAMILIES", "PHONE_FAMILIES", "Rejection", "digest", "normal_form"]

_HEX_64 = re.compile(r"[0-9A-Fa-f]{64}")
_LEGACY_HEX = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}")
_BASE64_44 = re.compile(r"[A-Za-z0-9+/]{43}=")
_PSEUDONYM = re.compile(r"(?:[a-z]{1,4}[0-9]?_|mac:|v[0-9]+:)[A-Za-z0-9+/_=-]{8,}")
_ADDRESS = re.compile(r"([^@\s]+)@([^@\s.]+(?:\.[^@\s.]+)+)")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NOT_AMAZON = re.compile(r"[^a-z0-9@.-]")
_EDGES = "\u200b\u200c\u200d\u2060\ufeff" + "".join(
    chr(point) for point in range(0x3001) if chr(point).isspace()
)
"""What is trimmed at both ends: Unicode spaces and zero-width characters."""
_MAX_EMAIL = 254
_MAX_VALUE = 512
_DIGEST_BYTES = 32
_GOOGLE_MAIL = frozenset({"gmail.com", "googlemail.com"})
_EMPTY_DIGEST = hashlib.sha256(b"").digest()


class Rejection(StrEnum):
    """Why a value has no digest: a closed list, counted per destination."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    PSEUDONYM = "pseudonym"
    LEGACY_DIGEST = "legacy_digest"
    EMPTY_DIGEST = "empty_digest"
    NOT_AN_ADDRESS = "not_an_address"
    EMPTY_LOCAL_PART = "empty_local_part"
    NOT_ASCII = "not_ascii"
    NOT_A_NUMBER = "not_a_number"


def digest(
    kind: str, family: str, value: str, *, encoding: str = "hex", region: str | None = None
) -> str:
    """Return the platform digest of a contact value, as 64 lower-case hex digits or base64.

    ``kind`` is ``email`` or ``phone``; ``value`` the vault's canonical form, or a raw form
    (phones then need ``region``, an ISO country code). A value that is already a SHA-256 in hex
    or base64, as a whole, is passed on in the wanted encoding and not hashed again.

    Raises:
        IdentifierRejectedError: the value must not leave; ``reason`` is a ``Rejection``.
    """
    raw = (
        _given_digest(value)
        or hashlib.sha256(normal_form(kind, family, value, region=region).encode()).digest()
    )
    return base64.b64encode(raw).decode() if encoding == "base64" else raw.hex()


def normal_form(kind: str, family: str, value: str, *, region: str | None = None) -> str:
    """Return the text that a platform of this family hashes.

    Raises:
        IdentifierRejectedError: the value has no such form; ``reason`` is a ``Rejection``.
    """
    text = _trimmed(value)
    if _PSEUDONYM.fullmatch(text):
        raise IdentifierRejectedError(Rejection.PSEUDONYM)
    if _LEGACY_HEX.fullmatch(text):
        raise IdentifierRejectedError(Rejection.LEGACY_DIGEST)
    if kind == IdentifierType.PHONE:
        return PHONE_FAMILIES[family](_international(text, region))
    if family in _SPACES_REMOVED:
        text = "".join(text.split())
    local, domain = _address(text)
    return EMAIL_FAMILIES[family](local, domain)


def _trimmed(value: str) -> str:
    text = value.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.strip(_EDGES))
    if not text:
        raise IdentifierRejectedError(Rejection.EMPTY)
    if len(text) > _MAX_VALUE:
        raise IdentifierRejectedError(Rejection.TOO_LONG)
    return text


def _given_digest(value: str) -> bytes | None:
    """Read a value that already is a SHA-256; only the whole text counts, never a part of it."""
    text = value.strip()
    if _HEX_64.fullmatch(text):
        found = bytes.fromhex(text)
    elif _BASE64_44.fullmatch(text):
        found = base64.b64decode(text)
    else:
        return None
    if found == _EMPTY_DIGEST:
        raise IdentifierRejectedError(Rejection.EMPTY_DIGEST)
    return found


def _address(text: str) -> tuple[str, str]:
    lowered = text.lower()
    if not lowered.isascii():
        # Lower-casing can decompose: U+0130 becomes "i" and a combining dot, on every machine.
        lowered = unicodedata.normalize("NFC", lowered)
    if len(lowered) > _MAX_EMAIL:
        raise IdentifierRejectedError(Rejection.TOO_LONG)
    match = _ADDRESS.fullmatch(lowered)
    if match is None:
        raise IdentifierRejectedError(Rejection.NOT_AN_ADDRESS)
    return match[1], match[2]


def _international(text: str, region: str | None) -> str:
    if _E164.fullmatch(text):
        return text
    try:
        return canonical(IdentifierType.PHONE, text, region or "ZZ")
    except MalformedIdentifierError as error:
        raise IdentifierRejectedError(Rejection.NOT_A_NUMBER) from error


def _joined(local: str, domain: str) -> str:
    if not local:
        raise IdentifierRejectedError(Rejection.EMPTY_LOCAL_PART)
    return f"{local}@{domain}"


def _without_dots(local: str) -> str:
    return local.replace(".", "")


def _without_tag(local: str) -> str:
    return local.partition("+")[0]


def _e1(local: str, domain: str) -> str:
    return _joined(local, domain)


def _e2(local: str, domain: str) -> str:
    return _joined(_without_dots(local) if domain in _GOOGLE_MAIL else local, domain)


def _e3(local: str, domain: str) -> str:
    if domain in _GOOGLE_MAIL:
        local = _without_dots(_without_tag(local))
    return _joined(local, domain)


def _e4(local: str, domain: str) -> str:
    if domain == "gmail.com":
        local = _without_dots(_without_tag(local))
    return _joined(local, domain)


def _e5(local: str, domain: str) -> str:
    return _joined(_without_dots(_without_tag(local)), domain)


def _e6(local: str, domain: str) -> str:
    # The platform deletes other letters, so such an address can only match a stranger.
    if not (local.isascii() and domain.isascii()):
        raise IdentifierRejectedError(Rejection.NOT_ASCII)
    return _joined(_NOT_AMAZON.sub("", local), _NOT_AMAZON.sub("", domain))


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _as_is(number: str) -> str:
    return number


_SPACES_REMOVED = frozenset({"E2", "E3"})

EMAIL_FAMILIES: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {"E1": _e1, "E2": _e2, "E3": _e3, "E4": _e4, "E5": _e5, "E6": _e6}
)
"""Family → (local part, domain) → normal form; both arguments lower-cased."""

PHONE_FAMILIES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"P1": _as_is, "P2": _digits, "P3": _digits}
)
"""Family → E.164 → normal form."""
