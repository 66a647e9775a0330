"""What a segment is: a validated tree of conditions, its canonical JSON, and its version.

Pure: no engine, no I/O; ``segments.rules.parse`` builds trees from YAML or JSON. Nodes are
values, so equal conditions compare equal and are computed once. Durations are milliseconds,
amounts integer minor units. Source: the segment semantics, rules 7, 11 and 17.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from consent.purposes import PurposeSet
from segments.rules.window import EVER, Window, duration_text

__all__ = [
    "Aggregate",
    "AllOf",
    "AnyOf",
    "Check",
    "Definition",
    "Did",
    "EventFilter",
    "FieldCheck",
    "Measure",
    "MeasureKind",
    "NoFollowUp",
    "Node",
    "NotOf",
    "Op",
    "Operand",
    "Percentile",
    "Scalar",
    "Share",
    "Trait",
    "children",
    "node_json",
    "walk",
]

Scalar = str | int | float | bool
Operand = Scalar | tuple[Scalar, ...]


class Op(StrEnum):
    """What is asked of one value; the value is the key in a definition."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    IN = "in"
    NOT_IN = "not_in"
    EXISTS = "exists"
    MISSING = "missing"


class MeasureKind(StrEnum):
    """A number per person; the value is the key in a definition."""

    COUNT = "count"
    DISTINCT = "distinct"
    SUM = "sum"
    NET_REVENUE = "net_revenue"


@dataclass(frozen=True, slots=True)
class Check:
    """One question to one value. BETWEEN includes both ends.

    ``flag`` keeps ``true`` and 1 apart, which Python takes for equal: equal conditions are
    computed once.
    """

    op: Op
    operand: Operand
    flag: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "flag", isinstance(self.operand, bool))


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """Every check holds for one field of an event."""

    field: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Trait:
    """Every check holds for the newest readable value of a trait."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events count. ``where`` holds only field tests and their combinations."""

    events: tuple[str, ...]
    where: "Node | None" = None
    window: Window = EVER


@dataclass(frozen=True, slots=True)
class Measure:
    """A number per person over some events.

    ``field`` is what is summed or told apart. Amounts add up in one ``currency``; None takes
    the one that most readable orders carry. NET_REVENUE is orders minus refunds.
    """

    kind: MeasureKind
    filter: EventFilter
    field: str = ""
    currency: str | None = None

    @property
    def is_money(self) -> bool:
        """Say whether events in another currency must be left out."""
        return self.kind is MeasureKind.NET_REVENUE or (
            self.kind is MeasureKind.SUM and self.field.endswith("_minor")
        )


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Every check holds for a measure. Nothing to sum up is missing, nothing to count is 0."""

    measure: Measure
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Did:
    """At least one such event."""

    filter: EventFilter


@dataclass(frozen=True, slots=True)
class NoFollowUp:
    """Some ``first`` with no ``then`` after it within ``within``, that deadline being past."""

    first: EventFilter
    then: EventFilter
    within: int


@dataclass(frozen=True, slots=True)
class Share:
    """An exact share ``numerator / denominator`` of a population, within (0, 1]."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Percentile:
    """The top share of a population by a measure, ties included.

    The population is who has the measure above zero; with ``among``, who fulfils that condition
    and has the measure at all.
    """

    measure: Measure
    top: Share
    among: "Node | None" = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every node holds."""

    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one node holds."""

    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class NotOf:
    """The node does not hold."""

    node: "Node"


Node = FieldCheck | Trait | Aggregate | Did | NoFollowUp | Percentile | AllOf | AnyOf | NotOf


@dataclass(frozen=True, slots=True)
class Definition:
    """One segment: who, for which purposes (leaves only)."""

    name: str
    purposes: PurposeSet
    where: Node

    def to_json(self) -> dict[str, object]:
        """Return a definition that parses back to this one."""
        return {
            "name": self.name,
            "purposes": sorted(self.purposes),
            "where": node_json(self.where),
        }

    def canonical(self) -> bytes:
        """Return the canonical JSON: sorted keys, no spaces, UTF-8."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()

    @property
    def version(self) -> str:
        """Return the SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


def node_json(node: Node) -> dict[str, object]:
    """Return one node as it stands in a definition."""
    match node:
        case AllOf(nodes):
            return {"all": [node_json(child) for child in nodes]}
        case AnyOf(nodes):
            return {"any": [node_json(child) for child in nodes]}
        case NotOf(child):
            return {"not": node_json(child)}
        case _:
            return _leaf_json(node)


def _leaf_json(
    node: FieldCheck | Trait | Aggregate | Did | NoFollowUp | Percentile,
) -> dict[str, object]:
    match node:
        case FieldCheck(field, checks):
            return {field: _checks_json(checks)}
        case Trait(name, checks):
            return {"trait": {"name": name, **_checks_json(checks)}}
        case Did(events):
            return {"did": _filter_json(events)}
        case Aggregate(measure, checks):
            return {measure.kind.value: {**_measure_json(measure), **_checks_json(checks)}}
        case NoFollowUp():
            return {"no_follow_up": _no_follow_up_json(node)}
        case Percentile():
            return {"percentile": _percentile_json(node)}


def children(node: Node) -> tuple[tuple[str, Node], ...]:
    """Return the nodes below with the step that leads to each, as paths are written."""
    match node:
        case AllOf(nodes):
            return tuple((f".all[{index}]", child) for index, child in enumerate(nodes))
        case AnyOf(nodes):
            return tuple((f".any[{index}]", child) for index, child in enumerate(nodes))
        case NotOf(child):
            return ((".not", child),)
        case Percentile(among=child) if child is not None:
            return ((".percentile.among", child),)
        case _:
            return ()


def walk(node: Node, path: str = "where") -> Iterator[tuple[str, Node]]:
    """Yield every condition with its path, outermost first."""
    yield path, node
    for step, child in children(node):
        yield from walk(child, path + step)


def _checks_json(checks: tuple[Check, ...]) -> dict[str, object]:
    return {
        check.op.value: list(check.operand) if isinstance(check.operand, tuple) else check.operand
        for check in checks
    }


def _events_json(events: tuple[str, ...]) -> object:
    return events[0] if len(events) == 1 else list(events)


def _filter_json(events: EventFilter) -> dict[str, object]:
    where = {} if events.where is None else {"where": node_json(events.where)}
    return {"event": _events_json(events.events), **where, **events.window.to_json()}


def _measure_json(measure: Measure) -> dict[str, object]:
    found = _filter_json(measure.filter)
    if measure.kind is MeasureKind.NET_REVENUE:
        del found["event"]
    if measure.field and measure.kind is not MeasureKind.NET_REVENUE:
        found["property"] = measure.field
    if measure.currency is not None:
        found["currency"] = measure.currency
    return found


def _no_follow_up_json(node: NoFollowUp) -> dict[str, object]:
    first = _filter_json(node.first)
    then = _filter_json(node.then)
    found = {**first, "then": then["event"], "within": duration_text(node.within)}
    if "where" in then:
        found["then_where"] = then["where"]
    return found


def _percentile_json(node: Percentile) -> dict[str, object]:
    scaled = node.top.numerator * 100
    whole, rest = divmod(scaled, node.top.denominator)
    fraction = ""
    while rest:
        digit, rest = divmod(rest * 10, node.top.denominator)
        fraction += str(digit)
    among = {} if node.among is None else {"among": node_json(node.among)}
    return {
        "measure": {node.measure.kind.value: _measure_json(node.measure)},
        "top": f"{whole}.{fraction}%" if fraction else f"{whole}%",
        **among,
    }
