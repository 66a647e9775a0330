"""What a segment may read: the person gate and the event gate, as Ibis expressions.

Everything else sees only the relations that come out of here. Nothing compiles without purposes.
Records count up to now, not only up to T, and an event at the very instant of a withdrawal is
closed. Source: the segment semantics, rules 2, 12 and 16.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ibis

from segments.schema import (
    EVENTS,
    FIELDS,
    HIDDEN,
    LINKED,
    NOW,
    RECORDS,
    TRAITS,
    Table,
    Type,
)

__all__ = [
    "ALL_SOURCES",
    "Gate",
    "Sources",
    "crowded",
    "ibis_table",
    "limits",
    "newest_only",
    "open_people",
    "open_rows",
    "open_traits",
]

ALL_SOURCES = (EVENTS, FIELDS, TRAITS, RECORDS, LINKED, HIDDEN, NOW)

_TYPES = {Type.INT64: "int64", Type.FLOAT64: "float64", Type.TEXT: "string"}
_NEVER = -(2**62)
"""Before every event: nothing was ever withdrawn."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The purposes that must be granted, as a mask, and the instant asked about."""

    mask: int
    at: int


@dataclass(frozen=True, slots=True)
class Sources:
    """The relations of ``segments.schema`` by name."""

    tables: Mapping[str, ibis.Table]

    @classmethod
    def named(cls) -> "Sources":
        """Return every relation under its own name."""
        return cls({table.name: ibis_table(table) for table in ALL_SOURCES})

    def __getitem__(self, table: Table) -> ibis.Table:
        return self.tables[table.name]


def ibis_table(table: Table) -> ibis.Table:
    """Return an unbound Ibis relation in the shape of a table."""
    schema = {c.name: ("" if c.nullable else "!") + _TYPES[c.type] for c in table.columns}
    return ibis.table(schema, name=table.name)


def open_people(sources: Sources, gate: Gate) -> ibis.Table:
    """Return who passes the person gate: ``person``, and ``closed``, the newest instant closed.

    At T and now, every slot of the person that has a record grants every purpose.
    """
    records = _named(sources, sources[RECORDS])
    known = records.filter(records.received <= gate.at)
    newest = known.group_by("person", "slot").agg(granted=known.granted.argmax(known.position))
    return (
        _granting(newest, gate.mask, "then")
        .inner_join(_granting(_named(sources, sources[NOW]), gate.mask, "now"), "person")
        .select("person")
        .left_join(_closings(records, gate.mask), "person")
        .select("person", closed=ibis.coalesce(ibis._.closed_at, _NEVER))
    )


def crowded(sources: Sources, people: ibis.Table, gate: Gate, limit: int) -> ibis.Table:
    """Return who has more than ``limit`` readable events."""
    rows = _through(sources, sources[EVENTS], people, gate, ["position"])
    counts = rows.group_by("person").agg(events=rows.count())
    return counts.filter(counts.events > limit).select("person")


def limits(
    sources: Sources, people: ibis.Table, gate: Gate, persons: Sequence[int], limit: int
) -> ibis.Table:
    """Return for each of some persons the oldest of their newest ``limit`` events."""
    chosen = people.filter(people.person.isin(list(persons)))
    rows = _through(sources, sources[EVENTS], chosen, gate, ["position", "t"])
    newest = ibis.window(
        group_by=rows.person, order_by=[ibis.desc(rows.t), ibis.desc(rows.position)]
    )
    placed = rows.mutate(place=ibis.row_number().over(newest))
    last = placed.filter(placed.place == limit - 1)
    return last.select(limited="person", first_t="t", first_position="position")


def newest_only(rows: ibis.Table, oldest: ibis.Table) -> ibis.Table:
    """Leave out what lies before a person's limit; who has none keeps everything."""
    joined = rows.left_join(oldest, rows.person == oldest.limited)
    later = (joined.t > joined.first_t) | (
        (joined.t == joined.first_t) & (joined.position >= joined.first_position)
    )
    kept = joined.filter(ibis.coalesce(later, True))
    return kept.select(*rows.columns)


def open_rows(
    sources: Sources, people: ibis.Table, gate: Gate, names: Iterable[str], fields: Iterable[str]
) -> ibis.Table:
    """Return the readable events of some names under the person's name.

    Columns: person, position, name, t, local_date, site, and the typed ``fields`` asked for.
    """
    events = sources[EVENTS]
    chosen = events.filter(events.name.isin(sorted(names)))
    kept = ["position", "name", "t", "local_date", "site", *sorted(fields)]
    return _through(sources, chosen, people, gate, kept)


def open_traits(
    sources: Sources, people: ibis.Table, gate: Gate, names: Iterable[str]
) -> ibis.Table:
    """Return the readable rows of some traits under the person's name."""
    traits = sources[TRAITS]
    chosen = traits.filter(traits.name.isin(sorted(names)))
    return _through(sources, chosen, people, gate, ["position", "name", "t", "kind", "text", "num"])


def _through(
    sources: Sources, rows: ibis.Table, people: ibis.Table, gate: Gate, kept: list[str]
) -> ibis.Table:
    """Keep rows known at T that are open for every purpose and after the last withdrawal."""
    stored = rows.filter(
        (rows.open & gate.mask) == gate.mask, rows.received <= gate.at, rows.t <= gate.at
    ).select("slot", *sorted({"t", *kept}))
    shown = _named(sources, stored.anti_join(sources[HIDDEN], "slot").select(stored.columns))
    joined = shown.inner_join(people, "person")
    return joined.filter(joined.t > joined.closed).select("person", *kept)


def _named(sources: Sources, rows: ibis.Table) -> ibis.Table:
    """Add the person that each row's slot belongs to."""
    linked = sources[LINKED].select(member="slot", named="person")
    joined = rows.left_join(linked, rows.slot == linked.member)
    # Two steps: Ibis merges a select into the join before it, and a later join on a column
    # computed there has nothing to refer to.
    return joined.mutate(person=ibis.coalesce(joined.named, joined.slot)).drop("member", "named")


def _granting(rows: ibis.Table, mask: int, suffix: str) -> ibis.Table:
    """Return the people of whose rows every one grants the whole mask."""
    granted = ibis.ifelse((rows.granted & mask) == mask, 1, 0)
    all_of = f"all_{suffix}"
    people = rows.group_by("person").agg(granted.min().name(all_of))
    return people.filter(people[all_of] == 1).select("person")


def _closings(records: ibis.Table, mask: int) -> ibis.Table:
    lacking = records.filter((records.granted & mask) != mask)
    return lacking.group_by("person").agg(closed_at=lacking.received.max())
