"""Finds e-mail addresses, phone numbers, IP addresses and unkeyed digests in kept strings.

A hit means the string may identify: the caller drops it or replaces it by a MAC. One cheap search
clears ordinary strings; only suspicious ones are read closely. A name in free text is not found,
nor is what was encoded on purpose. Doubtful numbers pass only if they look like an everyday thing.
"""

import ipaddress
import re
import unicodedata
from urllib.parse import unquote

import phonenumbers
from phonenumbers import PhoneNumberType

__all__ = ["identifying", "suspicious"]

_SUSPECT = re.compile(
    r"@|%[0-9A-Fa-f]{2}|\d[\d\s().+/-]{5}|[0-9A-Fa-f]:[0-9A-Fa-f:]|::|\d\.\d"
    r"|[0-9A-Za-z+/_-]{22}(?:=|[0-9A-Za-z+/_-]{10})|[\u2010-\u2212\ufe6b\uff00-\uffef]"
)
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"]+@[^\s@<>()\[\],;:\"]+")
_PHONE = re.compile(r"(?<![\w-])(?<!\d\.)\+?\(?\d[\d\s().+/-]{5,26}\d(?!\w)")
_DATE = re.compile(
    r"(?:(?:19|20)\d\d-\d\d-\d\d|(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])[./](?:19|20)\d\d)"
    r"(?: \d\d?)?"
)
_HEX = re.compile(
    r"(?<![0-9A-Za-z])"
    r"(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}"
    r"|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})"
    r"(?![0-9A-Za-z])"
)
_BASE64 = re.compile(
    r"(?<![0-9A-Za-z+/_-])"
    r"([0-9A-Za-z+/_-]{22}==|[0-9A-Za-z+/_-]{27}=|[0-9A-Za-z+/_-]{38}==|[0-9A-Za-z+/_-]{43}=?"
    r"|[0-9A-Za-z+/_-]{64}|[0-9A-Za-z+/_-]{86}(?:==)?)"
    r"(?![0-9A-Za-z+/_=-])"
)
_V4 = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?!\w|\.\w)")
_V6 = re.compile(r"(?<![\w.])[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+(?![\w:])")
_DASHES = dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-")
_MAX_UNQUOTED = 3
_MIN_DIGITS, _MAX_DIGITS = 7, 15
_LONE_DIGITS, _TRUNK_DIGITS = 10, 9
_MAX_OCTET = 255


def suspicious(text: str) -> bool:
    """Say whether a string needs a close look; most do not."""
    return _SUSPECT.search(text) is not None


def identifying(text: str, region: str = "DE") -> bool:
    """Say whether a string holds something that identifies a person.

    That is an e-mail address, a phone number (``region`` reads national ones), an IP address, or
    what looks like a digest of the MD5 or SHA families.
    """
    if not suspicious(text):
        return False
    plain = _plain(text)
    return (
        _EMAIL.search(plain) is not None
        or _HEX.search(plain) is not None
        or any(_is_random(match.group(1)) for match in _BASE64.finditer(plain))
        or any(_is_v4(match) for match in _V4.finditer(plain))
        or any(_is_v6(match.group()) for match in _V6.finditer(plain))
        or any(_is_phone(match.group(), region) for match in _PHONE.finditer(plain))
    )


def _plain(text: str) -> str:
    """Undo what URLs and keyboards do to letters: percent signs, full width, other dashes."""
    for _ in range(_MAX_UNQUOTED):
        if "%" not in text:
            break
        text = unquote(text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_DASHES))
    return text


def _is_random(found: str) -> bool:
    """Tell a digest in base64 from words: it mixes capitals, small letters and digits."""
    return (
        any(char.isdigit() for char in found)
        and any(char.islower() for char in found)
        and any(char.isupper() for char in found)
    )


def _is_v4(found: re.Match[str]) -> bool:
    return all(int(octet) <= _MAX_OCTET for octet in found.groups())


def _is_v6(found: str) -> bool:
    try:
        ipaddress.IPv6Address(found.rstrip("."))
    except ValueError:
        return False
    return True


def _is_phone(found: str, region: str) -> bool:
    written = found.replace("(0)", "")
    digits = "".join(char for char in written if char.isdigit())
    if _DATE.fullmatch(found):
        return False
    if written.startswith("00"):
        digits = digits[2:]
    if not _MIN_DIGITS <= len(digits) <= _MAX_DIGITS:
        return False
    if written.startswith(("+", "00", "(+", "(00")):
        return True  # written as international: fictional numbers count too
    if written.startswith(("0", "(")):
        return len(digits) >= _TRUNK_DIGITS
    if written == digits and len(digits) < _LONE_DIGITS:
        return False
    return _is_valid("+" + digits, region) or (written != digits and _is_national(written, region))


def _is_valid(text: str, region: str) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def _is_national(text: str, region: str) -> bool:
    """Read a number without prefix: where one is dialled, only mobile numbers lack it in writing.

    Elsewhere an article number in groups would pass for a landline.
    """
    if not _is_valid(text, region):
        return False
    if phonenumbers.ndd_prefix_for_region(region, strip_non_digits=True) != "0":
        return True
    kind = phonenumbers.number_type(phonenumbers.parse(text, region))
    return kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
