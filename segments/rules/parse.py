"""Turns YAML or JSON into definitions, or says exactly what is wrong and where.

Knows the keys of every condition; not what they mean to an engine. Unknown keys are errors with
a suggestion. Source: the segment definition format; ``docs/segments.md`` has every field.
"""

import math
import re
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import ClassVar

import yaml

from consent.errors import UnknownPurposeError
from consent.purposes import expand
from segments.errors import InvalidDefinitionError
from segments.rules.reading import Budget, Reader, Vocabulary, Whole, fail
from segments.rules.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Definition,
    Did,
    EventFilter,
    FieldCheck,
    Measure,
    MeasureKind,
    Node,
    NoFollowUp,
    NotOf,
    Op,
    Percentile,
    Share,
    Trait,
    walk,
)
from segments.rules.window import EVER, WindowKind
from segments.schema import TYPED_FIELDS, FieldKind

__all__ = ["MAX_PASSES", "parse_definition", "parse_definitions", "read_yaml"]

MAX_PASSES = 32
"""Conditions per definition that need a pass of their own over the events."""

_MAX_YAML = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_SHARE = re.compile(r"(100|[0-9]{1,2})(\.[0-9]{1,6})? ?%", re.ASCII)
_OPERATORS = {op.value for op in Op}
_ORDERS = ("order_completed", "order_refunded")


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - the signature is PyYAML's
    ) -> dict[Hashable, object]:
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "key given twice", node.start_mark)
        return found


def read_yaml(text: str, words: Vocabulary | None = None) -> tuple[Definition, ...]:
    """Read the definitions of one YAML (or JSON) text.

    Raises:
        InvalidDefinitionError: not YAML, or a definition is wrong; ``path`` says where.
    """
    if len(text) > _MAX_YAML:
        fail(f"longer than {_MAX_YAML} characters", "")
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidDefinitionError(f"not YAML: {error.problem}", f"line {line}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidDefinitionError("not YAML") from error
    return parse_definitions(value, words)


def parse_definitions(value: object, words: Vocabulary | None = None) -> tuple[Definition, ...]:
    """Read a list of definitions (or one) from plain values.

    Raises:
        InvalidDefinitionError: one is wrong, or two have one name.
    """
    items = value if isinstance(value, list) else [value]
    found: dict[str, Definition] = {}
    for index, item in enumerate(items):
        at = f"[{index}]" if isinstance(value, list) else ""
        definition = parse_definition(item, words, at)
        if definition.name in found:
            fail(f"name {definition.name!r} is given twice", f"{at}.name")
        found[definition.name] = definition
    return tuple(found.values())


def parse_definition(value: object, words: Vocabulary | None = None, path: str = "") -> Definition:
    """Read one definition from plain values.

    Raises:
        InvalidDefinitionError: it is wrong; ``path`` says where.
    """
    reader = Reader(value, path, words or Vocabulary())
    name = reader.text("name")
    if not _NAME.fullmatch(name):
        fail("expected lower-case letters, digits, _ or -, at most 64", reader.at("name"))
    purposes = _purposes(reader)
    where = _Conditions(reader.words).node(reader.take("where"), reader.at("where"))
    reader.done()
    _check_passes(where, reader.at("where"))
    return Definition(name=name, purposes=purposes, where=where)


def _purposes(reader: Reader) -> frozenset[str]:
    value, path = reader.take("purposes"), reader.at("purposes")
    items = value if isinstance(value, list) else [value]
    names = [item for item in items if isinstance(item, str)]
    if not items or len(names) < len(items):
        fail("expected a list of purposes, at least one", path)
    try:
        return expand(names, reader.words.leaves, path)
    except UnknownPurposeError as error:
        message = str(error).removeprefix(f"{path}: ")
        raise InvalidDefinitionError(message, path) from error


def _check_passes(where: Node, path: str) -> None:
    heavy = {
        node
        for _, node in walk(where)
        if isinstance(node, NoFollowUp | Percentile)
        or (isinstance(node, Aggregate) and node.measure.kind is MeasureKind.DISTINCT)
    }
    if len(heavy) > MAX_PASSES:
        fail(f"more than {MAX_PASSES} of no_follow_up, percentile and distinct", path)


class _Conditions:
    """Reads the nodes of one definition; counts them."""

    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self._budget = Budget()

    def node(self, value: object, path: str, depth: int = 1) -> Node:
        """Read a condition or a combination of conditions."""
        self._budget.spend(path, depth)
        reader = Reader(value, path, self._words)
        key = self._only_key(reader)
        inner = reader.take(key)
        if key in _COMBINATIONS:
            return self._combination(key, inner, reader.at(key), depth, self.node)
        return self._READ[key](self, inner, reader.at(key), depth)

    def _only_key(self, reader: Reader) -> str:
        known = [key for key in (*_COMBINATIONS, *self._READ) if reader.has(key)]
        if len(known) == 1:
            return known[0]
        if not known:
            reader.done()
            fail("expected a condition", reader.path)
        raise InvalidDefinitionError(
            f"one condition at a time, found {' and '.join(known)}; put them under all or any",
            reader.path,
        )

    def _combination(
        self, key: str, inner: object, path: str, depth: int, read: "Callable[..., Node]"
    ) -> Node:
        if key == "not":
            return NotOf(read(inner, path, depth + 1))
        if not isinstance(inner, list) or not inner:
            raise InvalidDefinitionError("expected a list of conditions, at least one", path)
        nodes = tuple(read(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(inner))
        return AllOf(nodes) if key == "all" else AnyOf(nodes)

    def _trait(self, value: object, path: str, depth: int) -> Node:
        self._budget.spend(path, depth)
        reader = Reader(value, path, self._words)
        name = reader.trait("name")
        checks = reader.checks(None)
        reader.done()
        return Trait(name, checks)

    def _did(self, value: object, path: str, depth: int) -> Node:
        reader = Reader(value, path, self._words)
        events = self._filter(reader, depth)
        reader.done()
        return Did(events)

    def _filter(self, reader: Reader, depth: int) -> EventFilter:
        return EventFilter(reader.events("event"), self._where(reader, depth), reader.window())

    def _where(self, reader: Reader, depth: int, key: str = "where") -> Node | None:
        if not reader.has(key):
            return None
        return self._field_checks(reader.take(key), reader.at(key), depth + 1)

    def _field_checks(self, value: object, path: str, depth: int) -> Node:
        self._budget.spend(path, depth)
        reader = Reader(value, path, self._words)
        combined = [key for key in _COMBINATIONS if reader.has(key)]
        if combined:
            key = combined[0]
            inner = reader.take(key)
            reader.done()
            return self._combination(key, inner, reader.at(key), depth, self._field_checks)
        nodes = tuple(self._field_check(reader, name, depth) for name in reader.keys())  # noqa: SIM118 - not a dict
        if not nodes:
            fail("expected at least one property", path)
        return nodes[0] if len(nodes) == 1 else AllOf(nodes)

    def _field_check(self, reader: Reader, name: str, depth: int) -> FieldCheck:
        path = reader.at(name)
        self._budget.spend(path, depth)
        reader.check_field(name, path)
        value = reader.take(name)
        if isinstance(value, list):
            value = {Op.IN.value: value}
        elif not isinstance(value, dict):
            value = {Op.EQ.value: value}
        inner = Reader(value, path, self._words)
        typed = TYPED_FIELDS.get(name)
        checks = inner.checks(typed.kind if typed else None)
        inner.done()
        return FieldCheck(name, checks)

    def _measure(self, kind: MeasureKind, reader: Reader, depth: int) -> Measure:
        if kind is MeasureKind.NET_REVENUE:
            events = EventFilter(_ORDERS, self._where(reader, depth), reader.window())
            return Measure(kind, events, "value_minor", _currency(reader))
        events = self._filter(reader, depth)
        field = "" if kind is MeasureKind.COUNT else reader.field("property")
        typed = TYPED_FIELDS.get(field)
        if kind is MeasureKind.SUM and typed is not None and typed.kind is not FieldKind.WHOLE:
            fail("only numbers can be summed", reader.at("property"))
        measure = Measure(kind, events, field)
        if measure.is_money:
            return Measure(kind, events, field, _currency(reader))
        return measure

    def _aggregate(self, kind: MeasureKind, value: object, path: str, depth: int) -> Node:
        reader = Reader(value, path, self._words)
        measure = self._measure(kind, reader, depth)
        checks = reader.checks(Whole)
        reader.done()
        return Aggregate(measure, checks)

    def _count(self, value: object, path: str, depth: int) -> Node:
        return self._aggregate(MeasureKind.COUNT, value, path, depth)

    def _distinct(self, value: object, path: str, depth: int) -> Node:
        return self._aggregate(MeasureKind.DISTINCT, value, path, depth)

    def _sum(self, value: object, path: str, depth: int) -> Node:
        return self._aggregate(MeasureKind.SUM, value, path, depth)

    def _net_revenue(self, value: object, path: str, depth: int) -> Node:
        return self._aggregate(MeasureKind.NET_REVENUE, value, path, depth)

    def _no_follow_up(self, value: object, path: str, depth: int) -> Node:
        reader = Reader(value, path, self._words)
        first = EventFilter(reader.events("event"), self._where(reader, depth), reader.window())
        then = EventFilter(reader.events("then"), self._where(reader, depth, "then_where"))
        within = reader.duration("within")
        reader.done()
        if first.window.kind not in (WindowKind.EVER, WindowKind.LAST):
            fail("only last can be given here", path)
        if first.window is not EVER and first.window.start <= within:
            fail("last must be longer than within, or nobody can ever be a member", path)
        return NoFollowUp(first, then, within)

    def _percentile(self, value: object, path: str, depth: int) -> Node:
        reader = Reader(value, path, self._words)
        inner = Reader(reader.take("measure"), reader.at("measure"), self._words)
        kinds = [kind for kind in MeasureKind if inner.has(kind)]
        if len(kinds) != 1:
            inner.done()
            fail(f"expected one measure: {', '.join(MeasureKind)}", inner.path)
        kind = kinds[0]
        measured = Reader(inner.take(kind), inner.at(kind), self._words)
        inner.done()
        measure = self._measure(kind, measured, depth)
        measured.done()
        top = _share(reader.take("top"), reader.at("top"))
        among = None
        if reader.has("among"):
            among = self.node(reader.take("among"), reader.at("among"), depth + 1)
        reader.done()
        return Percentile(measure, top, among)

    _READ: ClassVar[Mapping[str, "Callable[[_Conditions, object, str, int], Node]"]] = {
        "trait": _trait,
        "did": _did,
        "count": _count,
        "distinct": _distinct,
        "sum": _sum,
        "net_revenue": _net_revenue,
        "no_follow_up": _no_follow_up,
        "percentile": _percentile,
    }


_COMBINATIONS = ("all", "any", "not")


def _currency(reader: Reader) -> str | None:
    if not reader.has("currency"):
        return None
    code = reader.text("currency")
    if not _CURRENCY.fullmatch(code):
        fail("expected a currency code like EUR", reader.at("currency"))
    return code


def _share(value: object, path: str) -> Share:
    match = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidDefinitionError("expected a share like 10% or 2.5%", path)
    numerator, denominator = Decimal(match[1] + (match[2] or "")).as_integer_ratio()
    denominator *= 100
    if not 0 < numerator <= denominator:
        fail("expected more than 0% and at most 100%", path)
    shared = math.gcd(numerator, denominator)
    return Share(numerator // shared, denominator // shared)
