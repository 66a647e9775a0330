"""Short builders of what tests need: a policy, a state, an observation, a door on a folder.

Keys are constants that open nothing; times are small numbers; the clock counts up by itself.
"""

import asyncio
import inspect
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from consent.gate import Gate, Refusal
from consent.identifiers import Identifier, IdentifierType, identify
from consent.observation import Observation
from consent.policy import ECOMMERCE_PROPERTIES, Policy, SitePolicy, SourcePolicy, Trust
from consent.pseudonym import IdentifierMac, References
from consent.purposes import LEAVES, PARENTS
from consent.signals.carried import Carried
from consent.state import Act, Kind, State, fold
from consent.vault import ContactOpener, ContactSealer, KeyWrap
from gateway import keystore
from gateway.collector.choices import Choices, Recorded, Stated
from gateway.collector.door import Door
from gateway.collector.history import History
from gateway.collector.people import People
from gateway.collector.prepare import Preparer
from gateway.eventlogs import embedded
from gateway.eventlogs.embedded import EmbeddedStore
from gateway.eventlogs.group import NewEvent
from gateway.eventlogs.view import EmbeddedView
from gateway.keystore import KeyPool, KeyReader

__all__ = [
    "GRANT_ALL",
    "KEYS",
    "NOW",
    "Entrance",
    "a_policy",
    "a_state",
    "an_act",
    "an_entrance",
    "an_observation",
    "answers",
    "at_the_door",
    "build_entrance",
    "categories",
    "close_entrance",
    "device",
    "opener",
    "rows",
    "user",
]

NOW = 1_790_000_000_000
KEYS = {"identifiers": b"i" * 32, "references": b"r" * 32, "wrap": b"w" * 32, "vault": b"v" * 32}
GRANT_ALL = {"functional": True, "measurement": True, "marketing": True}
_counter = itertools.count(1)


def a_policy(**changes: Any) -> Policy:  # noqa: ANN401 - any field of the policy
    """Return the policy of a small shop with a public and a server source."""
    categories = {
        "functional": frozenset({"storage", "functional"}),
        "measurement": PARENTS["measurement"] | {"storage"},
        "marketing": PARENTS["marketing"] | {"identity_link"},
    }
    usual = frozenset({"analytics", "audience_insight", "ads_personalised", "audience_sync"})
    given: dict[str, Any] = {
        "sites": {"shop": SitePolicy("shop", "shop.example", "Europe/Berlin")},
        "sources": {
            "web": SourcePolicy("web", "shop", Trust.PUBLIC),
            "backend": SourcePolicy("backend", "shop", Trust.SERVER),
        },
        "leaves": LEAVES,
        "categories": categories,
        "offers": {"web": frozenset().union(*categories.values())},
        "events": {"order_completed": usual | {"ads_measurement"}},
        "default": usual,
        "properties": ECOMMERCE_PROPERTIES | {"size", "color"},
        "traits": frozenset({"region", "age_band"}),
        "contact": frozenset({"email", "phone"}),
        "paths": ("/", "/search", "/products/:product"),
    }
    return Policy(**{**given, **changes})


def user(value: str = "u1") -> Identifier:
    """Return a user id."""
    return identify(IdentifierType.USER_ID, value)


def device(value: str = "d1") -> Identifier:
    """Return a device id."""
    return identify(IdentifierType.ANONYMOUS_ID, value)


def categories(**answers: bool) -> Carried:
    """Return carried category answers; ``gpc`` and ``malformed`` are signals of their own."""
    gpc, malformed = answers.pop("gpc", False), answers.pop("malformed", False)
    return Carried(answers, gpc=gpc, malformed=malformed)


def an_observation(**changes: Any) -> Observation:  # noqa: ANN401 - any field of the observation
    """Return a page view of the device d1 through the public source, with its own message id."""
    number = next(_counter)
    given: dict[str, Any] = {
        "source": "web",
        "name": "page_viewed",
        "t": NOW,
        "received": NOW,
        "message_id": f"m-{number}",
        "identifiers": (device(),),
    }
    return Observation(**{**given, **changes})


def an_act(kind: Kind = Kind.OWN, /, **answers: Any) -> Act:  # noqa: ANN401 - truths and ``t``
    """Return an act at ``t`` with leaf answers; ``gpc`` and ``gpc_acknowledged`` are signals."""
    t = answers.pop("t", NOW)
    gpc, told = answers.pop("gpc", False), answers.pop("gpc_acknowledged", False)
    return Act(
        kind=kind, answers=answers, t=t, received=t, source="web", gpc=gpc, gpc_acknowledged=told
    )


def a_state(*acts: Act) -> State:
    """Return the state after these acts, numbered from 1."""
    state = State()
    for index, act in enumerate(acts, 1):
        state = fold(state, act, index)
    return state


@dataclass
class Entrance:
    """A door on a folder and everything behind it. ``tables`` and ``events`` read the files."""

    folder: Path
    policy: Policy
    door: Door
    preparer: Preparer
    choices: Choices
    history: History
    view: EmbeddedView
    people: People
    store: EmbeddedStore
    pool: KeyPool
    fatal: list[str] = field(default_factory=list)

    async def send(self, *observations: Observation, proven: bool = False) -> list[Any]:
        """Bring observations in as one request; return their results after the commit."""
        return await self.door.admit(
            lambda group: [
                self.preparer.observe(group, one, proven=proven) for one in observations
            ],
            len(observations),
        )

    async def outcome(self, observation: Observation, *, proven: bool = False) -> tuple[str, str]:
        """Bring one observation in; return its outcome and reason."""
        (result,) = await self.send(observation, proven=proven)
        assert isinstance(result, NewEvent | Refusal)
        return result.outcome, result.reason if isinstance(result, Refusal) else ""

    async def choose(
        self,
        *identifiers: Identifier,
        act: Act,
        source: str = "web",
        trusted: bool | None = None,
        secret: str | None = None,
    ) -> Recorded:
        """Record a choice; a server source is trusted unless told otherwise."""
        policy = self.policy.sources[source]
        stated = Stated(
            source=policy,
            identifiers=identifiers,
            act=act,
            trusted=policy.trust is Trust.SERVER if trusted is None else trusted,
            secret=secret,
        )
        return await self.door.admit(partial(self.choices.record, stated), reserved=True)

    def granted(self, *identifiers: Identifier) -> set[str]:
        """Return what stands for the owner of an id, as the other processes see it."""
        macs = [self.people.mac("shop", one) for one in identifiers]
        owners = self.view.owners(macs)
        found = [self.view.current([owners[mac]]).get(owners[mac], frozenset()) for mac in macs]
        return set(frozenset.intersection(*found))

    def slot(self, identifier: Identifier) -> int | None:
        """Return the slot that owns an id."""
        mac = self.people.mac("shop", identifier)
        return self.view.owners([mac]).get(mac)

    def rows(self, query: str) -> list[Any]:
        """Run a query on the front store."""
        return rows(self.folder / "front.db", query)

    def counters(self) -> dict[tuple[str, str, str], int]:
        """Return the outcome counters."""
        return {(source, out, why): n for source, out, why, n in self.view.counters()}

    def events(self) -> list[Any]:
        """Return the stored events, opened."""
        return [logged.event for logged in self.view.events(0, 10_000)]


def rows(path: Path, query: str) -> list[Any]:
    """Run a query on a SQLite file."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def opener() -> ContactOpener:
    """Return what opens contact data: the courier's half."""
    return ContactOpener(X25519PrivateKey.from_private_bytes(KEYS["vault"]))


def _sealer() -> ContactSealer:
    return ContactSealer(X25519PrivateKey.from_private_bytes(KEYS["vault"]).public_key())


def build_entrance(
    folder: Path,
    policy: Policy | None = None,
    *,
    clock: Callable[[], int] = lambda: NOW,
    max_pending: int = 10_000,
    secrets: Sequence[str] = (),
) -> Entrance:
    """Build a door on a folder; it is not yet started."""
    policy = policy or a_policy()
    front, keys = folder / "front.db", folder / "keys.db"
    if not front.exists():
        embedded.create(front)
        keystore.create(keys)
    references = References(dict.fromkeys(policy.sites, KEYS["references"]))
    macs = IdentifierMac(1, dict.fromkeys(policy.sites, KEYS["identifiers"]))
    wrap = KeyWrap(KEYS["wrap"])
    reader = KeyReader(keys, wrap)
    people = People(embedded.connect(front, write=False), reader, macs, policy)
    pool, store = KeyPool(keys, wrap), EmbeddedStore(front)
    preparer = Preparer(
        Gate(policy, references),
        people,
        pool,
        _sealer(),
        references,
        lambda size: os.urandom(size),  # noqa: PLW0108 - found late: a test may replace it
    )
    fatal: list[str] = []
    door = Door(
        store,
        people,
        pool,
        clock=clock,
        max_pending=max_pending,
        on_fatal=partial(fatal.append, "fatal"),
    )
    named = iter(secrets)
    counted = (f"secret-{number}" for number in itertools.count(1))
    return Entrance(
        folder=folder,
        policy=policy,
        door=door,
        preparer=preparer,
        choices=Choices(preparer, lambda: next(named, None) or next(counted)),
        history=History(preparer, embedded.connect(front, write=False)),
        view=EmbeddedView(front, policy, KeyReader(keys, wrap)),
        people=people,
        store=store,
        pool=pool,
        fatal=fatal,
    )


def close_entrance(entrance: Entrance) -> None:
    """Close the files of a door that has stopped."""
    entrance.people._connection.close()
    entrance.people.keys.close()
    entrance.history._connection.close()
    entrance.view._keys.close()
    entrance.view.close()
    entrance.pool.close()
    entrance.store.close()


@asynccontextmanager
async def an_entrance(
    folder: Path,
    policy: Policy | None = None,
    **more: Any,  # noqa: ANN401 - what build_entrance takes
) -> AsyncIterator[Entrance]:
    """Open a door on a folder, and close it."""
    entrance = build_entrance(folder, policy, **more)
    entrance.door.start()
    try:
        yield entrance
    finally:
        async with asyncio.timeout(20):
            await entrance.door.close()
        close_entrance(entrance)


Scenario = Callable[..., Coroutine[Any, Any, None]]


def at_the_door(scenario: Scenario) -> Callable[..., None]:
    """Turn ``async def test_…(entrance, …)`` into a test with a door on a folder of its own."""
    further = list(inspect.signature(scenario).parameters.values())[1:]

    def test(tmp_path: Path, **given: Any) -> None:  # noqa: ANN401 - what pytest gives
        async def run() -> None:
            async with asyncio.timeout(60), an_entrance(tmp_path) as entrance:
                await scenario(entrance, **given)

        asyncio.run(run())

    own = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([own, *further])  # type: ignore[attr-defined] # pytest reads it
    test.__name__ = scenario.__name__
    return test


def answers(granted: Sequence[str] = (), refused: Sequence[str] = ()) -> Mapping[str, bool]:
    """Return leaf answers."""
    return {**dict.fromkeys(granted, True), **dict.fromkeys(refused, False)}
