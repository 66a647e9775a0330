"""Every condition at its boundaries, one case a rule, on every engine.

All cases share one history, each with people and (where it names ``e``, ``f``) events of its own,
so that each engine loads and evaluates once.
"""

import json
from dataclasses import dataclass
from functools import cache

import ibis
import pytest

from segments.evaluate import Membership, evaluate
from segments.load import catch_up
from segments.rules.opening import Question
from segments.rules.parse import parse_definition
from segments.rules.predicates import Clock, matches
from segments.rules.tree import Trait
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.histories import ADS, DAY, HOUR, ZONES, History, an_event

# 2026-03-29 10:00 UTC = 12:00 in Berlin, whose day has 23 hours; 06:00 in New York.
T = 1_774_778_400_000
BERLIN_MIDNIGHT = T - 11 * HOUR
NEW_YORK_MIDNIGHT = T - 6 * HOUR
WEEK = 7 * DAY
ROOM = 20

Event = tuple[str, int, dict[str, object]]


@dataclass(frozen=True)
class Case:
    """``people``: the events of each, as (name, t - T, properties); ``expected``: who belongs."""

    rule: str
    where: dict[str, object]
    people: list[list[Event]]
    expected: set[int]


def e(offset: int, **properties: object) -> Event:
    return ("e", offset, properties)


def f(offset: int, **properties: object) -> Event:
    return ("f", offset, properties)


def order(value: object, currency: str | None = "EUR", name: str = "order_completed") -> Event:
    found = {"value_minor": value} | ({"currency": currency} if currency else {})
    return (name, -5, found)


YES = True


def region(offset: int, value: object) -> Event:
    return ("person_updated", offset, {"traits": {"region": value}})


def did(**keys: object) -> dict[str, object]:
    return {"did": {"event": "e", **keys}}


def absence(**keys: object) -> dict[str, object]:
    return {"no_follow_up": {"event": "e", "then": "f", "within": "1h", **keys}}


def trait(**keys: object) -> dict[str, object]:
    return {"trait": {"name": "region", **keys}}


def top(share: str, **keys: object) -> dict[str, object]:
    return {"percentile": {"measure": {"count": {"event": "e"}}, "top": share, **keys}}


def times(*counts: int) -> list[list[Event]]:
    return [[e(-k - 1) for k in range(n)] for n in counts]


def each(*events: Event) -> list[list[Event]]:
    return [[event] for event in events]


BETWEEN = {"between_ago": ["2d", "1d"]}
INSTANTS = {"range": ["2026-03-29T08:00:00Z", "2026-03-29T09:00:00Z"]}
DATES = {"range": ["2026-03-28", "2026-03-28"]}
COLOR = {"color": {"ne": "red"}}
CASES = [
    Case("last is open below", did(last="7d"), each(e(-WEEK), e(-WEEK + 1)), {1}),
    Case("last is closed above", did(last="7d"), each(e(0)), {0}),
    Case("between_ago is open below", did(**BETWEEN), each(e(-2 * DAY), e(1 - 2 * DAY)), {1}),
    Case("between_ago is closed above", did(**BETWEEN), each(e(-DAY), e(1 - DAY)), {0}),
    Case("a range holds its start", did(**INSTANTS), each(e(-2 * HOUR - 1), e(-2 * HOUR)), {1}),
    Case("a range lacks its end", did(**INSTANTS), each(e(-HOUR - 1), e(-HOUR)), {0}),
    Case(
        "a date ends at local midnight",
        did(**DATES),
        each(e(BERLIN_MIDNIGHT - T - 1), e(BERLIN_MIDNIGHT - T), e(BERLIN_MIDNIGHT - T - DAY)),
        {0, 2},
    ),
    Case(
        "today begins at local midnight",
        did(calendar_days=1),
        each(e(BERLIN_MIDNIGHT - T), e(BERLIN_MIDNIGHT - T - 1)),
        {0},
    ),
    Case(
        "yesterday lasts 24 hours although today has 23",
        did(calendar_days=2),
        each(e(BERLIN_MIDNIGHT - T - DAY), e(BERLIN_MIDNIGHT - T - DAY - 1)),
        {0},
    ),
    Case(
        "each site has its own midnight",
        did(calendar_days=1),
        each(e(NEW_YORK_MIDNIGHT - T, _site="outlet"), e(-7 * HOUR, _site="outlet")),
        {0},
    ),
    Case("counting nothing is zero", {"count": {"event": "e", "lt": 1}}, times(0, 1), {0}),
    Case("a count compares", {"count": {"event": "e", "gte": 2, "ne": 3}}, times(1, 2, 3), {1}),
    Case(
        "distinct ignores repeats and missing values",
        {"distinct": {"event": "e", "property": "color", "gte": 2}},
        [[e(-1, color="a"), e(-2, color="a"), e(-3)], [e(-1, color="a"), e(-2, color="b")]],
        {1},
    ),
    Case(
        "distinct tells text and number apart",
        {"distinct": {"event": "e", "property": "color", "eq": 2}},
        [[e(-1, color="1"), e(-2, color=1)], [e(-1, color=1), e(-2, color=1.0)]],
        {0},
    ),
    Case(
        "a numeric product id is its digits",
        {"distinct": {"event": "e", "property": "product_id", "eq": 1}},
        [[e(-1, product_id=5), e(-2, product_id="5")]],
        {0},
    ),
    Case(
        "a sum over nothing is missing",
        {"sum": {"event": "e", "property": "quantity", "lt": 5}},
        [[], [e(-1)], [e(-1, quantity=0)], [e(-1, quantity=2), e(-2, quantity=3)]],
        {2},
    ),
    Case(
        "only whole numbers add up",
        {"sum": {"event": "e", "property": "color", "eq": 3}},
        [[e(-1, color=3), e(-2, color=0.5), e(-3, color="9")], [e(-1, color=2.5)]],
        {0},
    ),
    Case(
        "refunds take away whatever their sign",
        {"net_revenue": {"eq": 60}},
        [
            [order(100), order(40, name="order_refunded")],
            [order(100), order(-40, name="order_refunded")],
            [order(100)],
        ],
        {0, 1},
    ),
    Case(
        "other currencies do not add up",
        {"net_revenue": {"currency": "USD", "eq": 7}},
        [[order(7, "USD"), order(50)], [order(7)], [order(7, None)]],
        {0},
    ),
    Case("the usual currency is the most frequent", {"net_revenue": {"eq": 8}},
         [[order(8)], [order(8, "USD")]], {0}),
    Case(
        "the deadline itself is in time",
        absence(),
        [[e(-3 * HOUR), f(-2 * HOUR)], [e(-3 * HOUR), f(-2 * HOUR + 1)]],
        {1},
    ),
    Case("the same instant does not follow", absence(),
         [[e(-3 * HOUR), f(-3 * HOUR)], [e(-3 * HOUR), f(-3 * HOUR + 1)]], {0}),
    Case("absence begins with the deadline", absence(), each(e(-HOUR), e(1 - HOUR)), {0}),
    Case("absence ends with the look-back", absence(last="1d"), each(e(-DAY), e(1 - DAY)), {1}),
    Case("one event left alone is enough", absence(),
         [[e(-5 * HOUR), f(-5 * HOUR + 1), e(-3 * HOUR)]], {0}),
    Case("a follower must match", absence(then_where={"color": "red"}),
         [[e(-3 * HOUR), f(-3 * HOUR + 1, color="blue")]], {0}),
    Case("a person may follow with the same event",
         {"no_follow_up": {"event": "e", "then": "e", "within": "1h"}},
         [[e(-2 * HOUR), e(-HOUR), e(-1)], [e(-3 * HOUR)]], {1}),
    Case("ties belong to the top", top("50%"), times(3, 2, 2, 1), {0, 1, 2}),
    Case("a place is rounded up", top("26%"), times(4, 3, 2, 1), {0, 1}),
    Case("an exact share is not rounded up", top("25%"), times(4, 3, 2, 1), {0}),
    Case("nobody without the measure is ranked", top("100%"), times(1, 0), {0}),
    Case(
        "among replaces the population",
        top("50%", among={"did": {"event": "f"}}),
        [[e(-1), e(-2), e(-3)], [e(-1), e(-2), f(-1)], [f(-1)]],
        {1},
    ),
    Case("the newest trait counts", trait(eq="BY"),
         [[region(-2, "BY"), region(-1, "NW")], [region(-1, "BY"), region(-2, "NW")]], {1}),
    Case("at one instant the later place in the log counts", trait(eq="BY"),
         [[region(-1, "NW"), region(-1, "BY")]], {0}),
    Case("a trait taken back is missing", trait(missing=True),
         [[region(-2, "BY"), region(-1, None)], [], [region(-1, "BY")]], {0, 1}),
    Case("a missing trait is not unequal", trait(ne="BY"), [[], [region(-1, "NW")]], {1}),
    Case("not equal holds for a missing trait", {"not": trait(eq="BY")},
         [[], [region(-1, "BY")]], {0}),
    Case("a missing trait is in no list, nor outside one", trait(not_in=["BY"]),
         [[], [region(-1, "NW")], [region(-1, "BY")]], {1}),
    Case("text, numbers and flags differ", trait(eq=1),
         each(region(-1, 1), region(-1, "1"), region(-1, YES)), {0}),
    Case("a list only exists", trait(exists=True), [[region(-1, ["a"])], []], {0}),
    Case("a list is unequal to everything", trait(ne="a"), [[region(-1, ["a"])]], {0}),
    Case("text compares by code point", trait(gt="Z"), each(region(-1, "a"), region(-1, "A")), {0}),
    Case("text compares in NFC", trait(eq="\u00e9"), [[region(-1, "e\u0301")]], {0}),
    Case("text keeps its case", trait(eq="by"), [[region(-1, "BY")]], set()),
    Case("quotes and backslashes are text", trait(eq="it's \\ \"x\" \n"),
         [[region(-1, "it's \\ \"x\" \n")], [region(-1, "it's")]], {0}),
    Case("between holds both ends", trait(between=[1, 2]),
         each(region(-1, 1), region(-1, 2), region(-1, 2.5)), {0, 1}),
    Case("a missing property is not unequal", did(where=COLOR), each(e(-1), e(-1, color="b")), {1}),
    Case("properties in where hold together", did(where={"color": "a", "quantity": {"gt": 1}}),
         each(e(-1, color="a", quantity=2), e(-1, color="a"), e(-1, quantity=2)), {0}),
    Case("a flag property is compared", did(where={"color": True}),
         each(e(-1, color=True), e(-1, color=1)), {0}),
    Case("a flag and its number are two conditions",
         {"all": [did(where={"color": True}), {"not": did(where={"color": 1})}]},
         each(e(-1, color=True), e(-1, color=1)), {0}),
    Case("properties combine with any", did(where={"any": [{"color": "a"}, {"quantity": 2}]}),
         each(e(-1, color="a"), e(-1, quantity=2), e(-1, color="b")), {0, 1}),
    Case("properties combine with not", did(where={"not": {"color": "a"}}),
         each(e(-1, color="a"), e(-1), e(-1, color="b")), {1, 2}),
    Case("several event names are any of them", did(event=["e", "f"]), each(e(-1), f(-1)), {0, 1}),
    Case("all and any nest", {"all": [did(), {"any": [trait(eq="BY"), {"did": {"event": "f"}}]}]},
         [[e(-1), f(-1)], [e(-1)], [f(-1)], [e(-1), region(-1, "BY")]], {0, 3}),
]  # fmt: skip


def _own(value: object, number: int) -> object:
    """Give a case events of its own: ``e`` and ``f`` carry its number."""
    text = json.dumps(value)
    for name in ("e", "f"):
        text = text.replace(f'"{name}"', f'"{name}_{number}"')
    return json.loads(text)


def _history() -> History:
    history = History()
    for number, case in enumerate(CASES):
        for index, events in enumerate(case.people):
            slot = number * ROOM + index + 1
            history.grant(slot, T - 30 * DAY, ADS)
            for name, offset, properties in events:
                kept = {k: v for k, v in properties.items() if k != "_site"}
                event = an_event(
                    f"{name}_{number}" if name in ("e", "f") else name,
                    T + offset,
                    properties=kept,
                    site=str(properties.get("_site", "shop")),
                )
                history.add(slot, event)
    return history


@cache
def _evaluated(engine: str) -> dict[str, Membership]:
    asked = [
        parse_definition(
            {"name": f"case_{number}", "purposes": [ADS], "where": _own(case.where, number)}
        )
        for number, case in enumerate(CASES)
    ]
    history = _history()
    warehouse = DuckDBWarehouse(None)
    try:
        catch_up(history, warehouse)
        return evaluate(asked, warehouse, Question(history, Clock(T, ZONES), engine))
    finally:
        warehouse.close()


@pytest.mark.parametrize("engine", ["duckdb", "chdb"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: CASES[n].rule)
def test_rule(number: int, engine: str) -> None:
    case = CASES[number]
    first = number * ROOM + 1
    own = range(first, first + len(case.people))
    members = set(_evaluated(engine)[f"case_{number}"].persons)
    assert {slot - first for slot in members & set(own)} == case.expected


def test_a_site_without_a_zone_counts_days_in_utc() -> None:
    history = History().grant(1, T - 30 * DAY, ADS).grant(2, T - 30 * DAY, ADS)
    history.event(1, "e", T - 2 * HOUR).event(2, "e", T - 12 * HOUR)
    definition = parse_definition({"name": "a", "purposes": [ADS], "where": did(calendar_days=1)})
    warehouse = DuckDBWarehouse(None)
    catch_up(history, warehouse)
    found = evaluate([definition], warehouse, Question(history, Clock(T, {})))
    warehouse.close()
    assert found["a"].persons == (1,)


@pytest.mark.parametrize("engine", ["duckdb", "chdb"])
def test_where_nobody_ordered_an_amount_without_a_currency_is_in_none(engine: str) -> None:
    history = History().grant(1, T - 30 * DAY, ADS).grant(2, T - 30 * DAY, ADS)
    history.event(1, "e", T - 1, value_minor=19)
    history.event(2, "e", T - 1, value_minor=19, currency="")
    where = {"sum": {"event": "e", "property": "value_minor", "gt": 0}}
    definition = parse_definition({"name": "a", "purposes": [ADS], "where": where})
    warehouse = DuckDBWarehouse(None)
    catch_up(history, warehouse)
    found = evaluate([definition], warehouse, Question(history, Clock(T, ZONES), engine))["a"]
    warehouse.close()
    assert (found.persons, found.other_currency) == ((), 2)


def test_a_field_check_is_all_that_where_holds() -> None:
    rows = ibis.table({"t": "int64"}, name="rows")
    with pytest.raises(TypeError, match="not a check of a field: Trait"):
        matches(rows, Trait("region", ()), {})


def test_amounts_left_out_for_their_currency_are_counted() -> None:
    number = next(n for n, case in enumerate(CASES) if case.rule.startswith("other currencies"))
    found = _evaluated("duckdb")[f"case_{number}"]
    foreign = [o for c in CASES for p in c.people for o in p if o[0].startswith("order")]
    assert found.other_currency == sum(o[2].get("currency") != "USD" for o in foreign)


def test_a_result_names_the_currency_it_chose() -> None:
    number = next(n for n, case in enumerate(CASES) if case.rule.startswith("the usual"))
    assert _evaluated("duckdb")[f"case_{number}"].currency == "EUR"
