"""Finds e-mail addresses, phone numbers, IP addresses and unkeyed digests in kept strings.

A hit means the string may identify: the caller drops it or replaces it by a MAC. One cheap search
clears ordinary strings; only suspicious ones are read closely. A name in free text is not found.
"""

import ipaddress
import re
from urllib.parse import unquote

import phonenumbers

__all__ = ["identifying"]

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


def identifying(text: str, region: str = "DE", *, digests: bool = True) -> bool:
    """Say whether a string holds something that identifies a person.

    ``region`` reads national phone numbers; ``digests`` also finds MD5, SHA-1 and SHA-256 forms.
    """
    if _SUSPECT.search(text) is None:
        return False
    plain = unquote(text) if "%" in text else text
    return (
        _EMAIL.search(plain) is not None
        or (digests and _DIGEST.search(plain) is not None)
        or any(_is_address(match.group()) for match in _ADDRESS.finditer(plain))
        or any(_is_phone(match.group(), region) for match in _PHONE.finditer(plain))
    )


def _is_address(token: str) -> bool:
    try:
        ipaddress.ip_address(token)
    except ValueError:
        return False
    return True


def _is_phone(token: str, region: str) -> bool:
    digits = "".join(char for char in token if char.isdigit())
    if not _MIN_DIGITS <= len(digits) <= _MAX_DIGITS or _DATE.fullmatch(token):
        return False
    if token.startswith(("+", "00")):
        return True  # written as international: fictional numbers count too
    if token.startswith(("0", "(")):
        return len(digits) >= _TRUNK_DIGITS
    if token == digits:
        return len(digits) >= _LONE_DIGITS and _is_valid("+" + digits, region)
    return _is_valid(token, region)


def _is_valid(text: str, region: str) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)
