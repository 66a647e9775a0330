"""P3: whatever comes in, every observation ends in exactly one outcome, and is counted once."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.observation import Observation
from consent.outcome import Outcome
from consent.signals.carried import Carried
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    a_policy,
    an_act,
    an_entrance,
    an_observation,
    device,
    user,
)

PROPERTIES = st.dictionaries(
    st.sampled_from(["size", "order_id", "items", "note", "anna@example.org"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
)
OBSERVATIONS = st.builds(
    an_observation,
    source=st.sampled_from(["web", "backend"]),
    name=st.sampled_from(["page_viewed", "order_completed", "person_updated", "custom"]),
    t=st.integers(NOW - 1_000, NOW),
    message_id=st.one_of(st.sampled_from(["m1", "m2"]), st.text(max_size=80)),
    identifiers=st.sampled_from(
        [(), (device("a"),), (device("b"),), (user("a"),), (user("a"), device("a"))]
    ),
    previous=st.sampled_from([None, None, device("old")]),
    carried=st.builds(
        Carried,
        st.dictionaries(st.sampled_from([*GRANT_ALL, "unheard_of"]), st.booleans()),
        gpc=st.booleans(),
        malformed=st.sampled_from([False, False, False, True]),
    ),
    properties=PROPERTIES,
    refused=st.sampled_from([False, False, False, True]),
    invalid=st.sampled_from([None, None, None, "event: not JSON"]),
)
REQUESTS = st.lists(st.lists(OBSERVATIONS, max_size=6), max_size=6)


async def _count(entrance: Entrance, requests: list[list[Observation]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for number, request in enumerate(requests):
        results = await entrance.send(*request)
        found.update(result.outcome for result in results)
        if number % 2:
            act = an_act(analytics=bool(number % 4 - 1))
            await entrance.choose(device("a"), act=act, source="backend")
    return found


def _run(requests: list[list[Observation]]) -> tuple[Counter[Any], Counter[Any], int]:
    """Return outcomes as answered, as counted, and how many events the log holds."""

    async def run(folder: Path) -> tuple[Counter[Any], Counter[Any], int]:
        async with an_entrance(folder, a_policy(default=frozenset({"analytics"}))) as entrance:
            answered = await _count(entrance, requests)
            counted: Counter[Any] = Counter()
            for (_, outcome, _), count in entrance.counters().items():
                counted[Outcome(outcome)] += count
            return answered, counted, entrance.view.logged()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS)
def test_every_observation_ends_in_exactly_one_outcome(requests: list[list[Observation]]) -> None:
    answered, counted, logged = _run(requests)
    assert answered == counted
    assert counted.total() == sum(map(len, requests))
    assert logged == counted[Outcome.ACCEPTED]
