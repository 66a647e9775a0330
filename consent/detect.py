"""Finds e-mail addresses, phone numbers, IP addresses and unkeyed digests in kept strings.

A hit means the string may identify: the caller drops it or replaces it by a MAC. One cheap search
clears ordinary strings; only suspicious ones are read closely. A name in free text is not found.
"""

import ipaddress
import re
from urllib.parse import unquote

import phonenumbers

__all__ = ["identifying", "suspicious"]

_SUSPECT = re.compile(
    r"@|%40|\d[\d\s().+/-]{5}|[0-9A-Fa-f]:[0-9A-Fa-f:]|::|\d\.\d|[0-9A-Za-z+/]{32}"
)
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"]+@[^\s@<>()\[\],;:\"]+")
_PHONE = re.compile(r"(?<![\w.-])\+?\(?\d[\d\s().+/-]{5,24}\d(?!\w)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGEST = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}=)"
    r"(?![0-9A-Za-z])"
)
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+)(?![\w:])"
)
_MIN_DIGITS, _MAX_DIGITS = 7, 15
_LONE_DIGITS, _TRUNK_DIGITS = 10, 9


def suspicious(text: str) -> bool:
    """Say whether a string needs a close look; most do not."""
    return _SUSPECT.search(text) is not None


def identifying(text: str, region: str = "DE") -> bool:
    """Say whether a string holds something that identifies a person.

    That is an e-mail address, a phone number (``region`` reads national ones), an IP address, or
    what looks like an MD5, SHA-1 or SHA-256 digest.
    """
    if not suspicious(text):
        return False
    plain = unquote(text) if "%" in text else text
    return (
        _EMAIL.search(plain) is not None
        or _DIGEST.search(plain) is not None
        or any(_is_address(match.group()) for match in _ADDRESS.finditer(plain))
        or any(_is_phone(match.group(), region) for match in _PHONE.finditer(plain))
    )


def _is_address(found: str) -> bool:
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return False
    return True


def _is_phone(found: str, region: str) -> bool:
    digits = "".join(char for char in found if char.isdigit())
    if not _MIN_DIGITS <= len(digits) <= _MAX_DIGITS or _DATE.fullmatch(found):
        return False
    if found.startswith(("+", "00")):
        return True  # written as international: fictional numbers count too
    if found.startswith(("0", "(")):
        return len(digits) >= _TRUNK_DIGITS
    if found == digits:
        return len(digits) >= _LONE_DIGITS and _is_valid("+" + digits, region)
    return _is_valid(found, region)


def _is_valid(text: str, region: str) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)
