"""Evaluates definitions for all people at one instant: who is a member.

Knows no store and no key; members are persons (slots), and callers name them. Source: the segment
semantics, rules 2 and 17.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from segments.engine import Engine
from segments.rules.compile import Opened, needs, other_currencies
from segments.rules.opening import Question, open_plans
from segments.rules.tree import Definition
from segments.warehouse import Warehouse

__all__ = ["Membership", "evaluate"]


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


def _left_out(definition: Definition, opened: Opened, engine: Engine) -> int:
    """Count amounts left out for their currency; each event once, whatever its window."""
    counting = other_currencies(definition, opened)
    if counting is None:
        return 0
    count: int = engine.fetch(counting).column("n").to_pylist()[0]
    return count
