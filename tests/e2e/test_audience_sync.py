"""An audience leaves as a whole or not at all, and nothing but digests leaves with it.

Segments and destinations are those of the generated configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tests.sandbox_server import JournalEntry, RunningSandbox, sandbox
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


@dataclass(frozen=True, slots=True)
class Synced:
    """What the platforms saw: an audience with some who lack a purpose, then two withdrawals."""

    journal: Sequence[JournalEntry]
    first: Mapping[str, set[str]]
    """Platform → digests it held before the withdrawals."""


ALL = customers(MINIMUM + 10)
MEMBERS, WITHDRAWN = ALL[10:], ALL[10:12]


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    """Run it once."""
    folder = tmp_path_factory.mktemp("synced") / "shop"
    with sandbox() as running:
        configure = towards(port_of(running.url))
        with Server(folder, configure=configure, ready_seconds=READY_SECONDS) as server:
            enrol(server, ALL)
            for number, person in enumerate(ALL[:10]):
                withdraw(server, person, ["ads_personalised" if number % 2 else "audience_sync"])
            sync(server)
            first = {name: running.digests(name, audience) for name, audience in PLATFORMS.items()}
            for person in WITHDRAWN:
                withdraw(server, person)
            assert until(lambda: len(writes(running)) == len(PLATFORMS) * (1 + len(WITHDRAWN)), 15)
        return Synced(running.journal(digests=1), first)


def test_those_who_lack_a_purpose_are_not_in_it(synced: Synced) -> None:
    assert synced.first == {name: digests(name, MEMBERS) for name in PLATFORMS}


def test_nothing_but_digests_of_members_leaves(synced: Synced) -> None:
    for entry in synced.journal:
        assert entry.plaintext == 0
        assert set(entry.digests) <= digests(entry.platform, MEMBERS)


def test_removals_name_those_who_withdrew_and_nobody_else(synced: Synced) -> None:
    for name in PLATFORMS:
        entries = [one for one in synced.journal if (one.platform, one.kind) == (name, "remove")]
        assert {digest for one in entries for digest in one.digests} == digests(name, WITHDRAWN)
