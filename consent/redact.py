"""Strips an observation to what may be kept: declared, typed, and free of identifying strings.

Every kept string passes the detectors: ids that identify become MACs, other strings are dropped.
URLs shrink to a host and a declared path template; titles, IP addresses and user agents never get
here. Names of undeclared properties are handed back for counting, never their values.
"""

import re
from collections.abc import Mapping

from consent.detect import identifying, suspicious
from consent.observation import Place, Touch
from consent.policy import Policy
from consent.pseudonym import References

__all__ = ["Redactor"]

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SDK_ID = re.compile(
    r"(?:[a-z]{1,10}-){0,3}(?:\d{13}-)?"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)  # a UUID (RFC 9562), alone or behind an SDK's prefix: digits in it are no phone number
_BARE_UUID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")  # one MD5 in 64 is like it
_URL = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#\\]*@)?([A-Za-z0-9.-]{1,253})(?::\d*)?(?=[/?#]|$)([^?#]*)",
    re.IGNORECASE,
)  # user info ends at the last @, a host only where its port, path, query or fragment begins
_ID_PROPERTIES = frozenset(
    {
        "product_id", "sku", "order_id", "list_id", "checkout_id", "cart_id", "refund_of",
        "promotion_id", "form_id",
    }
)  # fmt: skip
_ITEM_TEXT = ("product_id", "sku", "category", "brand", "variant", "coupon")
_ITEM_NUMBERS = ("quantity", "price_minor", "position")
_CAMPAIGN = ("source", "medium", "campaign", "term", "content")
_MAX_CLEAN = 8_192
_MAX_TEXT, _MAX_LIST, _MAX_ITEMS = 256, 20, 100
_SHORT_INTEGER = 10**6
_MAX_INTEGER = 10**13  # what segments can read; more digits may be a phone number and some more


class Redactor:
    """Redaction under one policy. Holds its compiled form and a bounded set of harmless strings."""

    def __init__(self, policy: Policy, references: References) -> None:
        self._policy = policy
        self._references = references
        self._clean: set[str] = set()  # harmless strings seen lately: they repeat
        self._ids: set[str] = set()  # those of them that look like ids
        self._path = re.compile("|".join(f"({_pattern(path)})" for path in policy.paths) or "(?!)")

    def reference(self, site: str, kind: str, value: str) -> str:
        """Return an id as it is if it looks like one, else its MAC.

        An id has at most 64 of ``A-Z a-z 0-9 . _ : -`` and no detector finds anything in it.
        """
        if value in self._ids or _SDK_ID.fullmatch(value):
            return value
        if _ID.fullmatch(value) and not self._hit(site, value):
            if kind != "message_id":  # message ids do not come again
                _remember(self._ids, value)
            return value
        if kind == "message_id" and _BARE_UUID.fullmatch(value):
            return value
        return self._references.text(site, kind, value)

    def properties(
        self, site: str, raw: Mapping[str, object], kept: frozenset[str] | None = None
    ) -> tuple[dict[str, object], list[str]]:
        """Return declared properties that may stay and the names of those not declared.

        ``kept`` limits them to the fields that the decision allows; None allows all.
        """
        found: dict[str, object] = {}
        undeclared: list[str] = []
        declared = self._policy.properties
        for name, value in raw.items():
            if name not in declared:
                undeclared.append(name)
            elif kept is None or name in kept:
                if isinstance(value, str):
                    clean: object = self._text(site, name, value)
                elif name == "items":
                    clean = self._items(site, value)
                else:
                    clean = self._value(site, name, value)
                if clean is not None:
                    found[name] = clean
        return found, undeclared

    def traits(self, site: str, raw: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
        """Return declared traits that may stay and the names of those not declared."""
        found: dict[str, object] = {}
        undeclared: list[str] = []
        for name, value in raw.items():
            if name not in self._policy.traits:
                undeclared.append(name)
                continue
            clean = self._value(site, name, value)
            if clean is not None:
                found[name] = clean
        return found, undeclared

    def _value(self, site: str, name: str, value: object) -> object:
        if isinstance(value, str):
            return self._text(site, name, value)
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if self._is_harmless(site, value) else None
        if isinstance(value, list):
            texts = [
                self._text(site, name, item) for item in value[:_MAX_LIST] if isinstance(item, str)
            ]
            return [text for text in texts if text is not None] or None
        return None

    def _is_harmless(self, site: str, number: float) -> bool:
        """Say whether a number is none that somebody can be called at."""
        return abs(number) < _SHORT_INTEGER or (
            abs(number) < _MAX_INTEGER and not self._hit(site, str(int(abs(number))))
        )

    def _hit(self, site: str, text: str) -> bool:
        if text in self._clean:
            return False
        if suspicious(text):
            return identifying(text, self._policy.sites[site].region)
        _remember(self._clean, text)
        return False

    def _text(self, site: str, name: str, value: str) -> str | None:
        if name in _ID_PROPERTIES:
            return self.reference(site, name, value) if value else None
        if not value or len(value) > _MAX_TEXT or self._hit(site, value):
            return None
        return value

    def _items(self, site: str, value: object) -> list[dict[str, object]] | None:
        if not isinstance(value, list):
            return None
        items: list[dict[str, object]] = []
        for item in value[:_MAX_ITEMS]:
            if not isinstance(item, dict):
                continue
            kept: dict[str, object] = {}
            for name in _ITEM_TEXT:
                text = item.get(name)
                clean = self._text(site, name, text) if isinstance(text, str) else None
                if clean is not None:
                    kept[name] = clean
            for name in _ITEM_NUMBERS:
                number = item.get(name)
                if isinstance(number, int) and self._is_harmless(site, number):
                    kept[name] = number
            items.append(kept)
        return items

    def page(self, site: str, place: Place) -> dict[str, str]:
        """Return host, templated path and referrer host; whatever does not fit is left out."""
        page: dict[str, str] = {}
        host, path = _split(place.url)
        if host and not self._hit(site, host):
            page["host"] = host
        match = self._path.fullmatch(path.rstrip("/") or "/") if host else None
        if match is not None and match.lastindex is not None:
            page["path"] = self._policy.paths[match.lastindex - 1]
        referrer, _ = _split(place.referrer)
        if referrer and not self._hit(site, referrer):
            page["referrer"] = referrer
        return page

    def campaign(self, site: str, touch: Touch) -> dict[str, str]:
        """Return the campaign parameters that may stay."""
        found: dict[str, str] = {}
        for name in _CAMPAIGN:
            value = touch.values.get(name)
            if isinstance(value, str):
                clean = self._text(site, name, value)
                if clean is not None:
                    found[name] = clean
        return found


def _remember(known: set[str], text: str) -> None:
    if len(known) >= _MAX_CLEAN:
        known.clear()
    known.add(text)


def _split(url: str) -> tuple[str, str]:
    """Return host and path of an absolute URL, both empty where it cannot be read."""
    match = _URL.match(url)
    return (match.group(1).lower(), match.group(2)) if match else ("", "")


def _pattern(path: str) -> str:
    """Return the pattern of a path template, whose parts may be ``:name``."""
    parts = (
        "[^/]+" if part.startswith(":") else re.escape(part) for part in path.rstrip("/").split("/")
    )
    return "/".join(parts) or "/"
