"""P4: after a withdrawal is acknowledged no byte about the person is sent, and removals follow.

The platforms' journal and the test share one monotonic clock. An addition that arrives whole after
the acknowledgement and holds a digest of the person is a breach, accepted or not.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e import unguarded
from tests.e2e.network import Network
from tests.e2e.shop import (
    CONSENT,
    PLATFORMS,
    READY_SECONDS,
    Customer,
    begin_sync,
    customers,
    enrol,
    looks,
    port_of,
    status_of,
    towards,
    until,
    withdraw,
)
from tests.sandbox_server import JournalEntry, RunningSandbox
from tests.server import Server

REMOVED_WITHIN = 5.0
LOAD_SECONDS = 0.02
FIRST, SECOND, THIRD = customers(120), customers(60, 200), customers(60, 300)

Times = dict[Customer, float]


@contextmanager
def serving(folder: Path, network: Network, without: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run a server whose platforms lie behind a network."""
    program = unguarded.program(without)
    server = Server(
        folder, configure=towards(network.port), ready_seconds=READY_SECONDS, program=program
    )
    with server:
        yield server


@contextmanager
def load(server: Server, people: Sequence[Customer]) -> Iterator[None]:
    """Send events of some people, one by one, all the time."""
    done = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=server.url, auth=(server.server_key, "")) as client:
            for number in range(10_000):
                person = people[number % len(people)]
                (event,) = looks(person, "load", [f"x{number}"])
                client.post("/v1/track", json=event)
                if done.wait(LOAD_SECONDS):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def take_back(server: Server, people: Sequence[Customer], purposes: object = "all") -> Times:
    """Withdraw for people one after another; return when each was acknowledged."""
    times: Times = {}
    for person in people:
        answer = withdraw(server, person, purposes)
        times[person] = time.monotonic()
        assert answer.status_code == httpx.codes.OK, answer.text
    return times


def additions(platforms: RunningSandbox, platform: str) -> list[JournalEntry]:
    return [one for one in platforms.journal(platform=platform, digests=1) if one.kind == "add"]


def breaches(platforms: RunningSandbox, acknowledged: Times) -> list[tuple[str, int, int, float]]:
    """Return additions that arrived whole after the acknowledgement: where, who, request, late."""
    return [
        (platform, person.number, entry.number, entry.received - at)
        for platform in PLATFORMS
        for entry in additions(platforms, platform)
        for person, at in acknowledged.items()
        if entry.complete and entry.received > at
        if person.digests(platform) & set(entry.digests)
    ]


def removal_seconds(platforms: RunningSandbox, platform: str, acknowledged: Times) -> list[float]:
    """Return how long after the acknowledgement each removal arrived; infinite where none did.

    Who was never shown to the platform needs none.
    """
    journal = platforms.journal(platform=platform, digests=1)
    waits = []
    for person, at in acknowledged.items():
        held = [one for one in journal if person.digests(platform) & set(one.digests)]
        removals = [one.received - at for one in held if one.kind == "remove"]
        if held:
            waits.append(min(removals, default=math.inf))
    return waits


def p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def are_being_sent(platforms: RunningSandbox) -> Callable[[], bool]:
    """Say whether both platforms have the beginning of an addition and not yet its end."""

    def check() -> bool:
        return all(
            any(not one.received for one in additions(platforms, platform))
            for platform in PLATFORMS
        )

    return check


def hold(platforms: RunningSandbox, people: Sequence[Customer]) -> Callable[[], bool]:
    """Say whether both platforms hold all these people."""

    def check() -> bool:
        for platform, audience in PLATFORMS.items():
            there = platforms.digests(platform, audience)
            if not all(person.digests(platform) <= there for person in people):
                return False
        return True

    return check


def held(platforms: RunningSandbox, people: Iterable[Customer]) -> list[tuple[str, int]]:
    """Return who of these people is held where."""
    found = []
    for platform, audience in PLATFORMS.items():
        there = platforms.digests(platform, audience)
        found += [(platform, one.number) for one in people if one.digests(platform) & there]
    return found


# -- the promise ----------------------------------------------------------------------------------


def test_withdrawals_reach_both_platforms_in_time_and_nothing_is_sent_after(
    tmp_path: Path, platforms: RunningSandbox
) -> None:
    with Network(port_of(platforms.url)) as network, serving(tmp_path, network) as server:
        gone = while_being_sent(server, platforms, network)
        gone |= while_a_platform_hangs(server, platforms)
        gone |= while_one_throttles(server, platforms)
        assert len(gone) == 30
        assert breaches(platforms, gone) == []
        for platform in PLATFORMS:
            assert any(not one.complete for one in additions(platforms, platform))  # cut half-way
            waits = removal_seconds(platforms, platform, gone)
            assert len(waits) >= 24
            assert p99(waits) <= REMOVED_WITHIN, (platform, sorted(waits)[-3:])
        assert until(lambda: not held(platforms, gone), 10), held(platforms, gone)
        come_back(server, platforms, gone)
        settled(server, removed=24)


def while_being_sent(server: Server, platforms: RunningSandbox, network: Network) -> Times:
    """Withdraw while the very bodies that hold the people are on their way up."""
    enrol(server, FIRST)
    network.slow.set()
    begin_sync(server)
    gone: Times = {}
    for person in FIRST[:3]:
        assert until(are_being_sent(platforms), 20)
        gone |= take_back(server, [person])
    network.slow.clear()
    assert until(hold(platforms, FIRST[3:]), 30)
    return gone


def while_a_platform_hangs(server: Server, platforms: RunningSandbox) -> Times:
    """Withdraw while both platforms have read an addition and do not answer."""
    for platform in PLATFORMS:
        platforms.fault(platform, "hang", delay_ms=20_000, operation="add")
    before = {platform: len(additions(platforms, platform)) for platform in PLATFORMS}
    enrol(server, SECOND)
    begin_sync(server)
    assert until(lambda: all(len(additions(platforms, name)) > n for name, n in before.items()), 20)
    gone = take_back(server, SECOND[:3])
    assert until(hold(platforms, SECOND[3:]), 30)
    return gone


def while_one_throttles(server: Server, platforms: RunningSandbox) -> Times:
    """Withdraw members under load, with one platform throttling now and then."""
    gone: Times = {}
    with load(server, FIRST[60:]):
        for place, person in enumerate(FIRST[10:34]):
            if place % 6 == 0:
                platforms.fault("meta", "throttle", count=2)
            gone |= take_back(server, [person])
        assert until(lambda: not held(platforms, gone), 15), held(platforms, gone)
    return gone


def come_back(server: Server, platforms: RunningSandbox, gone: Times) -> None:
    """Who grants again is added again, but only by an evaluation that knows of it."""
    # An addition that had to wait for its removal would come alone, and wait for more to come.
    assert until(lambda: is_settled(server), 20)
    again = list(gone)[-2:]
    for person in again:
        body = {
            "user_id": person.user_id,
            "notice": "web", "version": "3", "language": "de",
            "answers": CONSENT["consent"]["categoryPreferences"],
        }  # fmt: skip
        bearer = {"Authorization": f"Bearer {server.server_key}"}
        answer = httpx.post(f"{server.url}/v1/consent", json=body, headers=bearer)
        assert answer.status_code == httpx.codes.CREATED, answer.text
    granted = time.monotonic()
    enrol(server, again, mark="again")
    time.sleep(1)
    assert breaches(platforms, dict.fromkeys(again, granted)) == []
    enrol(server, THIRD)  # as few as two would wait for more
    evaluated = time.monotonic()
    begin_sync(server)
    assert until(hold(platforms, [*again, *THIRD]), 20), status_of(server)
    for _, _, _, late in breaches(platforms, dict.fromkeys(again, granted)):
        assert late > evaluated - granted


def is_settled(server: Server) -> bool:
    return all(one["pending"] == 0 for one in status_of(server).values())


def settled(server: Server, removed: int) -> None:
    """The books are closed: nothing pending, nothing unaccounted for, removals confirmed."""
    assert until(lambda: is_settled(server), 20)
    for name, entry in status_of(server).items():
        assert entry["receipts"]["remove"]["confirmed"] >= removed, name
    balance = server.admin("/v1/balance")
    assert balance["residue"] == 0
    assert {one["residue"] for one in balance["destinations"].values()} == {0}


# -- controls: with a protection taken away, the same look at the journal finds breaches ----------


def test_without_the_drain_additions_arrive_after_the_acknowledgement(
    tmp_path: Path, platforms: RunningSandbox
) -> None:
    with (
        Network(port_of(platforms.url)) as network,
        serving(tmp_path, network, without=("drain",)) as server,
    ):
        gone = while_being_sent(server, platforms, network)
        assert {platform for platform, *_ in breaches(platforms, gone)} == set(PLATFORMS)


@pytest.mark.parametrize("without", [("cancelling",), ("cancelling", "wire check")], ids=", ".join)
def test_the_check_at_the_wire_holds_alone_and_is_missed_when_gone(
    tmp_path: Path, platforms: RunningSandbox, without: tuple[str, ...]
) -> None:
    """The courier is made deaf to withdrawals, so that additions in waiting are not cancelled."""
    people = customers(60)
    for platform in PLATFORMS:
        platforms.fault(platform, "throttle", count=2, operation="add")
    with (
        Network(port_of(platforms.url)) as network,
        serving(tmp_path, network, without=without) as server,
    ):
        enrol(server, people)
        begin_sync(server)
        assert until(lambda: all(additions(platforms, name) for name in PLATFORMS), 20)
        # Contact data stay for those who keep `audience_sync`: nothing else is in the way.
        gone = take_back(server, people[:5], ["ads_personalised"])
        assert until(lambda: is_settled(server), 30)
        assert hold(platforms, people[5:])()
        assert bool(breaches(platforms, gone)) is ("wire check" in without)
