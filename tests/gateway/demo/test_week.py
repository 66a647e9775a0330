"""The week is a shop's: in order, in the past, with every kind of event; devices are linked."""

from datetime import UTC, datetime, timedelta

from gateway.demo.chance import seeded
from gateway.demo.people import shoppers
from gateway.demo.week import Call, week

NOW = datetime(2024, 5, 8, 12, tzinfo=UTC)


def _week(people: int = 300) -> list[Call]:
    random = seeded(3)
    return week(shoppers(people, random), NOW, random)


CALLS = _week()


def test_the_same_seed_gives_the_same_week() -> None:
    assert _week(40) == _week(40)


def test_calls_are_in_order_and_within_the_past_week() -> None:
    times = [call.at for call in CALLS]
    assert times == sorted(times)
    assert NOW - timedelta(days=7) < times[0]
    assert times[-1] < NOW


def test_message_ids_are_unique() -> None:
    assert len({call.arguments["message_id"] for call in CALLS}) == len(CALLS)


def test_every_kind_of_event_happens() -> None:
    assert {call.arguments.get("event") for call in CALLS if call.method == "track"} == {
        "Products Searched", "Product Viewed", "Product Added", "Order Completed",
    }  # fmt: skip
    assert {call.method for call in CALLS} == {"identify", "page", "track"}


def test_the_public_key_speaks_for_devices_only() -> None:
    for call in CALLS:
        assert ("anonymous_id" in call.arguments) >= call.public
        assert ("user_id" in call.arguments) is not call.public


def test_devices_seen_in_public_are_linked_by_the_server() -> None:
    devices = {call.arguments["anonymous_id"] for call in CALLS if call.public}
    linked = {call.arguments.get("anonymous_id") for call in CALLS if call.method == "identify"}
    assert devices
    assert devices <= linked


def test_most_carts_end_in_an_order_or_are_abandoned() -> None:
    events = [call.arguments.get("event") for call in CALLS]
    assert 0 < events.count("Order Completed") < events.count("Product Added")


def test_some_calls_tell_nothing_about_consent() -> None:
    silent = [call for call in CALLS if not call.arguments["context"]]
    assert 0 < len(silent) < len(CALLS) / 4


def test_a_withdrawal_comes_half_way() -> None:
    halves: dict[bool, set[str]] = {False: set(), True: set()}
    for call in CALLS:
        if "'marketing': True" not in str(call.arguments["context"]):
            late = call.at >= NOW - timedelta(days=3.25)
            halves[late].add(str(call.arguments.get("user_id")))
    assert halves[True] - halves[False]
