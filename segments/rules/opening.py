"""Opens the gates for an evaluation: relations behind them, and the plans that read those.

Reads links, hidden slots, present grants and the newest consent records from the front store each
time, so that a slow loader never delays a withdrawal. Knows no store and no key. Source: the
segment semantics, rules 2, 12 and 16.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ibis
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
from segments.rules.gate import (
    Gate,
    Sources,
    crowded,
    limits,
    newest_only,
    open_people,
    open_rows,
    open_traits,
)
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.schema import FIELDS, HIDDEN, LINKED, NOW, RECORDS, Table
from segments.warehouse import Warehouse

__all__ = ["MAX_HISTORY", "Question", "open_plans"]

MAX_HISTORY = 50_000
"""Newest readable events of a person that count: a bot must not make an evaluation expensive."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an evaluation depends on beside the warehouse: the front store, T, and the zones."""

    feed: EventFeed
    clock: Clock
    engine: str = "duckdb"
    max_history: int = MAX_HISTORY


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
        yield _plans(definitions, masks, question, engine)
    finally:
        engine.close()


def _plans(
    definitions: Sequence[Definition], masks: PurposeMasks, question: Question, engine: Engine
) -> Iterator[tuple[Definition, Opened, Plan, Engine]]:
    """Open both gates once per set of purposes, then compile what stands behind them."""
    by_purposes: dict[PurposeSet, list[Definition]] = {}
    for definition in definitions:
        by_purposes.setdefault(definition.purposes, []).append(definition)
    for number, (purposes, alike) in enumerate(by_purposes.items()):
        opening = _Opening(
            gate=Gate(mask=masks.of(purposes), at=question.clock.at),
            question=question,
            engine=engine,
            suffix=str(number),
        )
        opened = opening.open(alike)
        for definition in alike:
            yield definition, opened, compile_definition(definition, opened), engine


@dataclass(frozen=True, slots=True)
class _Opening:
    """Computes what lies behind both gates for one set of purposes, once."""

    gate: Gate
    question: Question
    engine: Engine
    suffix: str

    def open(self, definitions: Sequence[Definition]) -> Opened:
        """Return the relations that some definitions with these purposes read."""
        sources = Sources.named()
        wanted = Needs()
        for definition in definitions:
            wanted |= needs(definition)
        people = self._keep("people", open_people(sources, self.gate))
        rows = open_rows(sources, people, self.gate, wanted.events, wanted.typed)
        traits = open_traits(sources, people, self.gate, wanted.traits)
        oldest = self._limits(sources, people)
        if oldest is not None:
            rows, traits = newest_only(rows, oldest), newest_only(traits, oldest)
        kept = self._keep("rows", rows)
        return Opened(
            people=people,
            rows=kept,
            traits=self._keep("traits", traits),
            fields=sources[FIELDS],
            clock=self.question.clock,
            currency=self._currency(kept) if wanted.money else None,
        )

    def _limits(self, sources: Sources, people: ibis.Table) -> ibis.Table | None:
        """Return where the history of each person with too long a one begins, None if nobody."""
        limit = self.question.max_history
        found = self.engine.fetch(crowded(sources, people, self.gate, limit))
        persons = found.column("person").to_pylist()
        if not persons:
            return None
        return self._keep("limits", limits(sources, people, self.gate, persons, limit))

    def _currency(self, rows: ibis.Table) -> str | None:
        codes: list[str] = self.engine.fetch(dominant_currency(rows)).column("currency").to_pylist()
        return codes[0] if codes else None

    def _keep(self, name: str, expression: ibis.Table) -> ibis.Table:
        return self.engine.keep(f"{name}_{self.suffix}", expression)


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
