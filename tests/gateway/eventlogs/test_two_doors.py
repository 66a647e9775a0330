"""Two doors on one store: no update is lost, nobody is made twice, decisions rest on the newest."""

import asyncio
import multiprocessing
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.policy import Regime
from consent.state import Act, Kind, Standing, State, fold, intersect, standing
from gateway.collector.people import pack
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    a_policy,
    an_act,
    an_entrance,
    an_observation,
    categories,
    device,
    user,
)

YES = categories(**GRANT_ALL)
LINKED = {"analytics": True, "identity_link": True}
POLICY = a_policy()


async def both(folder: Path, scenario: Any) -> None:  # noqa: ANN401 - an async function
    async with asyncio.timeout(60), an_entrance(folder) as one, an_entrance(folder) as other:
        await scenario(one, other)


# -- one race each --------------------------------------------------------------------------------


def test_a_withdrawal_at_one_door_stops_the_next_event_at_the_other(tmp_path: Path) -> None:
    async def scenario(one: Entrance, other: Entrance) -> None:
        await one.choose(device(), act=an_act(analytics=True))
        assert await other.outcome(an_observation()) == ("accepted", "")
        await one.choose(device(), act=an_act(Kind.WITHDRAW, analytics=False))
        assert await other.outcome(an_observation()) == ("refused", "consent_withdrawn")

    asyncio.run(both(tmp_path, scenario))


def test_a_refusal_by_a_linked_id_at_one_door_stops_the_person_at_the_other(
    tmp_path: Path,
) -> None:
    async def scenario(one: Entrance, other: Entrance) -> None:
        await one.choose(user(), act=an_act(**LINKED), source="backend")
        both_ids = an_observation(source="backend", identifiers=(user(), device()))
        assert await other.outcome(both_ids) == ("accepted", "")
        await one.choose(device(), act=an_act(analytics=False))
        again = an_observation(source="backend", identifiers=(user(),))
        assert (await other.outcome(again))[0] == "refused"

    asyncio.run(both(tmp_path, scenario))


def test_one_new_id_at_both_doors_is_one_person(tmp_path: Path) -> None:
    async def scenario(one: Entrance, other: Entrance) -> None:
        doors = [one, other] * 16
        sent = (door.outcome(an_observation(carried=YES)) for door in doors)
        assert set(await asyncio.gather(*sent)) == {("accepted", "")}
        assert one.rows("SELECT count(*) FROM people") == [(1,)]
        assert one.rows("SELECT count(*) FROM records") == [(1,)]

    asyncio.run(both(tmp_path, scenario))


def test_one_message_id_at_both_doors_is_stored_once(tmp_path: Path) -> None:
    async def scenario(one: Entrance, other: Entrance) -> None:
        doors = [one, other] * 16
        sent = (door.outcome(an_observation(message_id="m", carried=YES)) for door in doors)
        found = [outcome for outcome, _ in await asyncio.gather(*sent)]
        assert sorted(found) == ["accepted", *["duplicate"] * 31]
        assert sum(one.counters().values()) == 32

    asyncio.run(both(tmp_path, scenario))


@pytest.mark.parametrize("first", [0, 1])
def test_a_refusal_under_an_unknown_id_is_never_overtaken_by_a_carried_grant(
    tmp_path: Path, first: int
) -> None:
    async def scenario(*doors: Entrance) -> None:
        work: list[Coroutine[Any, Any, Any]] = [
            doors[0].choose(
                device(), act=an_act(Kind.WITHDRAW, **dict.fromkeys(POLICY.default, False))
            ),
            doors[1].outcome(an_observation(carried=YES)),
        ]
        await asyncio.gather(*(work if first == 0 else reversed(work)))
        for door in doors:
            assert (await door.outcome(an_observation(carried=YES, t=NOW + 9)))[0] == "refused"

    asyncio.run(both(tmp_path, scenario))


# -- any mix --------------------------------------------------------------------------------------

WHO = st.sampled_from([user("a"), user("b"), device("a"), device("b"), device("c")])
LEAVES = st.dictionaries(
    st.sampled_from(["analytics", "audience_sync", "identity_link", "storage"]),
    st.booleans(),
    min_size=1,
)
CARRIED = st.dictionaries(st.sampled_from([*GRANT_ALL, "gpc"]), st.booleans())
OPERATION = st.one_of(
    st.tuples(st.just("grant"), WHO, LEAVES.map(lambda found: {**found, "storage": True})),
    st.tuples(st.just("event"), WHO, CARRIED),
    st.tuples(st.just("both"), WHO, CARRIED),
)


async def perform(entrance: Entrance, operation: tuple[str, Any, Any], t: int) -> None:
    kind, who, answers = operation
    if kind == "grant":
        await entrance.choose(who, act=an_act(t=t, **answers), source="backend")
        return
    identifiers = (user("a"), who) if kind == "both" else (who,)
    carried = categories(**answers)
    observation = an_observation(source="backend", identifiers=identifiers, carried=carried, t=t)
    await entrance.send(observation)


class Replay:
    """Folds the stored records in order, knowing nothing of doors."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.clusters: dict[int, tuple[int, ...]] = {}

    def take(self, row: tuple[int, int, int | None], record: dict[str, Any]) -> None:
        number, slot, other = row
        if record["kind"] == Kind.LINK:
            assert other is not None
            cluster = (*self.clusters.get(slot, (slot,)), *self.clusters.get(other, (other,)))
            self.clusters.update(dict.fromkeys(cluster, cluster))
            return
        fields = {name: record[name] for name in ("answers", "t", "received", "source", "gpc")}
        act = Act(kind=Kind(record["kind"]), **fields)
        self.states[slot] = fold(self.states.get(slot, State()), act, number)

    def stands(self, slot: int) -> Standing:
        members = self.clusters.get(slot, (slot,))
        return intersect(
            standing(self.states.get(one, State()), POLICY, Regime.OPT_IN) for one in members
        )


def check(entrance: Entrance) -> None:
    """Compare what is stored with a replay of its own records."""
    view, replay = entrance.view, Replay()
    found: list[tuple[int, Any]] = [(one.position, one) for one in view.events(0, 9_999)]
    records: list[tuple[int, int, int, int | None]]
    records = entrance.rows("SELECT position, record, slot, other FROM records")
    found += [(position, (number, slot, other)) for position, number, slot, other in records]
    assert sorted(number for _, number, _, _ in records) == list(range(1, len(records) + 1))
    assert len({position for position, _ in found}) == len(found)
    for _, row in sorted(found, key=lambda pair: pair[0]):
        if isinstance(row, tuple):
            opened = view.record(row[0])
            assert opened is not None
            replay.take(row, dict(opened))
            continue
        stands = replay.stands(row.slot)
        assert row.event.consent_index == stands.index
        assert set(row.event.purposes) == POLICY.default & stands.granted
    stored = dict(entrance.rows("SELECT slot, state FROM states"))
    assert stored == {slot: pack(state) for slot, state in replay.states.items()}
    assert {slot: len(one) for slot, one in replay.clusters.items()} == dict(
        entrance.rows(
            "SELECT a.slot, count(*) FROM clusters a JOIN clusters b USING (person) GROUP BY a.slot"
        )
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), OPERATION), min_size=1, max_size=24))
def test_any_mix_at_two_doors_equals_a_replay_of_the_records(
    mix: Sequence[tuple[bool, bool, tuple[str, Any, Any]]],
) -> None:
    async def scenario(one: Entrance, other: Entrance) -> None:
        together: list[Any] = []
        for number, (left, waits, operation) in enumerate(mix):
            work = perform(one if left else other, operation, NOW + number)
            together.append(asyncio.ensure_future(work))
            await asyncio.sleep(0)
            if waits:
                await asyncio.gather(*together)
        await asyncio.gather(*together)
        check(one)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(both(Path(folder), scenario))


# -- two processes --------------------------------------------------------------------------------


def _process(folder: str, start: Any, number: int) -> None:  # noqa: ANN401 - a barrier
    async def run() -> None:
        async with an_entrance(Path(folder)) as entrance:
            start.wait(20)
            for turn in range(40):
                one = device(f"d{turn % 10}")
                act = an_act(analytics=True, storage=turn % 2 == number)
                work = [
                    entrance.choose(one, act=act, source="backend"),
                    entrance.send(an_observation(message_id=f"m{turn}", identifiers=(one,))),
                    entrance.send(
                        an_observation(message_id=f"{number}-{turn}", identifiers=(one,))
                    ),
                ]
                await asyncio.gather(*work)

    asyncio.run(run())


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    async def make() -> None:
        async with an_entrance(tmp_path):
            pass

    asyncio.run(make())
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=_process, args=(str(tmp_path), barrier, number)) for number in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]

    async def compare() -> None:
        async with an_entrance(tmp_path) as entrance:
            check(entrance)
            assert entrance.counters() == {
                ("web", "accepted", ""): 120,
                ("web", "duplicate", ""): 40,
            }
            assert entrance.rows("SELECT count(*) FROM people") == [(10,)]
            assert entrance.rows("SELECT count(*) FROM records") == [(80,)]

    asyncio.run(compare())
