"""P6: what was not consented to leaves no trace: two runs that differ in it alone are equal.

Both runs make the same requests and consent acts; only values of refused events, of undeclared and
of dropped fields differ. Randomness is replaced by a counter and the clock stands still. Compared
are every table of both stores and every answer. Contact data is opened first: its sealing draws
randomness that nobody can replace.
"""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.identifiers import Identifier, IdentifierType, identify
from consent.observation import Observation, Place, Touch
from consent.outcome import Outcome
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    an_act,
    an_entrance,
    an_observation,
    categories,
    device,
    opener,
    rows,
    user,
)

FRONT = (
    "head", "people", "identifiers", "states", "refusals", "clusters", "records", "revoked",
    "log", "dedup", "contacts", "counters", "undeclared",
)  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """What both runs have in common of one request."""

    source: str
    who: tuple[Identifier, ...]
    answers: tuple[tuple[str, bool], ...]
    declared: str
    t: int
    act: bool = False


@dataclass(frozen=True)
class Hidden:
    """What may differ: of an admitted event only where nothing of it may be kept."""

    text: str
    number: int

    @property
    def email(self) -> Identifier:
        """An address that no policy and no person lets us keep."""
        return identify(IdentifierType.EMAIL, f"p{self.number}@example.org")


WHO = st.sampled_from(
    [
        ("web", (device("a"),)),
        ("web", (device("b"),)),
        ("backend", (user("a"),)),
        ("backend", (user("a"), device("a"))),
        ("web", (user("b"),)),
    ]
)
ASKS = st.builds(
    lambda who, answers, declared, t, act: Ask(
        who[0], who[1], tuple(answers.items()), declared, t, act=act
    ),
    WHO,
    st.dictionaries(st.sampled_from([*GRANT_ALL, "gpc"]), st.booleans()),
    st.sampled_from(["S", "M", "L"]),
    st.integers(NOW - 50, NOW),
    st.sampled_from([False, False, False, True]),
)
HIDDEN = st.builds(Hidden, st.text(max_size=12), st.integers(0, 10**6))


def _asked(ask: Ask, hidden: Hidden, number: int, *, refused: bool) -> Observation:
    """Build one event; of a refused one all is hidden but what its refusal rests on."""
    secret = f"{hidden.text}{hidden.number}"
    identifiers = ask.who
    if ask.source == "web" and identifiers[0].type is IdentifierType.ANONYMOUS_ID:
        identifiers = (user(f"dropped-{hidden.number}"), *identifiers)
    properties: dict[str, Any] = {
        "size": ask.declared,
        "color": f"{secret}@example.org",
        "note": secret,
        "items": [{"product_id": "p1", "name": secret, "brand": f"{hidden.number}@example.org"}],
    }
    if refused:
        properties = {"size": secret, "value_minor": hidden.number, secret: secret}
    return an_observation(
        source=ask.source,
        message_id=secret if refused else f"m{number}",
        identifiers=identifiers,
        carried=categories(**dict(ask.answers)),
        t=ask.t,
        session=secret if refused else "s1",
        properties=properties,
        traits={"region": secret} if refused else {"region": "BY", "first_name": secret},
        contact=(hidden.email,) if refused else (),
        place=Place(
            f"https://shop.example/products/{hidden.number}?q={hidden.number}#x",
            f"https://search.example/{hidden.number}",
            secret,
        ),
        touch=Touch({"source": secret} if refused else {"source": "news", "clickid": secret}),
    )


@contextmanager
def _counted_randomness() -> Iterator[None]:
    counter = itertools.count(1)

    def urandom(size: int) -> bytes:
        return next(counter).to_bytes(8, "big").rjust(size, b"\x5a")[-size:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", urandom)
        yield


def _dump(entrance: Entrance) -> dict[str, Any]:
    """Return every row of both stores, contact data opened."""
    found: dict[str, Any] = {}
    for table in FRONT:
        found[table] = sorted(entrance.rows(f"SELECT * FROM {table}"), key=repr)  # noqa: S608 - our names
    slots = [slot for slot, *_ in found["people"]]
    found["contacts"] = {
        slot: [
            (one.kind, opener().open(entrance.view.seal_of(one.slot), one.kind, one.sealed))
            for one in contacts
        ]
        for slot, contacts in entrance.view.contacts(slots).items()
    }
    found["person_keys"] = rows(entrance.folder / "keys.db", "SELECT * FROM person_keys")
    return found


Build = Callable[[Ask, int], Observation]


def _run(asks: Sequence[Ask], build: Build) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Return the answers and the dump after one run."""

    async def run(folder: Path) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        async with an_entrance(folder) as entrance:
            answers = []
            for number, ask in enumerate(asks):
                if ask.act:
                    act = an_act(analytics=number % 2 == 0, audience_sync=True, t=ask.t)
                    await entrance.choose(ask.who[0], act=act, source="backend")
                answers.append(await entrance.outcome(build(ask, number)))
            return answers, _dump(entrance)

    with tempfile.TemporaryDirectory() as folder, _counted_randomness():
        return asyncio.run(run(Path(folder)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(ASKS, HIDDEN, HIDDEN), min_size=1, max_size=10),
)
def test_runs_that_differ_in_what_was_not_consented_to_are_equal(
    drawn: list[tuple[Ask, Hidden, Hidden]],
) -> None:
    asks = [ask for ask, _, _ in drawn]
    # Which events are refused depends on nothing hidden: find out once.
    trial, _ = _run(asks, lambda ask, at: _asked(ask, drawn[at][1], at, refused=False))
    refused = [outcome == Outcome.REFUSED for outcome, _ in trial]

    def run(hidden: Sequence[Hidden]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        return _run(asks, lambda ask, at: _asked(ask, hidden[at], at, refused=refused[at]))

    one = run([first for _, first, _ in drawn])
    other = run([second for _, _, second in drawn])
    assert one[0] == other[0] == trial
    for table, rows_ in one[1].items():
        assert rows_ == other[1][table], table


def test_the_comparison_sees_what_was_consented_to() -> None:
    ask = Ask("web", (device("a"),), tuple(GRANT_ALL.items()), "S", NOW, act=False)

    def sent(size: str) -> tuple[Any, dict[str, Any]]:
        return _run([ask], lambda _ask, _at: an_observation(
            message_id="m", carried=categories(**GRANT_ALL), properties={"size": size}
        ))  # fmt: skip

    assert sent("S") == sent("S")
    assert sent("S")[1]["log"] != sent("M")[1]["log"]
    assert sent("S")[1]["dedup"] != sent("M")[1]["dedup"]


def test_contact_data_is_compared_opened() -> None:
    ask = Ask("web", (device("a"),), tuple(GRANT_ALL.items()), "S", NOW, act=False)

    def sent(number: int) -> Any:  # noqa: ANN401 - rows of a table
        return _run([ask], lambda _ask, _at: an_observation(
            message_id="m", carried=categories(**GRANT_ALL), contact=(Hidden("", number).email,)
        ))[1]["contacts"]  # fmt: skip

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)
