"""Reads keys and values of a definition with the path of each, so that every error says where.

Knows the vocabulary, the budget of nodes, and one mapping at a time; not which conditions exist.
Source: the segment definition format.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NoReturn

from consent.purposes import LEAVES, Purpose
from segments.errors import InvalidDefinitionError
from segments.rules.tree import Check, Op, Operand, Scalar
from segments.rules.window import (
    EVER,
    MAX_DAYS,
    Window,
    WindowKind,
    duration_ms,
    epoch_day,
    instant_ms,
)
from segments.schema import MAX_WHOLE, TYPED_FIELDS, FieldKind

__all__ = ["MAX_DEPTH", "MAX_NODES", "Budget", "Reader", "Vocabulary", "Whole", "fail"]

MAX_DEPTH = 32
MAX_NODES = 1_000
_MAX_ITEMS = 1_000
_MAX_TEXT = 1_000
_MAX_EXACT = 2**53
_EVENT = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
_ORDERED = (Op.GT, Op.GTE, Op.LT, Op.LTE)
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What names a definition may use; None accepts any property or trait."""

    leaves: Mapping[str, Purpose] = field(default_factory=lambda: LEAVES)
    properties: frozenset[str] | None = None
    traits: frozenset[str] | None = None


class Budget:
    """How much one definition may still hold."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def spend(self, path: str, depth: int) -> None:
        """Count one node.

        Raises:
            InvalidDefinitionError: too many nodes, or nested too deeply.
        """
        self._left -= 1
        if self._left < 0:
            fail(f"more than {MAX_NODES} conditions", path)
        if depth > MAX_DEPTH:
            fail(f"nested deeper than {MAX_DEPTH} levels", path)


def fail(message: str, path: str) -> NoReturn:
    """Refuse the definition.

    Raises:
        InvalidDefinitionError: always.
    """
    raise InvalidDefinitionError(message, path)


class Whole:
    """Marks tests whose value is a whole number, such as a count."""


class Reader:
    """One mapping of a definition: every key must be asked for, or it is an error."""

    def __init__(self, value: object, path: str, words: Vocabulary) -> None:
        if not isinstance(value, dict):
            raise InvalidDefinitionError(f"expected keys, found {_kind(value)}", path)
        for key in value:
            if not isinstance(key, str):
                fail("keys must be text; put quotes around it", path)
        self._left: dict[str, object] = dict(value)
        self._asked: set[str] = set()
        self.path = path
        self.words = words

    def has(self, key: str) -> bool:
        """Say whether a key is there and not read yet."""
        self._asked.add(key)
        return key in self._left

    def take(self, key: str) -> object:
        """Return the value of a key that must be there."""
        if not self.has(key):
            fail(f"{key!r} is missing", self.path)
        return self._left.pop(key)

    def text(self, key: str) -> str:
        """Return a non-empty text in NFC."""
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise InvalidDefinitionError(f"expected text, found {_kind(value)}", self.at(key))
        return _nfc(value, self.at(key))

    def duration(self, key: str) -> int:
        """Return a duration in milliseconds."""
        return _duration(self.take(key), self.at(key))

    def events(self, key: str) -> tuple[str, ...]:
        """Return one event name or several, sorted."""
        value = self.take(key)
        names = value if isinstance(value, list) else [value]
        if not names:
            fail("expected at least one event name", self.at(key))
        for name in names:
            if not isinstance(name, str) or not _EVENT.fullmatch(name):
                fail("expected an event name in snake_case, like order_completed", self.at(key))
        return tuple(sorted(set(names)))

    def field(self, key: str) -> str:
        """Return the name of an event field that may be used."""
        name = self.text(key)
        self.check_field(name, self.at(key))
        return name

    def check_field(self, name: str, path: str) -> None:
        """Refuse a field that no event can have."""
        known = self.words.properties
        if known is not None and name not in known and name not in TYPED_FIELDS:
            fail(_unknown("property", name, [*known, *TYPED_FIELDS]), path)

    def trait(self, key: str) -> str:
        """Return the name of a trait that may be used."""
        name = self.text(key)
        known = self.words.traits
        if known is not None and name not in known:
            fail(_unknown("trait", name, known), self.at(key))
        return name

    def window(self) -> Window:
        """Read whichever window key is there; none means ever."""
        keys = (*(kind.value for kind in WindowKind if kind not in _UNWRITTEN),)
        found = [key for key in keys if self.has(key)]
        if not found:
            return EVER
        if len(found) > 1:
            fail(f"only one of {', '.join(found)} can be given", self.path)
        key = found[0]
        return _WINDOWS[key](self.take(key), self.at(key))

    def checks(self, kind: FieldKind | type[Whole] | None) -> tuple[Check, ...]:
        """Read every operator that is there, at least one, in the order of ``Op``."""
        found = [_check(op, self.take(op), self.at(op), kind) for op in Op if self.has(op)]
        if not found:
            fail(f"expected a comparison: {', '.join(Op)}", self.path)
        return tuple(sorted(found, key=lambda check: list(Op).index(check.op)))

    def done(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._left:
            fail(_unknown("key", key, self._asked), self.path)

    def at(self, key: str) -> str:
        """Return the path of one key."""
        return f"{self.path}.{key}" if self.path else key

    def keys(self) -> list[str]:
        """Return the keys not read yet."""
        return list(self._left)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name[:64]!r}{hint}"


def _kind(value: object) -> str:
    names = {dict: "keys", list: "a list", str: "text", bool: "true or false", type(None): "none"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "another type")


def _nfc(value: str, path: str) -> str:
    if len(value) > _MAX_TEXT:
        fail(f"longer than {_MAX_TEXT} characters", path)
    return unicodedata.normalize("NFC", value)


def _duration(value: object, path: str) -> int:
    if not isinstance(value, str):
        raise InvalidDefinitionError("expected a duration like 30m, 1h, 7d or 2w", path)
    try:
        return duration_ms(value)
    except ValueError as error:
        raise InvalidDefinitionError(str(error), path) from error


def _last(value: object, path: str) -> Window:
    return Window(WindowKind.LAST, _duration(value, path))


def _between_ago(value: object, path: str) -> Window:
    first, second = _pair(value, path)
    far, near = _duration(first, f"{path}[0]"), _duration(second, f"{path}[1]")
    if far <= near:
        fail("the longer duration comes first", path)
    return Window(WindowKind.BETWEEN_AGO, far, near)


def _range(value: object, path: str) -> Window:
    first, second = _pair(value, path)
    days = [_day(first), _day(second)]
    if days[0] is not None and days[1] is not None:
        if days[0] > days[1]:
            fail("the earlier date comes first", path)
        return Window(WindowKind.DATES, days[0], days[1])
    start, end = _instant(first, f"{path}[0]"), _instant(second, f"{path}[1]")
    if start >= end:
        fail("the earlier instant comes first", path)
    return Window(WindowKind.RANGE, start, end)


def _calendar_days(value: object, path: str) -> Window:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_DAYS:
        raise InvalidDefinitionError(f"expected a number of days from 1 to {MAX_DAYS}", path)
    return Window(WindowKind.CALENDAR_DAYS, value)


_WINDOWS: Mapping[str, Callable[[object, str], Window]] = {
    WindowKind.LAST: _last,
    WindowKind.BETWEEN_AGO: _between_ago,
    WindowKind.RANGE: _range,
    WindowKind.CALENDAR_DAYS: _calendar_days,
}
_UNWRITTEN = (WindowKind.EVER, WindowKind.DATES)


def _pair(value: object, path: str) -> tuple[object, object]:
    if not isinstance(value, list) or len(value) != _PAIR:
        raise InvalidDefinitionError("expected a list of two", path)
    return value[0], value[1]


def _day(value: object) -> int | None:
    """Read a calendar date, from YAML's own type or ISO text; None for anything else."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return epoch_day(value)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        try:
            return epoch_day(date.fromisoformat(value))
        except ValueError:
            return None
    return None


def _instant(value: object, path: str) -> int:
    text = value.isoformat() if isinstance(value, datetime) else value
    if not isinstance(text, str):
        raise InvalidDefinitionError("expected two dates, or two instants with an offset", path)
    try:
        return instant_ms(text)
    except ValueError as error:
        raise InvalidDefinitionError(
            "expected two dates, or two instants with an offset", path
        ) from error


def _check(op: Op, value: object, path: str, kind: FieldKind | type[Whole] | None) -> Check:
    if op in (Op.EXISTS, Op.MISSING):
        if kind is Whole:
            fail("a number of events is never missing", path)
        if not isinstance(value, bool):
            raise InvalidDefinitionError("expected true or false", path)
        other = Op.MISSING if op is Op.EXISTS else Op.EXISTS
        return Check(op if value else other, operand=True)
    if op in (Op.IN, Op.NOT_IN):
        return Check(op, _items(value, path, kind))
    if op is Op.BETWEEN:
        low, high = _pair(value, path)
        ends = (_scalar(low, f"{path}[0]", kind), _scalar(high, f"{path}[1]", kind))
        return Check(op, _ordered_ends(ends, path))
    operand = _scalar(value, path, kind)
    if op in _ORDERED and isinstance(operand, bool):
        fail("true and false have no order", path)
    return Check(op, operand)


def _ordered_ends(ends: tuple[Scalar, Scalar], path: str) -> Operand:
    low, high = ends
    if isinstance(low, str) and isinstance(high, str):
        in_order = low <= high
    elif isinstance(low, str | bool) or isinstance(high, str | bool):
        raise InvalidDefinitionError("expected two numbers or two texts", path)
    else:
        in_order = low <= high
    if not in_order:
        fail("the smaller end comes first", path)
    return ends


def _items(value: object, path: str, kind: FieldKind | type[Whole] | None) -> Operand:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_ITEMS:
        raise InvalidDefinitionError(f"expected a list of 1 to {_MAX_ITEMS} values", path)
    items = [_scalar(item, f"{path}[{index}]", kind) for index, item in enumerate(value)]
    texts = [item for item in items if isinstance(item, str)]
    numbers = [item for item in items if not isinstance(item, str | bool)]
    if len(texts) == len(items):
        return tuple(sorted(set(texts)))
    if len(numbers) == len(items):
        return tuple(sorted(set(numbers)))
    raise InvalidDefinitionError(
        "expected only texts or only numbers; put quotes around words like no and on", path
    )


def _scalar(value: object, path: str, kind: FieldKind | type[Whole] | None) -> Scalar:
    if kind is FieldKind.TEXT and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if kind is FieldKind.TEXT and not isinstance(value, str):
        fail("this field holds text; put quotes around the value", path)
    if kind in (FieldKind.WHOLE, Whole):
        return _whole(value, path)
    if isinstance(value, str):
        return _nfc(value, path)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) <= _MAX_EXACT:
        return int(value) if value == int(value) else value
    raise InvalidDefinitionError(
        f"expected text, a number or true or false, found {_kind(value)}", path
    )


def _whole(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_WHOLE * 100_000:
        raise InvalidDefinitionError("expected a whole number (amounts in minor units)", path)
    return value
