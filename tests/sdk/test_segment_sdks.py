"""The unmodified Segment SDKs against a whole server: what is delivered, and what never is."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sdk.runners import CALLS, Call, deliver, moved
from tests.server import Server

NAMES = [
    "person_updated",
    "page_viewed",
    "product_viewed",
    "added_to_cart",
    "checkout_started",
    "order_completed",
    "screen_viewed",
    "group_updated",
    "person_updated",
    "newsletter_grosse_gewahlt",
]
REFUSED = {"consent": {"categoryPreferences": {"analytics": False, "marketing": False}}}
MALFORMED = {"consent": {"categoryPreferences": {"analytics": "true"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("einlass")) as running:
        yield running


def _of(prefix: str) -> list[Call]:
    """Return the ten calls as those of another person, made a minute ago."""
    own = ("messageId", "userId", "anonymousId", "previousId", "groupId")
    now_ms = time.time_ns() // 1_000_000  # the server judges by its own clock
    return [
        {name: f"{prefix}-{value}" if name in own else value for name, value in call.items()}
        for call in moved(CALLS, now_ms)
    ]


def _stored(server: Server, prefix: str) -> list[dict[str, Any]]:
    return [each for each in server.events() if each["id"].startswith(f"{prefix}-")]


@pytest.fixture(scope="module")
def delivered(server: Server, sdk: str) -> list[dict[str, Any]]:
    """Deliver the ten calls once and return what is stored of them."""
    deliver(sdk, server.url, server.server_key, _of(f"ten-{sdk}"))
    return _stored(server, f"ten-{sdk}")


def test_ten_calls_become_ten_events_in_order(delivered: list[dict[str, Any]]) -> None:
    assert [each["name"] for each in delivered] == NAMES


def test_order_is_stored_in_minor_units_with_its_items(delivered: list[dict[str, Any]]) -> None:
    (order,) = [each for each in delivered if each["name"] == "order_completed"]
    properties = order["properties"]
    assert (properties["value_minor"], properties["currency"]) == (11_980, "EUR")
    assert properties["items"][0]["price_minor"] == 5_990


def test_events_without_a_readable_yes_are_absent_and_the_sdk_notices_nothing(
    server: Server, sdk: str
) -> None:
    prefix = f"no-{sdk}"
    contexts = {"refused": REFUSED, "malformed": MALFORMED, "none": {}}
    calls = [
        call | {"context": context}
        for why, context in contexts.items()  # three people: one's refusal must not hide another
        for call in _of(f"{prefix}-{why}")
    ]
    deliver(sdk, server.url, server.server_key, calls)
    assert [each["id"] for each in _stored(server, prefix)] == []


def test_denied_events_are_absent_and_their_neighbours_are_not(server: Server, sdk: str) -> None:
    granted, denied = _of(f"yes-{sdk}")[2], _of(f"denied-{sdk}")[2] | {"context": REFUSED}
    deliver(sdk, server.url, server.server_key, [denied, granted])
    assert len(_stored(server, f"yes-{sdk}")) == 1
    assert _stored(server, f"denied-{sdk}") == []


def test_identical_retry_is_stored_once(server: Server, sdk: str) -> None:
    calls = _of(f"again-{sdk}")
    for _ in range(2):
        deliver(sdk, server.url, server.server_key, calls)
    assert len(_stored(server, f"again-{sdk}")) == len(calls)


def test_same_id_with_another_body_keeps_the_first(server: Server, sdk: str) -> None:
    prefix = f"twice-{sdk}"
    first = _of(prefix)[3]
    other = first | {"properties": first["properties"] | {"quantity": 9}}
    deliver(sdk, server.url, server.server_key, [first])
    deliver(sdk, server.url, server.server_key, [other])
    assert [each["properties"]["quantity"] for each in _stored(server, prefix)] == [2]


def test_balance_has_no_residue(server: Server, delivered: list[dict[str, Any]]) -> None:
    assert delivered
    assert server.admin("/v1/balance")["residue"] == 0
