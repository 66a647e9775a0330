"""The gate, one rule at a time; the engines' agreement on all of it is in test_evaluate."""

import pytest

from segments.evaluate import evaluate
from segments.load import catch_up
from segments.rules.opening import Question
from segments.rules.parse import parse_definition
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.histories import ADS, DAY, SYNC, ZONES, History, an_event

T = 1_774_785_600_000


def clicked(*purposes: str) -> Definition:
    where = {"did": {"event": "clicked"}}
    return parse_definition({"name": "s", "purposes": list(purposes or [ADS]), "where": where})


NEVER_BOUGHT = parse_definition(
    {"name": "s", "purposes": [ADS], "where": {"not": {"did": {"event": "order_completed"}}}}
)


def members(
    history: History, definition: Definition | None = None, at: int = T, *, unloaded: int = 0
) -> tuple[int, ...]:
    """Evaluate after loading all but the newest ``unloaded`` consent records."""
    warehouse = DuckDBWarehouse(None)
    try:
        seen = len(history.records) - unloaded
        catch_up(History(history.logged, history.records[:seen]), warehouse)
        question = Question(history, Clock(at, ZONES))
        return evaluate([definition or clicked()], warehouse, question)["s"].persons
    finally:
        warehouse.close()


def test_without_a_record_nobody_is_a_member_not_even_of_a_negation() -> None:
    assert members(History().event(1, "clicked", T), NEVER_BOUGHT) == ()


def test_who_grants_and_did_nothing_is_a_member_of_a_negation() -> None:
    assert members(History().grant(1, T - DAY, ADS), NEVER_BOUGHT) == (1,)


def test_every_purpose_must_be_granted() -> None:
    history = History().grant(1, T - DAY, ADS).event(1, "clicked", T)
    assert (members(history), members(history, clicked(ADS, SYNC))) == ((1,), ())


def test_an_event_collected_for_less_does_not_count() -> None:
    history = History().grant(1, T - DAY, ADS, SYNC)
    history.add(1, an_event("clicked", T, purposes=[ADS]))
    assert members(history, clicked(ADS, SYNC)) == ()


@pytest.mark.parametrize(("t", "expected"), [(-1, ()), (0, ()), (1, (1,))])
def test_a_withdrawal_closes_what_came_before_and_at_its_instant(
    t: int, expected: tuple[int, ...]
) -> None:
    history = History().grant(1, T - DAY, ADS).grant(1, T - 100).grant(1, T - 50, ADS)
    assert members(history.event(1, "clicked", T - 100 + t)) == expected


def test_what_was_withdrawn_since_is_gone_at_a_past_instant_too() -> None:
    history = History().grant(1, T - DAY, ADS).event(1, "clicked", T - 5)
    history.grant(1, T + 10).grant(1, T + 20, ADS)
    assert members(history) == ()


def test_a_later_grant_does_not_reach_back() -> None:
    history = History().grant(1, T + 1, ADS).event(1, "clicked", T - 5)
    assert members(history) == ()


def test_a_consent_expired_today_denies_although_its_record_grants() -> None:
    history = History(expired=frozenset({1})).grant(1, T - DAY, ADS).event(1, "clicked", T)
    assert members(history) == ()


def test_a_withdrawal_that_is_not_loaded_yet_counts() -> None:
    history = History().grant(1, T - DAY, ADS).event(1, "clicked", T - 5).grant(1, T - 1)
    assert members(history, NEVER_BOUGHT, unloaded=1) == ()


def test_a_withdrawal_not_loaded_yet_closes_events_even_after_a_new_grant() -> None:
    history = History().grant(1, T - DAY, ADS).event(1, "clicked", T - 4)
    history.grant(1, T - 4).grant(1, T - 3, ADS)
    assert members(history, unloaded=2) == ()


def test_linked_slots_share_their_events_under_one_name() -> None:
    history = History(links={1: 2, 2: 2}).grant(2, T - DAY, ADS).event(1, "clicked", T)
    assert members(history) == (2,)


def test_linked_slots_grant_only_what_each_record_grants() -> None:
    history = History(links={1: 1, 2: 1}).grant(1, T - DAY, ADS).grant(2, T - DAY, SYNC)
    assert members(history.event(1, "clicked", T)) == ()


@pytest.mark.parametrize(("t", "expected"), [(-1, ()), (0, ()), (1, (1,))])
def test_a_withdrawal_by_one_linked_slot_closes_the_others_events(
    t: int, expected: tuple[int, ...]
) -> None:
    history = History(links={1: 1, 2: 1}).grant(1, T - DAY, ADS).event(1, "clicked", T - 8 + t)
    history.grant(2, T - 8).grant(2, T - 7, ADS)
    assert members(history) == expected


def test_unlinking_restores_both_histories() -> None:
    history = History(links={1: 1, 2: 1}).grant(1, T - DAY, ADS).event(1, "clicked", T - 9)
    history.grant(2, T - 8)
    assert members(history) == ()
    history.links = {}
    assert members(history) == (1,)


def test_a_hidden_slot_is_not_read_although_it_is_loaded() -> None:
    history = History(unreadable=frozenset({1})).grant(1, T - DAY, ADS).event(1, "clicked", T)
    assert members(history) == ()


def test_events_of_a_hidden_slot_do_not_count_for_its_person() -> None:
    history = History(links={1: 1, 2: 1}, unreadable=frozenset({2})).grant(1, T - DAY, ADS)
    assert members(history.event(2, "clicked", T)) == ()


@pytest.mark.parametrize(("received", "expected"), [(0, (1,)), (1, ())])
def test_what_was_received_later_was_not_known_then(
    received: int, expected: tuple[int, ...]
) -> None:
    history = History().grant(1, T - DAY, ADS)
    history.add(1, an_event("clicked", T - 10, received=T + received))
    assert members(history) == expected


def test_a_purpose_of_the_deployments_own_works() -> None:
    definition = Definition("s", frozenset({"house_news"}), clicked().where)
    history = History().grant(1, T - DAY, "house_news")
    history.add(1, an_event("clicked", T, purposes=["house_news"]))
    assert members(history, definition) == (1,)
