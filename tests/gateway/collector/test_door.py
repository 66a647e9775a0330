"""Nothing is answered before its commit; what fails leaves nothing; what was moved is redone."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import OverloadedError, StoreBrokenError, StoreError, UnprocessableError
from gateway.eventlogs.group import Group
from tests.factories import (
    GRANT_ALL,
    Entrance,
    an_act,
    an_entrance,
    an_observation,
    at_the_door,
    build_entrance,
    categories,
    close_entrance,
    device,
    rows,
)

YES = categories(**GRANT_ALL)


async def tick() -> None:
    await asyncio.sleep(0)


@at_the_door
async def test_an_answer_comes_after_the_commit_that_holds_its_event(entrance: Entrance) -> None:
    waiting = entrance.door.admit(
        lambda group: entrance.preparer.observe(group, an_observation(carried=YES))
    )
    assert not waiting.done()
    assert entrance.rows("SELECT * FROM log") == []
    await waiting
    assert entrance.rows("SELECT count FROM log") == [(1,)]


@at_the_door
async def test_what_waits_together_is_one_transaction(entrance: Entrance) -> None:
    await asyncio.gather(*(entrance.send(an_observation(carried=YES)) for _ in range(10)))
    assert entrance.rows("SELECT count FROM log") == [(10,)]


@at_the_door
async def test_positions_rise_and_record_numbers_have_no_gaps(entrance: Entrance) -> None:
    for number in range(20):
        one = device(f"d{number % 7}")
        await entrance.send(an_observation(identifiers=(one,), carried=YES))
        await entrance.choose(one, act=an_act(analytics=False), source="backend")
    records = entrance.rows("SELECT record, position FROM records ORDER BY record")
    positions = [position for _, position in records]
    positions += [logged.position for logged in entrance.view.events(0, 99)]
    assert [record for record, _ in records] == list(range(1, len(records) + 1))
    assert len(set(positions)) == len(positions)
    assert entrance.rows("SELECT position, record FROM head") == [(max(positions), len(records))]


@at_the_door
async def test_of_32_at_once_with_one_id_one_is_accepted(entrance: Entrance) -> None:
    sent = [an_observation(message_id="m", carried=YES) for _ in range(32)]
    outcomes = await asyncio.gather(*(entrance.outcome(one) for one in sent))
    assert sorted(outcomes) == [("accepted", ""), *[("duplicate", "")] * 31]
    assert len(entrance.events()) == 1


def test_duplicates_are_known_after_a_restart(tmp_path: Path) -> None:
    async def outcome(size: str) -> str:
        async with an_entrance(tmp_path) as entrance:
            sent = an_observation(message_id="m", carried=YES, properties={"size": size})
            return (await entrance.outcome(sent))[0]

    found = [asyncio.run(outcome(size)) for size in ("S", "S", "M")]
    assert found == ["accepted", "duplicate", "conflict"]


# -- overload and closing -------------------------------------------------------------------------


def test_a_full_door_turns_events_away_and_lets_consent_in(tmp_path: Path) -> None:
    async def run() -> None:
        async with an_entrance(tmp_path, max_pending=2) as entrance:
            with pytest.raises(OverloadedError):
                await entrance.send(*(an_observation(carried=YES) for _ in range(3)))
            assert entrance.counters() == {}
            both = [an_observation(carried=YES) for _ in range(2)]
            sending = asyncio.create_task(entrance.send(*both))
            await tick()
            await entrance.choose(device(), act=an_act(analytics=False))
            assert len(await sending) == 2
            assert len(await entrance.send(an_observation(carried=YES))) == 1

    asyncio.run(run())


def test_closing_commits_what_waits_and_admits_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with an_entrance(tmp_path) as entrance:
            sending = asyncio.create_task(entrance.send(an_observation(carried=YES)))
            await tick()
            await entrance.door.close()
            assert sending.done()
            with pytest.raises(OverloadedError):
                await entrance.send(an_observation(carried=YES))

    asyncio.run(run())
    assert rows(tmp_path / "front.db", "SELECT count FROM log") == [(1,)]


def test_a_door_that_was_never_started_closes(tmp_path: Path) -> None:
    async def run() -> None:
        entrance = build_entrance(tmp_path)
        await entrance.door.close()
        close_entrance(entrance)

    asyncio.run(run())


@at_the_door
async def test_a_request_whose_sender_left_is_kept_all_the_same(entrance: Entrance) -> None:
    sending = asyncio.create_task(entrance.send(an_observation(carried=YES)))
    await tick()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await entrance.send(an_observation(carried=YES))
    assert len(entrance.events()) == 2


# -- work that fails ------------------------------------------------------------------------------


def breaking(entrance: Entrance, error: Exception, *, after: int = 0) -> Callable[[Group], None]:
    """Return work that fails at its n-th run: a check at once, anything else half-way."""
    runs = iter(range(99))

    def work(group: Group) -> None:
        fails = next(runs) >= after
        if not (fails and isinstance(error, UnprocessableError)):
            entrance.preparer.observe(group, an_observation(carried=YES))
        if fails:
            raise error

    return work


@at_the_door
async def test_work_that_breaks_off_leaves_nothing_of_itself(entrance: Entrance) -> None:
    sending = asyncio.create_task(
        entrance.send(an_observation(identifiers=(device("a"),), carried=YES))
    )
    await tick()
    with pytest.raises(ValueError, match="broken"):
        entrance.door.admit(breaking(entrance, ValueError("broken")))
    last = asyncio.create_task(
        entrance.send(an_observation(identifiers=(device("b"),), carried=YES))
    )
    await asyncio.gather(sending, last)
    assert len(entrance.events()) == 2
    assert entrance.slot(device()) is None
    assert entrance.counters() == {("web", "accepted", ""): 2}


@at_the_door
async def test_work_that_a_check_refuses_disturbs_nobody(entrance: Entrance) -> None:
    with pytest.raises(UnprocessableError):
        await entrance.choose(act=an_act(analytics=True))
    assert (await entrance.outcome(an_observation(carried=YES)))[0] == "accepted"


@at_the_door
async def test_a_database_error_while_preparing_means_no_store(entrance: Entrance) -> None:
    with pytest.raises(StoreError):
        entrance.door.admit(breaking(entrance, sqlite3.OperationalError("disk I/O error")))
    assert (await entrance.outcome(an_observation(carried=YES)))[0] == "accepted"


def move(entrance: Entrance) -> None:
    """Make the store move as another process would: one record that concerns the device d1."""
    entrance.rows("SELECT 1")
    connection = sqlite3.connect(entrance.folder / "front.db")
    with connection:
        connection.execute("UPDATE head SET record = record + 1, position = position + 1")
        connection.execute(
            "INSERT INTO records SELECT h.record, h.position, i.slot, NULL, 'own', 0, '[]',"
            " x'', x'', x'' FROM head h, identifiers i"
        )
    connection.close()


@pytest.mark.parametrize("error", [ValueError("broken"), UnprocessableError("refused", "x")])
@at_the_door
async def test_work_that_fails_when_it_is_redone_fails_alone(
    entrance: Entrance, error: Exception
) -> None:
    await entrance.send(an_observation(carried=YES))
    move(entrance)
    first = asyncio.create_task(entrance.send(an_observation(carried=YES)))
    await tick()
    broken = entrance.door.admit(breaking(entrance, error, after=1))
    last = asyncio.create_task(entrance.send(an_observation(carried=YES)))
    with pytest.raises(type(error)):
        await broken
    assert [one.outcome for (one,) in await asyncio.gather(first, last)] == ["accepted"] * 2
    assert len(entrance.events()) == 3


# -- a store that fails ---------------------------------------------------------------------------


def fill(entrance: Entrance) -> None:
    """Let the store grow no further."""
    connection = entrance.store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


@at_the_door
async def test_a_full_disk_refuses_and_counts_nothing_and_space_brings_it_back(
    entrance: Entrance,
) -> None:
    await entrance.send(an_observation(carried=YES))
    before = entrance.rows("SELECT * FROM counters"), entrance.rows("SELECT * FROM head")
    fill(entrance)
    big = [an_observation(carried=YES, properties={"size": "x" * 200}) for _ in range(200)]
    with pytest.raises(StoreBrokenError):
        await entrance.send(*big)
    after = entrance.rows("SELECT * FROM counters"), entrance.rows("SELECT * FROM head")
    assert after == before
    assert entrance.fatal == []
    entrance.store._connection.execute("PRAGMA max_page_count = 1000000")
    assert {one.outcome for one in await entrance.send(*big)} == {"accepted"}


@at_the_door
async def test_a_person_made_by_a_commit_that_failed_is_made_again(entrance: Entrance) -> None:
    fill(entrance)
    many = [an_observation(identifiers=(device(f"d{n}"),), carried=YES) for n in range(200)]
    with pytest.raises(StoreBrokenError):
        await entrance.send(*many)
    assert entrance.slot(device("d1")) is None
    entrance.store._connection.execute("PRAGMA max_page_count = 1000000")
    await entrance.send(*many)
    assert entrance.rows("SELECT count(*) FROM people") == [(200,)]


@at_the_door
async def test_what_waits_behind_a_failed_commit_is_not_lost(entrance: Entrance) -> None:
    fill(entrance)
    many = [an_observation(identifiers=(device(f"d{n}"),), carried=YES) for n in range(200)]
    failing = asyncio.create_task(entrance.send(*many))
    await tick()
    await tick()
    entrance.door._wake.set()
    behind = asyncio.create_task(entrance.send(an_observation()))
    found = await asyncio.gather(failing, behind, return_exceptions=True)
    assert isinstance(found[0], StoreBrokenError)
    assert isinstance(found[1], list | StoreBrokenError)


@at_the_door
async def test_a_sync_that_failed_is_final(entrance: Entrance) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    entrance.store._abandon(error)
    with pytest.raises(StoreBrokenError):
        await entrance.send(an_observation(carried=YES))
    assert entrance.fatal == ["fatal"]
    with pytest.raises(StoreBrokenError):
        await entrance.send(an_observation(carried=YES))


@at_the_door
async def test_an_error_without_a_name_is_not_final(entrance: Entrance) -> None:
    entrance.store._abandon(sqlite3.ProgrammingError("of the binding"))
    assert not entrance.store.broken


@at_the_door
async def test_a_store_that_cannot_even_say_its_head_ends_the_door_and_nobody_waits_for_ever(
    entrance: Entrance,
) -> None:
    entrance.store._connection.execute("ALTER TABLE head RENAME TO gone")
    with pytest.raises(StoreError):
        await entrance.send(an_observation(carried=YES))
    for _ in range(5):
        await tick()
    assert entrance.fatal == ["fatal"]
    with pytest.raises(OverloadedError):
        await entrance.send(an_observation(carried=YES))


@at_the_door
async def test_the_turn_is_given_up_after_a_failure(entrance: Entrance) -> None:
    fill(entrance)
    many = [an_observation(identifiers=(device(f"d{n}"),), carried=YES) for n in range(200)]
    with pytest.raises(StoreBrokenError):
        await entrance.send(*many)
    assert not entrance.store._holding


@at_the_door
async def test_a_door_is_not_ready_once_a_sync_failed(entrance: Entrance) -> None:
    before = entrance.door.amiss()
    error = sqlite3.OperationalError("of the disk")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    entrance.store._abandon(error)
    assert (before, entrance.door.amiss()) == ("", "store")
