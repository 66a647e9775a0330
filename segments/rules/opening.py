"""Opens the gates for an evaluation: relations behind them, and the plans that read those.

Reads links, hidden slots, present grants and the newest consent records from the front store each
time, so that a slow loader never delays a withdrawal. Knows no store and no key. Source: the
segment semantics, rules 2, 12 and 16.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from consent.purposes import PurposeSet
from segments.arrow import from_columns
from segments.engine import Engine, open_engine
from segments.load import BATCH, PurposeMasks, consent_columns
from segments.ports import ConsentRow, EventFeed
from segments.rules.compile import (
    Needs,
    Opened,
    Plan,
    compile_definition,
    dominant_currency,
    needs,
)
from segments.rules.gate import Gate, Sources, open_people, open_rows, open_traits
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.schema import FIELDS, HIDDEN, LINKED, NOW, RECORDS, Table
from segments.warehouse import Warehouse

__all__ = ["Question", "open_plans"]


@dataclass(frozen=True, slots=True)
class Question:
    """What an evaluation depends on beside the warehouse: the front store, T, and the zones."""

    feed: EventFeed
    clock: Clock
    engine: str = "duckdb"


@contextmanager
def open_plans(
    definitions: Sequence[Definition], warehouse: Warehouse, question: Question
) -> Iterator[Iterator[tuple[Definition, Opened, Plan, Engine]]]:
    """Yield each definition with its opened relations, its plan, and the engine to run it on."""
    masks = PurposeMasks(warehouse)
    front = _front(warehouse, question.feed, masks)
    engine = open_engine(question.engine, warehouse)
    try:
        for table, rows in front:
            engine.put(table, rows)
        yield _plans(definitions, masks, question.clock, engine)
    finally:
        engine.close()


def _plans(
    definitions: Sequence[Definition], masks: PurposeMasks, clock: Clock, engine: Engine
) -> Iterator[tuple[Definition, Opened, Plan, Engine]]:
    """Open both gates once per set of purposes, then compile what stands behind them."""
    by_purposes: dict[PurposeSet, list[Definition]] = {}
    for definition in definitions:
        by_purposes.setdefault(definition.purposes, []).append(definition)
    for number, (purposes, alike) in enumerate(by_purposes.items()):
        gate = Gate(mask=masks.of(purposes), at=clock.at)
        opened = _open(gate, alike, clock, engine, number)
        for definition in alike:
            yield definition, opened, compile_definition(definition, opened), engine


def _open(
    gate: Gate, definitions: Sequence[Definition], clock: Clock, engine: Engine, number: int
) -> Opened:
    sources = Sources.named()
    wanted = Needs()
    for definition in definitions:
        wanted |= needs(definition)
    people = engine.keep(f"people_{number}", open_people(sources, gate))
    rows = engine.keep(
        f"rows_{number}", open_rows(sources, people, gate, wanted.events, wanted.typed)
    )
    traits = engine.keep(f"traits_{number}", open_traits(sources, people, gate, wanted.traits))
    currency = None
    if wanted.money:
        codes = engine.fetch(dominant_currency(rows)).column("currency").to_pylist()
        currency = codes[0] if codes else None
    return Opened(
        people=people,
        rows=rows,
        traits=traits,
        fields=sources[FIELDS],
        clock=clock,
        currency=currency,
    )


def _front(
    warehouse: Warehouse, feed: EventFeed, masks: PurposeMasks
) -> list[tuple[Table, pa.Table]]:
    """Read what the front store says now, consent records that are not loaded yet included."""
    columns = ", ".join(column.name for column in RECORDS.columns)
    loaded = warehouse.query(f"SELECT {columns} FROM consents").read_all()  # noqa: S608 - our own names
    unseen = list(_unseen_consents(warehouse, feed))
    tail = from_columns(RECORDS, consent_columns(unseen, masks))
    records = pa.concat_tables([loaded.cast(tail.schema), tail])
    slots: list[int] = records.column("slot").unique().to_pylist()
    linked = feed.persons()
    present = _present(feed, slots)
    return [
        (RECORDS, records),
        (LINKED, from_columns(LINKED, [list(linked.keys()), list(linked.values())])),
        (HIDDEN, from_columns(HIDDEN, [sorted(feed.hidden())])),
        (NOW, from_columns(NOW, [list(present), [masks.of(g) for g in present.values()]])),
    ]


def _unseen_consents(warehouse: Warehouse, feed: EventFeed) -> Iterator[ConsentRow]:
    after = warehouse.cursor().consents
    while rows := feed.consents(after, BATCH):
        yield from rows
        after = rows[-1].position


def _present(feed: EventFeed, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
    found: dict[int, PurposeSet] = {}
    for start in range(0, len(slots), BATCH):
        found.update(feed.current(slots[start : start + BATCH]))
    return found
