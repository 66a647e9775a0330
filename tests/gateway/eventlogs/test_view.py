"""What other processes read of the front store: opened, current, and nothing of the erased."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from consent.errors import KeyDestroyedError
from consent.purposes import LEAVES
from consent.state import Kind
from gateway.eventlogs.view import _MAX_SEALS
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    an_act,
    an_entrance,
    an_observation,
    at_the_door,
    categories,
    device,
    rows,
    user,
)

YES = categories(**GRANT_ALL)


async def filled(entrance: Entrance, people: int = 3, events: int = 4) -> None:
    """Let some people send events, one request each round."""
    for _ in range(events):
        await entrance.send(
            *(an_observation(identifiers=(device(f"d{n}"),), carried=YES) for n in range(people))
        )


def destroy(entrance: Entrance) -> None:
    """Destroy every person's key, as erasure does."""
    with sqlite3.connect(entrance.folder / "keys.db") as connection:
        connection.execute("UPDATE person_keys SET wrapped = NULL")
    connection.close()


@at_the_door
async def test_events_come_in_order_and_in_batches(entrance: Entrance) -> None:
    await filled(entrance)
    every = entrance.view.events(0, 1_000)
    assert [one.position for one in every] == sorted(one.position for one in every)
    assert len(every) == 12
    first = entrance.view.events(0, 5)
    rest = entrance.view.events(first[-1].position, 1_000)
    assert [*first, *rest] == list(every)
    assert entrance.view.events(entrance.view.head(), 5) == []


@at_the_door
async def test_reading_may_begin_within_a_group(entrance: Entrance) -> None:
    await filled(entrance, events=1)
    every = entrance.view.events(0, 9)
    assert entrance.view.events(every[0].position, 9) == every[1:]


@at_the_door
async def test_events_of_the_erased_are_left_out_and_their_slots_hidden(
    entrance: Entrance,
) -> None:
    await filled(entrance, people=1)
    slot = entrance.slot(device("d0"))
    destroy(entrance)
    assert entrance.view.events(0, 99) == []
    assert entrance.view.hidden() == {slot}
    assert entrance.view.record(1) is None
    with pytest.raises(KeyDestroyedError):
        entrance.view.seal_of(slot or 0)


@at_the_door
async def test_an_unknown_slot_has_no_seal(entrance: Entrance) -> None:
    with pytest.raises(KeyDestroyedError):
        entrance.view.seal_of(5)


@at_the_door
async def test_opened_keys_are_bounded(entrance: Entrance) -> None:
    await filled(entrance, people=1, events=1)
    entrance.view._seals = dict.fromkeys(range(_MAX_SEALS))
    assert len(entrance.view.events(0, 9)) == 1
    assert len(entrance.view._seals) == 1


@at_the_door
async def test_consents_are_records_of_people_and_no_links(entrance: Entrance) -> None:
    await entrance.choose(device("gone"), act=an_act(analytics=False))
    act = an_act(analytics=True, identity_link=True)
    await entrance.choose(user(), device(), act=act, source="backend")
    (found,) = entrance.view.consents(0, 99)
    assert found.index == 2
    assert found.granted == {"analytics", "identity_link"}
    assert entrance.view.consents(found.position, 99) == []


@at_the_door
async def test_current_is_what_the_whole_cluster_grants_and_silence_is_absent(
    entrance: Entrance,
) -> None:
    link = {"identity_link": True}
    await entrance.choose(user(), act=an_act(analytics=True, **link), source="backend")
    await entrance.choose(device(), act=an_act(storage=True, **link), source="backend")
    both = an_observation(source="backend", identifiers=(user(), device()))
    await entrance.send(both)
    slots = [entrance.slot(user()), entrance.slot(device())]
    found = entrance.view.current([slot for slot in slots if slot] + [99])
    assert found == dict.fromkeys(slots, frozenset({"identity_link"}))


@at_the_door
async def test_a_withdrawal_names_position_person_and_purposes(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, storage=True))
    before = entrance.view.head()
    recorded = await entrance.choose(device(), act=an_act(Kind.WITHDRAW, storage=False))
    (found,) = entrance.view.withdrawals(0)
    assert (found.position, found.slot) == (recorded.position, entrance.slot(device()))
    assert found.purposes == {"storage"}
    assert entrance.view.withdrawals(before) == [found]
    assert entrance.view.withdrawals(found.position) == []


@at_the_door
async def test_a_link_may_withdraw_anything(entrance: Entrance) -> None:
    act = an_act(analytics=True, identity_link=True)
    await entrance.choose(user(), device(), act=act, source="backend")
    (found,) = entrance.view.withdrawals(0)
    assert found.purposes == set(LEAVES)


@at_the_door
async def test_what_an_operator_reads(entrance: Entrance) -> None:
    await filled(entrance, people=2, events=1)
    await entrance.choose(device("gone"), act=an_act(analytics=False))
    assert entrance.view.counters() == [("web", "accepted", "", 2)]
    assert entrance.view.logged() == 2
    assert entrance.view.undeclared() == []
    opened = entrance.view.record(1)
    unlinked = entrance.view.record(3)
    assert opened is not None
    assert unlinked is not None
    assert (opened["kind"], unlinked["kind"], unlinked["t"]) == ("carried", "own", NOW)
    assert entrance.view.record(99) is None


@at_the_door
async def test_owners_are_found_by_the_hundred(entrance: Entrance) -> None:
    await filled(entrance, people=1, events=1)
    mac = entrance.people.mac("shop", device("d0"))
    many = [b"%d" % number for number in range(700)]
    assert entrance.view.owners([*many, mac]) == {mac: entrance.slot(device("d0"))}


def test_another_process_sees_what_was_committed(tmp_path: Path) -> None:
    async def run() -> None:
        async with an_entrance(tmp_path) as one, an_entrance(tmp_path) as other:
            await filled(one, people=1, events=1)
            assert other.view.logged() == 1

    asyncio.run(run())
    assert rows(tmp_path / "front.db", "SELECT count(*) FROM log") == [(1,)]
