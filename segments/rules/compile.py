"""Turns a definition into one portable Ibis expression: a row per person, a boolean per node.

Reads only the relations that passed the gates (``segments.rules.gate``). Uses no operation that
engines disagree on: no approximate distinct count, no NULL in a comparison, no division, names
unique under case folding. Source: the segment semantics, rules 4 to 11; engine contract.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ibis

from segments.rules.predicates import (
    Clock,
    compare,
    field_value,
    holds,
    matches,
    stored_value,
    within,
)
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
    Percentile,
    Trait,
    walk,
)
from segments.schema import TYPED_FIELDS

__all__ = [
    "Needs",
    "Opened",
    "Plan",
    "compile_definition",
    "dominant_currency",
    "measured",
    "needs",
    "other_currencies",
]

_REFUNDED = "order_refunded"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a definition reads: event names, fields with a column, fields without, traits."""

    events: frozenset[str] = frozenset()
    typed: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()
    money: bool = False
    """An amount is summed without naming its currency."""

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.events | other.events,
            self.typed | other.typed,
            self.loose | other.loose,
            self.traits | other.traits,
            self.money or other.money,
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """The relations behind both gates for one set of purposes, and what holds for all of them.

    ``fields`` are declared properties without a column, not gated: they join to ``rows``.
    ``currency`` is what amounts add up in where a definition names none.
    """

    people: ibis.Table
    rows: ibis.Table
    traits: ibis.Table
    fields: ibis.Table
    clock: Clock
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One row per person who passes the gate.

    ``numbers`` are measures: value, and whether there was anything to measure. ``evidence``
    gives the events that a condition rests on (``person``, ``position``), None for combinations.
    """

    relation: ibis.Table
    truth: Mapping[Node, ibis.Value]
    numbers: Mapping[Measure, tuple[ibis.Value, ibis.Value]]
    where: Node
    evidence: Callable[[Node], ibis.Table | None]

    def members(self) -> ibis.Table:
        """Return the people of the segment, one column."""
        return self.relation.filter(self.truth[self.where]).select("person")


@dataclass(slots=True)
class _Draft:
    """A relation that grows one join at a time; its columns never hold NULL."""

    relation: ibis.Table
    numbers: dict[Measure, tuple[str, str]] = field(default_factory=dict)
    flags: dict[Node, str] = field(default_factory=dict)

    def join(self, other: ibis.Table, defaults: Mapping[str, int]) -> None:
        """Add columns of a relation with one row per person; who is not in it gets defaults."""
        keyed = other.rename(member="person")
        joined = self.relation.left_join(keyed, self.relation.person == keyed.member)
        self.relation = joined.select(
            *[self.relation[name] for name in self.relation.columns],
            **{name: ibis.coalesce(keyed[name], value) for name, value in defaults.items()},
        )

    def number(self, measure: Measure) -> tuple[ibis.Value, ibis.Value]:
        """Return a measure's value, and whether there was anything to measure."""
        value, known = self.numbers[measure]
        if value == known:
            return self.relation[value], ibis.literal(value=True)
        return self.relation[value], self.relation[known] > 0


def needs(definition: Definition) -> Needs:
    """Return what a definition reads."""
    found = Needs()
    for _, node in walk(definition.where):
        found |= _needs(node)
    if found.money:
        found |= Needs(events=frozenset({"order_completed"}), typed=frozenset({"currency"}))
    return found


def compile_definition(definition: Definition, opened: Opened) -> Plan:
    """Return the plan of a definition over relations that passed the gates."""
    nodes = list(dict.fromkeys(node for _, node in walk(definition.where)))
    rows, pivoted = _with_loose_fields(opened, needs(definition).loose)
    compiler = _Compiler(opened, rows, pivoted)
    draft = _Draft(opened.people.select("person"))
    measures = list(dict.fromkeys(m for node in nodes for m in measured(node)))
    compiler.join_totals(draft, [m for m in measures if m.kind is not MeasureKind.DISTINCT])
    for measure in measures:
        if measure.kind is MeasureKind.DISTINCT:
            compiler.join_distinct(draft, measure)
    for node in nodes:
        if isinstance(node, NoFollowUp):
            compiler.join_no_follow_up(draft, node)
    truths = _Truths(draft, compiler.join_traits(draft, nodes))
    # Innermost first: the population of a percentile may depend on another percentile.
    for node in reversed(nodes):
        if isinstance(node, Percentile):
            truths.rank(node)
    return Plan(
        relation=draft.relation,
        truth={node: truths.of(node) for node in nodes},
        numbers={measure: draft.number(measure) for measure in measures},
        where=definition.where,
        evidence=compiler.evidence,
    )


def dominant_currency(rows: ibis.Table) -> ibis.Table:
    """Return the currency that most readable orders carry, one row or none; ties by code."""
    orders = rows.filter(rows.name == "order_completed", rows.currency.notnull())
    counts = orders.group_by("currency").agg(n=orders.count())
    return counts.order_by([ibis.desc(counts.n), counts.currency]).limit(1)


def other_currencies(definition: Definition, opened: Opened) -> ibis.Table | None:
    """Return how many readable events with an amount are in no currency that counts."""
    measures = {m for _, node in walk(definition.where) for m in measured(node) if m.is_money}
    if not measures:
        return None
    rows, pivoted = _with_loose_fields(opened, needs(definition).loose)
    compiler = _Compiler(opened, rows, pivoted)
    left_out = ibis.or_(*(compiler.is_other_currency(measure) for measure in measures))
    found = rows.filter(left_out)
    return found.agg(n=found.count())


def _event_matches(
    rows: ibis.Table, events: EventFilter, clock: Clock, pivoted: Mapping[str, str]
) -> ibis.Value:
    """Say whether an event counts for a filter."""
    found = rows.name.isin(list(events.events)) & within(rows, events.window, clock)
    if events.where is not None:
        found &= matches(rows, events.where, pivoted)
    return found


def measured(node: Node) -> tuple[Measure, ...]:
    """Return the measure that a condition compares, if it has one."""
    match node:
        case Aggregate(measure):
            return (measure,)
        case Percentile(measure):
            return (measure,)
        case Did(events):
            return (Measure(MeasureKind.COUNT, events),)
        case _:
            return ()


def _needs(node: Node) -> Needs:
    match node:
        case Trait(name):
            return Needs(traits=frozenset({name}))
        case NoFollowUp(first, then):
            return _filter_needs(first) | _filter_needs(then)
        case _:
            found = Needs()
            for measure in measured(node):
                found |= _filter_needs(measure.filter) | _field_needs(measure.field)
                if measure.is_money:
                    found |= _field_needs("currency")
                    found |= Needs(money=measure.currency is None)
            return found


def _filter_needs(events: EventFilter) -> Needs:
    found = Needs(events=frozenset(events.events))
    if events.where is not None:
        for _, node in walk(events.where):
            found |= _field_needs(node.field) if isinstance(node, FieldCheck) else Needs()
    return found


def _field_needs(name: str) -> Needs:
    if not name:
        return Needs()
    typed = TYPED_FIELDS.get(name)
    if typed is None:
        return Needs(loose=frozenset({name}))
    return Needs(typed=frozenset({typed.column}))


def _with_loose_fields(
    opened: Opened, names: frozenset[str]
) -> tuple[ibis.Table, Mapping[str, str]]:
    """Join fields without a column to the rows, as three columns each."""
    if not names:
        return opened.rows, {}
    pivoted = {name: f"f{number}" for number, name in enumerate(sorted(names))}
    fields = opened.fields.filter(opened.fields.key.isin(sorted(names)))
    columns = {
        f"{prefix}_{part}": ibis.ifelse(fields.key == name, fields[part], _no(fields[part])).max()
        for name, prefix in pivoted.items()
        for part in ("kind", "text", "num", "whole")
    }
    wide = fields.group_by("position").agg(**columns).rename(at_position="position")
    rows = opened.rows
    joined = rows.left_join(wide, rows.position == wide.at_position)
    kept = [wide[name] for name in columns]
    return joined.select(*[rows[name] for name in rows.columns], *kept), pivoted


def _no(column: ibis.Value) -> ibis.Value:
    """Return NULL in a column's type."""
    return ibis.null(column.type().copy(nullable=True))


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Computes measures and absences over the rows of one definition."""

    opened: Opened
    rows: ibis.Table
    pivoted: Mapping[str, str]

    def join_totals(self, draft: _Draft, measures: list[Measure]) -> None:
        """Add counts and sums: all of them in one pass over the rows."""
        if not measures:
            return
        metrics: dict[str, ibis.Value] = {}
        for number, measure in enumerate(measures):
            counted, value = self._counted(measure)
            known, total = f"k{number}", f"v{number}"
            metrics[known] = counted.ifelse(1, 0).sum()
            if measure.kind is MeasureKind.COUNT:
                draft.numbers[measure] = (known, known)
                continue
            metrics[total] = counted.ifelse(ibis.coalesce(value, 0), 0).sum()
            draft.numbers[measure] = (total, known)
        draft.join(self.rows.group_by("person").agg(**metrics), dict.fromkeys(metrics, 0))

    def join_distinct(self, draft: _Draft, measure: Measure) -> None:
        """Add an exact distinct count: rows without repeats first, then counted."""
        value = field_value(self.rows, measure.field, self.pivoted)
        keys = {f"value_{i}": column for i, column in enumerate(value.columns.values())}
        present = ibis.or_(*(column.notnull() for column in keys.values()))
        found = self.rows.filter(self._matches(measure.filter) & present)
        single = found.select("person", **keys).distinct()
        name = f"d{len(draft.numbers)}"
        draft.numbers[measure] = (name, name)
        draft.join(single.group_by("person").agg(single.count().name(name)), {name: 0})

    def join_no_follow_up(self, draft: _Draft, node: NoFollowUp) -> None:
        """Add whether some first event stayed alone."""
        name = f"n{len(draft.flags)}"
        draft.flags[node] = name
        alone = self._alone(node).select("person").distinct()
        draft.join(alone.mutate(**{name: ibis.literal(1)}), {name: 0})

    def join_traits(self, draft: _Draft, nodes: list[Node]) -> Mapping[str, str]:
        """Add the newest readable value of each trait."""
        names = sorted({node.name for node in nodes if isinstance(node, Trait)})
        if not names:
            return {}
        latest = self._latest(names)
        columns = {
            f"t{number}_{part}": ibis.ifelse(
                latest.name == name, latest[part], _no(latest[part])
            ).max()
            for number, name in enumerate(names)
            for part in ("kind", "text", "num")
        }
        wide = latest.group_by("person").agg(**columns).rename(member="person")
        base = draft.relation
        joined = base.left_join(wide, base.person == wide.member)
        draft.relation = joined.select(
            *[base[name] for name in base.columns], *[wide[name] for name in columns]
        )
        return {name: f"t{number}" for number, name in enumerate(names)}

    def evidence(self, node: Node) -> ibis.Table | None:
        """Return the events that a condition rests on, ``person`` and ``position``."""
        match node:
            case Trait(name):
                found = self._latest([name])
            case NoFollowUp():
                found = self._alone(node)
            case _:
                measures = measured(node)
                if not measures:
                    return None
                found = self.rows.filter(self._counted(measures[0])[0])
        return found.select("person", "position")

    def _alone(self, node: NoFollowUp) -> ibis.Table:
        """Return first events without a follower: the next follower per event, no self-join."""
        rows = self.rows.select(
            "person",
            "position",
            "t",
            leads=self._matches(node.first) & (self.rows.t <= self.opened.clock.at - node.within),
            follows=self._matches(node.then),
        )
        rows = rows.filter(rows.leads | rows.follows)
        after = ibis.window(group_by=rows.person, order_by=rows.t, range=(1, None))
        follower = ibis.ifelse(rows.follows, rows.t, ibis.null("int64"))
        rows = rows.mutate(next_t=follower.min().over(after))
        in_time = ibis.coalesce(rows.next_t <= rows.t + node.within, False)
        return rows.filter(rows.leads & ~in_time)

    def _latest(self, names: list[str]) -> ibis.Table:
        """Return the newest readable row of each trait and person."""
        traits = self.opened.traits.filter(self.opened.traits.name.isin(names))
        newest = ibis.window(
            group_by=[traits.person, traits.name],
            order_by=[ibis.desc(traits.t), ibis.desc(traits.position)],
        )
        ranked = traits.mutate(place=ibis.row_number().over(newest))
        return ranked.filter(ranked.place == 0)

    def _matches(self, events: EventFilter) -> ibis.Value:
        return _event_matches(self.rows, events, self.opened.clock, self.pivoted)

    def _counted(self, measure: Measure) -> tuple[ibis.Value, ibis.Value | None]:
        """Return which rows count for a measure, and what each adds."""
        found = self._matches(measure.filter)
        if measure.kind is MeasureKind.COUNT:
            return found, None
        value = self._addend(measure.field)
        found &= value.notnull()
        if measure.is_money:
            found &= self._in_currency(measure)
        if measure.kind is MeasureKind.NET_REVENUE:
            # Trackers send refunds with either sign; both take away.
            refund = -value.abs()
            value = ibis.ifelse(self.rows.name == _REFUNDED, refund, value)
        return found, value

    def is_other_currency(self, measure: Measure) -> ibis.Value:
        """Say whether a row has an amount for this measure, but in another currency."""
        found = self._matches(measure.filter) & self._addend(measure.field).notnull()
        return found & ~self._in_currency(measure)

    def _in_currency(self, measure: Measure) -> ibis.Value:
        currency = measure.currency or self.opened.currency
        if currency is None:
            return ibis.literal(value=False)
        return ibis.coalesce(self.rows.currency == currency, False)

    def _addend(self, name: str) -> ibis.Value:
        typed = TYPED_FIELDS.get(name)
        if typed is None:
            return self.rows[f"{self.pivoted[name]}_whole"]
        return self.rows[typed.column]


@dataclass(slots=True)
class _Truths:
    """Says what holds for each person, over the finished relation."""

    draft: _Draft
    traits: Mapping[str, str]

    def rank(self, node: Percentile) -> None:
        """Add whether a person is in the top share: rank and size are integers, ties included.

        ``value >= v`` at descending position ``ceil(p n)`` means: fewer than ``p n`` people have
        more.
        """
        value, known = self.draft.number(node.measure)
        inside = known & (value > 0) if node.among is None else known & self.of(node.among)
        name = f"p{len(self.draft.flags)}"
        draft = self.draft
        ranked = draft.relation.mutate(
            **{f"{name}_in": inside.ifelse(1, 0), f"{name}_value": value}
        )
        population = ibis.window(group_by=ranked[f"{name}_in"])
        # Not rank(): Ibis writes it with a ROWS frame, under which ClickHouse tells ties apart.
        more = ibis.range_window(
            preceding=(None, 1),
            group_by=ranked[f"{name}_in"],
            order_by=ibis.desc(ranked[f"{name}_value"]),
        )
        ranked = ranked.mutate(
            **{
                f"{name}_above": ranked.count().over(more),
                f"{name}_n": ranked.count().over(population),
            }
        )
        above, size = ranked[f"{name}_above"], ranked[f"{name}_n"]
        top = (above * node.top.denominator) < (size * node.top.numerator)
        kept = draft.relation.columns
        draft.relation = ranked.select(
            *kept, **{name: ((ranked[f"{name}_in"] == 1) & top).ifelse(1, 0)}
        )
        draft.flags[node] = name

    def of(self, node: Node) -> ibis.Value:
        """Return the truth of a node as a boolean column of the relation."""
        match node:
            case AllOf(nodes):
                return ibis.and_(*(self.of(child) for child in nodes))
            case AnyOf(nodes):
                return ibis.or_(*(self.of(child) for child in nodes))
            case NotOf(child):
                return ~self.of(child)
            case _:
                return self._leaf(node)

    def _leaf(self, node: Node) -> ibis.Value:
        relation = self.draft.relation
        match node:
            case Trait(name, checks):
                prefix = self.traits[name]
                columns = (relation[f"{prefix}_{part}"] for part in ("kind", "text", "num"))
                return holds(stored_value(*columns), checks)
            case Aggregate(measure, checks):
                return compare(*self.draft.number(measure), checks)
            case Did(events):
                value, _ = self.draft.number(Measure(MeasureKind.COUNT, events))
                return value > 0
            case _:
                return relation[self.draft.flags[node]] == 1
