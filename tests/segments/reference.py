"""Segment membership as the semantics say it, with plain loops: slow, and shares no code with
the product beyond the shape of a definition. What the engines must agree with."""

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from consent.event import ConsentedEvent
from consent.purposes import PurposeSet
from segments.ports import LoggedEvent
from segments.rules.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Check,
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
    Trait,
)
from segments.rules.window import WindowKind
from tests.segments.histories import History

TEXTS = {"product_id", "sku", "category", "brand", "variant", "order_id", "currency", "coupon"}
WHOLES = {"quantity", "value_minor", "price_minor"}
LIMIT = 10**13
UNSCALAR = object()


@dataclass
class Reference:
    """One history at one instant, seen through one set of purposes."""

    history: History
    at: int
    zones: Mapping[str, str]
    purposes: PurposeSet
    max_history: int = 50_000

    def members(self, definition: Definition) -> set[int]:
        return {p for p in self.people() if self.holds(p, definition.where)}

    def cluster(self, person: int) -> set[int]:
        slots = {row.slot for row in self.history.logged}
        slots |= {row.slot for row in self.history.records}
        return {slot for slot in slots if self.history.person(slot) == person}

    def people(self) -> list[int]:
        persons = {self.history.person(row.slot) for row in self.history.records}
        return sorted(p for p in persons if self.passes_person_gate(p))

    def passes_person_gate(self, person: int) -> bool:
        seen = False
        for slot in self.cluster(person):
            latest = None
            for row in self.history.records:
                if row.slot == slot and row.received <= self.at:
                    latest = row
            if latest is not None:
                seen = True
                if not self.purposes <= latest.granted:
                    return False
        now = self.history.current(sorted(self.cluster(person)))
        return seen and bool(now) and all(self.purposes <= granted for granted in now.values())

    def readable(self, person: int) -> list[LoggedEvent]:
        cluster = self.cluster(person)
        found = []
        for row in self.history.logged:
            event = row.event
            if row.slot not in cluster or row.slot in self.history.unreadable:
                continue
            if event.received > self.at or event.t > self.at:
                continue
            if not self.purposes <= set(event.purposes):
                continue
            if any(
                record.slot in cluster
                and record.received >= event.t
                and not self.purposes <= record.granted
                for record in self.history.records
            ):
                continue
            found.append(row)
        found.sort(key=lambda row: (row.event.t, row.position))
        return found[-self.max_history :]

    def holds(self, person: int, node: Node) -> bool:
        match node:
            case AllOf(nodes):
                return all(self.holds(person, child) for child in nodes)
            case AnyOf(nodes):
                return any(self.holds(person, child) for child in nodes)
            case NotOf(child):
                return not self.holds(person, child)
            case _:
                return self.leaf(person, node)

    def leaf(self, person: int, node: Node) -> bool:
        match node:
            case Trait(name, checks):
                value = self.trait(person, name)
                return all(answer(value, check) for check in checks)
            case Did(events):
                return any(True for _ in self.matching(person, events))
            case Aggregate(measure, checks):
                number = self.measure(person, measure)
                return number is not None and all(answer(number, check) for check in checks)
            case NoFollowUp(first, then, within):
                return self.stayed_alone(person, first, then, within)
            case Percentile():
                return person in self.top(node)
            case _:
                raise AssertionError(node)

    def trait(self, person: int, name: str) -> object:
        newest: tuple[int, int] | None = None
        value: object = None
        for row in self.readable(person):
            traits = row.event.properties.get("traits")
            if row.event.name != "person_updated" or not isinstance(traits, dict):
                continue
            if name in traits and (newest is None or (row.event.t, row.position) > newest):
                newest = (row.event.t, row.position)
                value = traits[name]
        return scalar(value)

    def matching(self, person: int, events: EventFilter) -> Iterator[ConsentedEvent]:
        for row in self.readable(person):
            if self.counts(row.event, events):
                yield row.event

    def counts(self, event: ConsentedEvent, events: EventFilter) -> bool:
        return (
            event.name in events.events
            and self.in_window(event, events)
            and (events.where is None or fits(event, events.where))
        )

    def in_window(self, event: ConsentedEvent, events: EventFilter) -> bool:
        window = events.window
        match window.kind:
            case WindowKind.EVER:
                return True
            case WindowKind.LAST:
                return self.at - window.start < event.t <= self.at
            case WindowKind.BETWEEN_AGO:
                return self.at - window.start < event.t <= self.at - window.end
            case WindowKind.RANGE:
                return window.start <= event.t < window.end
            case WindowKind.DATES:
                return window.start <= event.local_date <= window.end
            case WindowKind.CALENDAR_DAYS:
                zone = ZoneInfo(self.zones.get(event.site, "UTC"))
                today = datetime.fromtimestamp(self.at // 1000, tz=zone).date()
                first = today - timedelta(days=window.start - 1)
                own = datetime.fromtimestamp(event.t // 1000, tz=zone).date()
                return first <= own <= today

    def measure(self, person: int, measure: Measure) -> int | None:
        found = list(self.matching(person, measure.filter))
        if measure.kind is MeasureKind.COUNT:
            return len(found)
        if measure.kind is MeasureKind.DISTINCT:
            values = {(type(v) is bool, v) for e in found if is_single(v := read(e, measure.field))}
            return len(values)
        addends = [a for event in found if (a := self.addend(event, measure)) is not None]
        return sum(addends) if addends else None

    def addend(self, event: ConsentedEvent, measure: Measure) -> int | None:
        value = read(event, measure.field)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if value != int(value) or abs(value) > LIMIT:
            return None
        money = measure.kind is MeasureKind.NET_REVENUE or measure.field.endswith("_minor")
        if money and not self.counts_as_money(event, measure):
            return None
        if measure.kind is MeasureKind.NET_REVENUE and event.name == "order_refunded":
            return -abs(int(value))
        return int(value)

    def counts_as_money(self, event: ConsentedEvent, measure: Measure) -> bool:
        """An amount without a currency is in none, also where nobody ordered anything."""
        code = read(event, "currency")
        return code is not None and code == (measure.currency or self.usual_currency())

    def usual_currency(self) -> str | None:
        counts: dict[str, int] = {}
        for person in self.people():
            for row in self.readable(person):
                code = read(row.event, "currency")
                if row.event.name == "order_completed" and isinstance(code, str):
                    counts[code] = counts.get(code, 0) + 1
        return min(counts, key=lambda code: (-counts[code], code), default=None)

    def stayed_alone(self, person: int, first: EventFilter, then: EventFilter, within: int) -> bool:
        followers = [event.t for event in self.matching(person, then)]
        for event in self.matching(person, first):
            if event.t > self.at - within:
                continue
            if not any(event.t < t <= event.t + within for t in followers):
                return True
        return False

    def top(self, node: Percentile) -> set[int]:
        values: dict[int, int] = {}
        for person in self.people():
            number = self.measure(person, node.measure)
            if number is None:
                continue
            if number > 0 if node.among is None else self.holds(person, node.among):
                values[person] = number
        if not values:
            return set()
        share = Fraction(node.top.numerator, node.top.denominator)
        place = math.ceil(share * len(values))
        threshold = sorted(values.values(), reverse=True)[place - 1]
        return {person for person, value in values.items() if value >= threshold}


def scalar(value: object) -> object:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return UNSCALAR if isinstance(value, list | dict) else value


def read(event: ConsentedEvent, name: str) -> object:
    group, _, key = name.partition(".")
    value: object
    if key:
        value = {"page": event.page, "campaign": event.campaign}[group].get(key)
    else:
        value = event.properties.get(name)
    if name in TEXTS:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(int(value)) if value == int(value) else None
        return scalar(value) if isinstance(value, str) else None
    if name in WHOLES:
        whole = not isinstance(value, bool) and isinstance(value, int | float)
        if not whole or value != int(value) or abs(value) > LIMIT:  # type: ignore[call-overload, arg-type]  # whole says it is a number
            return None
    return scalar(value)


def is_single(value: object) -> bool:
    return value is not None and value is not UNSCALAR


def fits(event: ConsentedEvent, where: Node) -> bool:
    match where:
        case AllOf(nodes):
            return all(fits(event, node) for node in nodes)
        case AnyOf(nodes):
            return any(fits(event, node) for node in nodes)
        case NotOf(node):
            return not fits(event, node)
        case FieldCheck(name, checks):
            return all(answer(read(event, name), check) for check in checks)
        case _:
            raise AssertionError(where)


def answer(value: object, check: Check) -> bool:
    if check.op is Op.MISSING:
        return value is None
    if value is None:
        return False
    if check.op is Op.EXISTS:
        return True
    operands = check.operand if isinstance(check.operand, tuple) else (check.operand,)
    if check.op in (Op.NE, Op.NOT_IN):
        return not any(same(value, operand) for operand in operands)
    if check.op in (Op.EQ, Op.IN):
        return any(same(value, operand) for operand in operands)
    return all(kind(value) == kind(operand) for operand in operands) and ORDER[check.op](
        value, operands
    )


def same(value: object, operand: object) -> bool:
    return kind(value) == kind(operand) and value == operand


def kind(value: object) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, int | float) else "list"


ORDER: Mapping[Op, Callable[..., bool]] = {
    Op.GT: lambda value, ends: value > ends[0],
    Op.GTE: lambda value, ends: value >= ends[0],
    Op.LT: lambda value, ends: value < ends[0],
    Op.LTE: lambda value, ends: value <= ends[0],
    Op.BETWEEN: lambda value, ends: ends[0] <= value <= ends[1],
}
