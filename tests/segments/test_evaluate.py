from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segments.evaluate import evaluate
from segments.load import catch_up
from segments.rules.opening import Question
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.generated import MINUTE, NOW, UNSHRUNK, definitions, histories
from tests.segments.histories import DAY, ZONES, History
from tests.segments.reference import Reference

ENGINES = ("duckdb", "chdb")


def engine_members(asked: Sequence[Definition], question: Question) -> dict[str, set[int]]:
    warehouse = DuckDBWarehouse(None)
    try:
        assert isinstance(question.feed, History)
        catch_up(question.feed, warehouse)
        found = evaluate(asked, warehouse, question)
        return {name: set(membership.persons) for name, membership in found.items()}
    finally:
        warehouse.close()


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=15, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=histories(),
    asked=definitions(),
    at=st.sampled_from([NOW, NOW, NOW - 1, NOW + 1, NOW - MINUTE, NOW - DAY]),
    limit=st.sampled_from([50_000, 50_000, 3]),
)
def test_engines_agree_with_the_reference(
    engine: str, history: History, asked: tuple[Definition, ...], at: int, limit: int
) -> None:
    expected = {d.name: Reference(history, at, ZONES, d.purposes, limit).members(d) for d in asked}
    question = Question(history, Clock(at, ZONES), engine, limit)
    assert engine_members(asked, question) == expected
