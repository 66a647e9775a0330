"""Evaluates definitions for all people at one instant: who is a member.

Reads links, hidden slots, present grants and the newest consent records from the front store each
time, so that a slow loader never delays a withdrawal. Knows no store and no key. Source: the
segment semantics, rules 2, 12 and 17.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from consent.purposes import PurposeSet
from segments.arrow import from_columns
from segments.engine import Engine, open_engine
from segments.load import BATCH, consent_columns
from segments.ports import ConsentRow, EventFeed
from segments.rules.compile import (
    Needs,
    Opened,
    Plan,
    compile_definition,
    dominant_currency,
    needs,
    other_currencies,
)
from segments.rules.gate import Gate, Sources, open_people, open_rows, open_traits
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.schema import FIELDS, HIDDEN, LINKED, NOW, RECORDS
from segments.warehouse import Warehouse

__all__ = ["Membership", "Question", "evaluate", "open_plans"]


@dataclass(frozen=True, slots=True)
class Question:
    """What an evaluation depends on beside the warehouse: the front store, T, and the zones."""

    feed: EventFeed
    clock: Clock
    engine: str = "duckdb"


@dataclass(frozen=True, slots=True)
class Membership:
    """Members of one segment at T, as persons (slots), sorted.

    ``currency`` is what amounts were added up in where the definition names none;
    ``other_currency`` counts readable events whose amount was left out for its currency.
    """

    name: str
    version: str
    at: int
    engine: str
    persons: tuple[int, ...]
    currency: str | None = None
    other_currency: int = 0


def evaluate(
    definitions: Sequence[Definition], warehouse: Warehouse, question: Question
) -> dict[str, Membership]:
    """Return who belongs to each segment, by name.

    Raises:
        UnsupportedEngineError: the engine is not there, or cannot run a plan.
        WarehouseError: the warehouse failed.
    """
    found: dict[str, Membership] = {}
    with open_plans(definitions, warehouse, question) as plans:
        for definition, opened, plan, engine in plans:
            persons = engine.fetch(plan.members()).column("person").to_pylist()
            found[definition.name] = Membership(
                name=definition.name,
                version=definition.version,
                at=question.clock.at,
                engine=engine.name,
                persons=tuple(sorted(persons)),
                currency=opened.currency if needs(definition).money else None,
                other_currency=_left_out(definition, opened, engine),
            )
    return found


@contextmanager
def open_plans(
    definitions: Sequence[Definition], warehouse: Warehouse, question: Question
) -> Iterator[Iterator[tuple[Definition, Opened, Plan, Engine]]]:
    """Yield each definition with its opened relations, its plan, and the engine to run it on."""
    bits = warehouse.purpose_bits(p for d in definitions for p in d.purposes)
    front = _front(warehouse, question.feed, bits)
    engine = open_engine(question.engine, warehouse)
    try:
        for table, rows in front.items():
            engine.put(table, rows)
        yield _plans(definitions, bits, question.clock, engine)
    finally:
        engine.close()
