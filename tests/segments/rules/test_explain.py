from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segments.load import catch_up
from segments.rules.explain import Explanation, explain
from segments.rules.opening import Question
from segments.rules.parse import parse_definition
from segments.rules.predicates import Clock
from segments.rules.tree import Definition, walk
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.generated import NOW, UNSHRUNK, definitions, histories
from tests.segments.histories import ADS, DAY, SYNC, ZONES, History
from tests.segments.reference import Reference


def explained(definition: Definition, history: History, slot: int, at: int = NOW) -> Explanation:
    warehouse = DuckDBWarehouse(None)
    try:
        catch_up(history, warehouse)
        return explain(definition, warehouse, Question(history, Clock(at, ZONES)), slot)
    finally:
        warehouse.close()


def a_segment(where: dict[str, object]) -> Definition:
    return parse_definition({"name": "s", "purposes": [ADS], "where": where})


@settings(max_examples=15, phases=UNSHRUNK, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), asked=definitions(), person=st.sampled_from([1, 3, 4]))
def test_every_node_agrees_with_the_reference(
    history: History, asked: tuple[Definition, ...], person: int
) -> None:
    definition = asked[0]
    reference = Reference(history, NOW, ZONES, definition.purposes)
    found = explained(definition, history, person)
    passes = reference.passes_person_gate(person)
    assert found.gate.passed == passes
    expected = [reference.holds(person, n) for _, n in walk(definition.where)]
    assert [c.holds for c in found.conditions] == (expected if passes else [])
    assert found.member == (passes and expected[0])


def test_evidence_names_the_events_that_counted() -> None:
    history = History().grant(1, NOW - DAY, ADS)
    for minute in (3, 2, 1):
        history.event(1, "product_viewed", NOW - minute)
    history.event(1, "clicked", NOW - 4)
    found = explained(a_segment({"count": {"event": "product_viewed", "gte": 3}}), history, 1)
    assert found.conditions[0].value == 3
    assert found.conditions[0].events == tuple(f"e{NOW - minute}" for minute in (3, 2, 1))


def test_evidence_of_an_absence_is_the_event_that_stayed_alone() -> None:
    history = History().grant(1, NOW - DAY, ADS)
    history.event(1, "added_to_cart", NOW - 180_000).event(1, "order_completed", NOW - 170_000)
    history.event(1, "added_to_cart", NOW - 120_000)
    absence = {"event": "added_to_cart", "then": "order_completed", "within": "1m"}
    assert explained(a_segment({"no_follow_up": absence}), history, 1).conditions[0].events == (
        f"e{NOW - 120_000}",
    )


def test_gate_evidence_names_the_record_that_closed() -> None:
    history = History().grant(1, NOW - DAY, ADS).grant(1, NOW - 5, SYNC).grant(1, NOW - 4, ADS)
    gate = explained(a_segment({"did": {"event": "x"}}), history, 1).gate
    assert (gate.passed, gate.records, gate.closed_by) == (True, (30,), 20)


def test_who_fails_the_gate_gets_no_conditions() -> None:
    history = History().grant(1, NOW - DAY, SYNC)
    found = explained(a_segment({"not": {"did": {"event": "x"}}}), history, 1)
    assert (found.member, found.conditions, found.gate.lacking) == (False, (), (ADS,))


def test_an_unknown_person_lacks_everything() -> None:
    gate = explained(a_segment({"did": {"event": "x"}}), History(), 7).gate
    assert (gate.passed, gate.lacking, gate.lacking_now) == (False, (ADS,), (ADS,))


def test_a_linked_slot_explains_its_person() -> None:
    history = History(links={1: 1, 2: 1}).grant(1, NOW - DAY, ADS)
    history.event(2, "clicked", NOW - 1)
    found = explained(a_segment({"did": {"event": "clicked"}}), history, 2)
    assert (found.person, found.member, found.gate.slots) == (1, True, 2)


def test_trait_evidence_shows_the_event_and_never_the_value() -> None:
    history = History().grant(1, NOW - DAY, ADS)
    history.event(1, "person_updated", NOW - 1, traits={"region": "secret-place"})
    found = explained(a_segment({"trait": {"name": "region", "exists": True}}), history, 1)
    assert found.conditions[0].events == (f"e{NOW - 1}",)
    assert "secret-place" not in str(found.to_json(str))
