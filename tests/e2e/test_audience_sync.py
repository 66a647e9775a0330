"""An audience leaves as a whole or not at all, and nothing but digests leaves with it.

Segments and destinations are those of the generated configuration.
"""

from pathlib import Path

import pytest

from tests.e2e.shop import (
    PLATFORMS,
    READY_SECONDS,
    Customer,
    customers,
    enrol,
    port_of,
    status_of,
    sync,
    towards,
    until,
    withdraw,
)
from tests.sandbox_server import RunningSandbox
from tests.server import Server

MINIMUM = 50


@pytest.fixture
def server(tmp_path: Path, platforms: RunningSandbox) -> Server:
    """Return a server that is not started yet, with its destinations at the platforms."""
    port = port_of(platforms.url)
    return Server(tmp_path / "shop", configure=towards(port), ready_seconds=READY_SECONDS)


def writes(platforms: RunningSandbox) -> list[tuple[str, str]]:
    return [(one.platform, one.kind) for one in platforms.journal() if one.kind != "status"]


def digests(platform: str, people: list[Customer]) -> set[str]:
    return {digest for person in people for digest in person.digests(platform)}


def test_below_the_minimum_nothing_leaves_and_at_it_everybody_does(
    server: Server, platforms: RunningSandbox
) -> None:
    people = customers(MINIMUM)
    with server:
        enrol(server, people[:-1])
        sync(server)
        assert writes(platforms) == []
        assert {one["size"] for one in status_of(server).values()} == {f"< {MINIMUM}"}
        enrol(server, people[-1:])
        sync(server)
        assert sorted(writes(platforms)) == [("google", "add"), ("meta", "add")]
        for platform, audience in PLATFORMS.items():
            assert platforms.digests(platform, audience) == digests(platform, people)


def test_only_digests_leave_and_removals_name_what_was_shown(
    server: Server, platforms: RunningSandbox
) -> None:
    people = customers(MINIMUM + 10)
    with server:
        enrol(server, people)
        sync(server)
        for person in people[:2]:
            withdraw(server, person)
        assert until(lambda: writes(platforms).count(("google", "remove")) == 2, 10)
        assert until(lambda: writes(platforms).count(("meta", "remove")) == 2, 10)
    for entry in platforms.journal(digests=1):
        shown = people if entry.kind == "add" else people[:2]
        assert entry.plaintext == 0
        assert set(entry.digests) <= digests(entry.platform, shown)


def test_those_who_do_not_grant_it_are_not_in_it(server: Server, platforms: RunningSandbox) -> None:
    people = customers(MINIMUM + 10)
    with server:
        enrol(server, people)
        for person in people[:5]:
            withdraw(server, person, ["audience_sync"])
        for person in people[5:10]:
            withdraw(server, person, ["ads_personalised"])
        sync(server)
    for platform, audience in PLATFORMS.items():
        assert platforms.digests(platform, audience) == digests(platform, people[10:])
