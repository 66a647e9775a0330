"""The cache of people: bounded, and never behind what the store was told."""

import asyncio
from typing import Any

import pytest

from consent.state import State
from gateway.collector import people as module
from gateway.collector.people import Person, granted_text, pack, secret_hash, unpack
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    a_state,
    an_act,
    an_observation,
    at_the_door,
    categories,
    device,
    user,
)

YES = categories(**GRANT_ALL)


def cached(entrance: Entrance) -> int:
    return len(entrance.people._by_slot)


async def fill(entrance: Entrance, count: int) -> None:
    for number in range(count):
        one = device(f"d{number}")
        await entrance.send(an_observation(identifiers=(one,), carried=YES))


def test_a_state_reads_back() -> None:
    state = a_state(an_act(analytics=True, gpc=True), an_act(storage=False))
    assert unpack(pack(state)) == state


def test_a_secret_is_kept_as_a_digest_and_purposes_as_sorted_text() -> None:
    assert len(secret_hash("x")) == 32
    assert secret_hash("x") != secret_hash("y")
    assert granted_text(frozenset({"b", "a"})) == '["a","b"]'


def test_a_new_slot_knows_nothing() -> None:
    person = Person(1, 1, "shop")
    assert (person.state, person.cluster, person.device) == (State(), (), None)


@at_the_door
async def test_the_oldest_are_forgotten_beyond_the_bound_and_found_again(
    entrance: Entrance,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_PEOPLE", 8)
        await fill(entrance, 20)
        assert cached(entrance) <= 8
    assert (await entrance.outcome(an_observation(identifiers=(device("d0"),))))[0] == "accepted"
    assert entrance.rows("SELECT count(*) FROM people") == [(20,)]


@at_the_door
async def test_strangers_are_remembered_within_a_bound(entrance: Entrance) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_PEOPLE", 8)
        for number in range(20):
            await entrance.send(an_observation(identifiers=(device(f"d{number}"),)))
        assert len(entrance.people._absent) <= 8


@at_the_door
async def test_a_stranger_who_becomes_known_is_one_no_more(entrance: Entrance) -> None:
    assert (await entrance.outcome(an_observation()))[0] == "refused"
    await entrance.send(an_observation(carried=YES))
    assert (await entrance.outcome(an_observation()))[0] == "accepted"


@at_the_door
async def test_a_refusal_not_yet_written_counts_already(entrance: Entrance) -> None:
    refusing = asyncio.ensure_future(entrance.choose(device(), act=an_act(analytics=False)))
    again = asyncio.ensure_future(entrance.choose(device(), act=an_act(audience_insight=False)))
    sending = entrance.outcome(an_observation(carried=categories(measurement=True)))
    found = await asyncio.gather(refusing, again, sending)
    assert found[2] == ("refused", "consent_refused")
    assert entrance.rows("SELECT count(*) FROM refusals") == [(1,)]


@at_the_door
async def test_forgetting_someone_forgets_whoever_is_linked(entrance: Entrance) -> None:
    act = an_act(analytics=True, identity_link=True)
    await entrance.choose(user(), device(), act=act, source="backend")
    await entrance.send(an_observation())
    slot = entrance.slot(user())
    assert slot is not None
    entrance.people.forget([])
    assert cached(entrance) == 2
    entrance.people.forget([slot])
    assert cached(entrance) == 0
    assert (await entrance.outcome(an_observation()))[0] == "accepted"


@at_the_door
async def test_a_person_who_was_forgotten_comes_back_linked(entrance: Entrance) -> None:
    act = an_act(analytics=True, identity_link=True)
    await entrance.choose(user(), device(), act=act, source="backend")
    entrance.people.clear()
    mac = entrance.people.mac("shop", device())
    person: Any = entrance.people.find(mac)
    assert set(person.cluster) == {entrance.slot(user()), entrance.slot(device())}
    assert entrance.people.standing(person).granted == {"analytics", "identity_link"}


def test_answers_settled_once_repeat_until_their_time() -> None:
    person, answers = Person(1, 1, "shop"), {"analytics": False}
    person.settle(answers, NOW, NOW + 10)
    assert person.repeats(answers, NOW + 5)
    assert not person.repeats(answers, NOW + 10)
    assert not person.repeats(dict(answers), NOW + 5)
    person.change(State())
    assert person.heard == {"analytics": NOW + 5}
    assert not person.repeats(answers, NOW + 6)
