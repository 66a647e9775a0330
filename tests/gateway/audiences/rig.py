"""A courier over a real back store, with a front store in memory and a scripted platform.

The platform is a destination of its own: digests in, one JSON request out, so that everything
between the back store and the wire is the product's.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

import httpx

from consent.errors import KeyDestroyedError, SealBrokenError
from consent.purposes import PurposeSet
from consent.vault import KeyWrap
from gateway.audiences.contacts import Disclosures
from gateway.audiences.desired import DesiredMembers
from gateway.audiences.flights import Flights
from gateway.audiences.lane import AudienceLane
from gateway.audiences.platform import Means, Platform
from gateway.audiences.withdrawals import Requirements
from gateway.backstore import BackStore
from gateway.courier import Courier, Rhythm
from gateway.eventlog import SealedContact, Withdrawal
from gateway.settings import AudienceSettings
from segments.destination import DestinationSpec, Fate, Flow, Operation, SyncJob, SyncReport
from segments.hashing import digest

SYNC: PurposeSet = frozenset({"audience_sync"})
MINIMUM = 3


@dataclass
class Front:
    """A front store in memory: consent, contacts, one sequence of positions."""

    position: int = 0
    granted: dict[int, PurposeSet] = field(default_factory=dict)
    emails: dict[int, tuple[int, str]] = field(default_factory=dict)
    revoked: list[Withdrawal] = field(default_factory=list)
    linked: dict[int, int] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)

    def grant(self, *slots: int, purposes: PurposeSet = SYNC, contact: bool = True) -> None:
        for slot in slots:
            self.position += 1
            self.granted[slot] = purposes
            if contact:
                self.emails.setdefault(slot, (self.position, email(slot)))

    def withdraw(self, slot: int, purposes: PurposeSet = SYNC) -> int:
        self.position += 1
        self.granted[slot] = self.granted.get(slot, frozenset()) - purposes
        self.revoked.append(Withdrawal(self.position, slot, purposes))
        return self.position

    def erase(self, slot: int) -> int:
        found = self.withdraw(slot)
        del self.granted[slot]
        self.erased.add(slot)
        return found

    # FrontView

    def head(self) -> int:
        return self.position

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        found = {}
        for slot in slots:
            cluster = [other for other in self._cluster(slot) if other in self.granted]
            if cluster:
                found[slot] = frozenset.intersection(*(self.granted[other] for other in cluster))
        return found

    def withdrawals(self, after: int) -> Sequence[Withdrawal]:
        return [found for found in self.revoked if found.position > after]

    def contacts(self, slots: Sequence[int]) -> Mapping[int, Sequence[SealedContact]]:
        found = {}
        for slot in slots:
            cluster = [other for other in self._cluster(slot) if other in self.emails]
            if cluster:
                newest = max(cluster, key=lambda other: self.emails[other][0])
                position, value = self.emails[newest]
                found[slot] = [SealedContact(newest, "email", position, value.encode())]
        return found

    def persons(self) -> Mapping[int, int]:
        return self.linked

    def _cluster(self, slot: int) -> set[int]:
        person = self.linked.get(slot, slot)
        return {slot, person, *(s for s, p in self.linked.items() if p == person)}

    # OpensContacts

    def open(self, sealed: SealedContact) -> str:
        if sealed.slot in self.erased:
            raise KeyDestroyedError("erased")
        if sealed.slot in self.broken:
            raise SealBrokenError("broken")
        return sealed.sealed.decode()


def email(slot: int) -> str:
    return f"p{slot}@shop.example"


def digest_of(slot: int) -> str:
    return digest("email", "E1", email(slot))


class PlainAudience:
    """A destination with the simplest dialect: the answer's text is the fate."""

    spec: ClassVar[DestinationSpec] = DestinationSpec(
        kind="plain",
        title="Plain",
        identifiers={"email": "E1"},
        max_members=4,
        requests_per_minute=6_000_000,
        hosts=("plain.example",),
    )

    def flow(self, job: SyncJob) -> Flow:
        body = [member.digests["email"] for member in job.members]
        response = yield httpx.Request(
            "POST", f"https://plain.example/{job.operation}", content=json.dumps(body)
        )
        if response.status_code == 500:
            return SyncReport(fate=Fate.IN_DOUBT, code="500")
        fate, _, rest = response.text.partition(" ")
        if fate == "partial":
            return SyncReport(fate=Fate.CONFIRMED, rows={job.members[0].row: Fate(rest)})
        return SyncReport(fate=Fate(fate), code=f"said_{fate}", reference=rest)

    def poll(self, job: SyncJob, reference: str) -> Flow:
        del job
        response = yield httpx.Request("GET", f"https://plain.example/status/{reference}")
        return SyncReport(fate=Fate(response.text), reference=reference)


class SlowAudience(PlainAudience):
    """The same, but what it accepts must be asked for."""

    spec: ClassVar[DestinationSpec] = DestinationSpec(
        kind="slow",
        title="Slow",
        identifiers={"email": "E1"},
        max_members=4,
        requests_per_minute=6_000_000,
        hosts=("slow.example",),
        asynchronous=True,
    )


class Died(BaseException):
    """The process ended at this point."""


@dataclass
class Script:
    """What the platform does with the next requests, and whom it holds.

    An entry is ``(takes effect, answer)``: a fate, ``partial`` and the first row's fate, ``500``,
    ``lost`` (no answer) or ``died`` (of our own process). What is accepted waits in ``working``.
    """

    members: set[str] = field(default_factory=set)
    entries: list[tuple[bool, str]] = field(default_factory=list)
    requests: list[tuple[Operation, frozenset[str]]] = field(default_factory=list)
    working: dict[str, tuple[Operation, frozenset[str]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    usual: str = "confirmed"
    before: Callable[[Operation, frozenset[str]], None] = lambda *_: None
    after: Callable[[], None] = lambda: None

    async def send(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            reference = request.url.path.rpartition("/")[2]
            waits = "accepted" if reference in self.working else "confirmed"
            return httpx.Response(200, text=self.failed.get(reference, waits))
        operation = Operation(request.url.path.strip("/"))
        people = json.loads(request.content)
        self.before(operation, frozenset(people))
        self.requests.append((operation, frozenset(people)))
        effect, answer = self.entries.pop(0) if self.entries else (True, self.usual)
        if answer == "split" and len(people) == 1:
            effect, answer = True, self.usual
        if answer == "accepted":
            answer = f"accepted job{len(self.requests)}"
            self.working[f"job{len(self.requests)}"] = operation, frozenset(people)
        elif effect:
            self.take(operation, frozenset(people[answer.startswith("partial") :]))
        self.after()
        return self._answer(request, answer)

    def take(self, operation: Operation, people: frozenset[str]) -> None:
        adds = operation is Operation.ADD
        self.members = self.members | people if adds else self.members - people

    def finish(self, reference: str) -> None:
        """Do what was accepted."""
        self.take(*self.working.pop(reference))

    @staticmethod
    def _answer(request: httpx.Request, answer: str) -> httpx.Response:
        if answer == "died":
            raise Died
        if answer == "lost":
            raise httpx.ReadTimeout("scripted", request=request)
        if answer == "500":
            return httpx.Response(500, text="<html>")
        return httpx.Response(200, text=answer)

    def of(self, operation: Operation) -> list[frozenset[str]]:
        return [people for found, people in self.requests if found is operation]


@cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "back.db"
        store = BackStore(path)
        store.compact()
        store.close()
        return path.read_bytes()


@dataclass
class Rate:
    """A rate without limits, but for the operations named."""

    used_up: set[Operation] = field(default_factory=set)

    def take(self, operation: Operation) -> float:
        return 1.0 if operation in self.used_up else 0.0


class Rig:
    """Front, back, platforms and one courier; ``crash`` forgets all but what is on disk."""

    def __init__(
        self,
        folder: Path,
        *,
        destinations: Mapping[str, PlainAudience] | None = None,
        minimum: int = MINIMUM,
    ) -> None:
        self.folder = folder
        self.front = Front()
        self.destinations = destinations or {"plain": PlainAudience()}
        self.platforms = {name: Script() for name in self.destinations}
        self.minimum = minimum
        self.now = 1_000_000
        self.rate = Rate()
        self._ids = 0
        if not self.path.exists():
            self.path.write_bytes(_empty_store())
        self.open()

    @property
    def path(self) -> Path:
        return self.folder / "back.db"

    def open(self) -> None:
        requirements = Requirements(dict.fromkeys(self.destinations, SYNC))
        self.store = BackStore(self.path)
        self.flights = Flights(self.front, grace_seconds=0.1)
        self.means = Means(
            store=self.store,
            view=self.front,
            vault=self.front,
            disclosures=Disclosures(KeyWrap(bytes(32))),
            flights=self.flights,
            requirements=requirements,
            minimum=self.minimum,
            clock=lambda: self.now,
            new_id=self._new_id,
            backoff=lambda attempts, cap: min(cap, 0.1 * attempts),
        )
        self.lanes = [
            AudienceLane(
                self.means,
                Platform(
                    name=name,
                    destination=destination,
                    options={},
                    read_token=lambda: "token",
                    send=self.platforms[name].send,
                    pace=self.rate,
                ),
            )
            for name, destination in self.destinations.items()
        ]
        audience = AudienceSettings("vip", "segment", tuple(self.destinations))
        self.desired = DesiredMembers(
            self.store, self.front, requirements, {"vip": audience}, {"vip": SYNC}
        )
        self.courier = Courier(self.means, self.lanes, Rhythm(watch=0.01, path=0.01, stop=1.0))
        self.courier.recover()

    def close(self) -> None:
        self.store.close()

    def crash(self) -> None:
        self.close()
        self.open()

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    @property
    def platform(self) -> Script:
        return self.platforms["plain"]

    def evaluate(self, *members: int) -> None:
        self.desired.set_desired(
            "vip",
            members,
            version="1",
            at=self.now,
            position=self.front.position,
            now=self.now,
        )

    async def tick(self) -> bool:
        """Let every path do one step; return whether anything happened."""
        worked = bool(self.courier.watch())
        for lane in self.lanes:
            worked |= await lane.remove()
            worked |= await lane.ask()
            worked |= await lane.add()
        return worked

    async def settle(self) -> None:
        """Work until nothing is left, letting time pass."""
        for _ in range(12):
            while await self.tick():
                pass
            self.now += 1_000_000
