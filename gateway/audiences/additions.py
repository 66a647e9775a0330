"""Brings members into an audience: screened, gathered to the minimum, checked at the wire.

Consent is read after the flight is registered and again just before each request; contact values
are opened only after that, for those it covers, and only one combination of consents goes into a
job. What will be shown is sealed and durable before it is sent.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
from msgspec.structs import replace

from consent.outcome import Delivery, Reason
from consent.purposes import PARENTS, PurposeSet
from gateway.audiences.contacts import Contact, Unusable, open_contacts
from gateway.audiences.flights import Flight, Flights
from gateway.audiences.platform import Means, Platform
from gateway.audiences.settlement import CUT, Settler, chunk_digest
from gateway.audiences.wire import Wire
from gateway.backrecords import Count, Disclosure, Job, Target
from segments.audiences.guard import covers, may_release, still_enough
from segments.audiences.membership import Held, Membership, Phase, Step, refuse, start, unwant
from segments.destination import Fate, Operation, SyncReport
from segments.errors import DestinationRejectedError
from segments.export import Prepared, Send, prepare

__all__ = ["Additions"]

_SENDABLE = (Phase.RELEASED, Phase.DOUBT)
_SCREENED = 1_000
_SLICE = 200
_MOVED = "consent_moved"
_TOLD = PARENTS["marketing"]
"""Purposes that a platform may be told about: a job carries one combination of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """What one job will carry, and what became of the others that were looked at."""

    target: Target
    rows: Mapping[int, Membership]
    purposes: PurposeSet
    order: Sequence[int]
    prepared: Prepared
    shown: Sequence[Disclosure]
    steps: Sequence[tuple[Membership, Step]]


class Additions:
    """The path of additions at one destination."""

    def __init__(self, means: Means, platform: Platform, settler: Settler, wire: Wire) -> None:
        self._means = means
        self._platform = platform
        self._settler = settler
        self._wire = wire
        self._recount = True

    def reconsider(self) -> None:
        """Look again whether waiting additions are enough to leave."""
        self._recount = True

    async def step(self) -> bool:
        """Screen, release or send once; return whether there was anything to do."""
        worked = self._screen()
        if not worked and self._recount:
            self._recount = False
            self._release()
        now = self._means.clock()
        name = self._platform.name
        if not self._means.store.has_work(name, Operation.ADD, _SENDABLE, now):
            return worked
        if self._settler.waits(Operation.ADD):
            return worked
        spec = self._platform.destination.spec
        with self._means.store.read() as back:
            audience, rows = back.work(name, Operation.ADD, _SENDABLE, now, spec.max_members)
        if not rows or self._platform.pace.take(Operation.ADD) > 0:
            return worked
        await self._send(audience, rows)
        return True

    def _screen(self) -> bool:
        """End additions that cannot be sent anyway, so that they do not count for the minimum."""
        view, name = self._means.view, self._platform.name
        now = self._means.clock()
        if not self._means.store.has_work(name, Operation.ADD, (Phase.QUEUED,), now):
            return False
        with self._means.store.read() as back:
            audience, rows = back.work(name, Operation.ADD, (Phase.QUEUED,), now, _SCREENED)
            targets = back.targets(destination=name, audience=audience)
        required = self._means.requirements.of(targets[0])
        slots = [row.slot for row in rows]
        head = view.head()
        granted, contacts = view.current(slots), view.contacts(slots)
        kinds = self._platform.destination.spec.identifiers.keys()
        with self._means.store.write() as back:
            found = back.members(name, audience, slots)
            steps = []
            for row in rows:
                if found.get(row.slot) != row:
                    continue
                if not covers(granted.get(row.slot), required):
                    steps.append(unwant(row, now, denied_at=head))
                elif not any(version.kind in kinds for version in contacts.get(row.slot, ())):
                    steps.append(refuse(row, Delivery.REFUSED, Reason.NO_CONTACT, 0))
                else:
                    steps.append(Step(replace(row, phase=Phase.READY)))
            back.apply(name, audience, steps)
        self._recount = True
        return True

    def _release(self) -> None:
        name = self._platform.name
        with self._means.store.read() as back:
            ready = {
                target.audience: _sizes(back.counts(name, target.audience))
                for target in back.targets(destination=name)
            }
        for audience, (size, waiting) in ready.items():
            if waiting and may_release(size, waiting, self._means.minimum):
                with self._means.store.write() as back:
                    back.release(name, audience)

    async def _send(self, audience: str, rows: Sequence[Membership]) -> None:
        with self._means.store.read() as back:
            (target,) = back.targets(destination=self._platform.name, audience=audience)
        required = self._means.requirements.of(target)
        flight = self._means.flights.take_off([row.slot for row in rows], required)
        wire = _GuardedWire(self._platform.send, self._means.flights, flight)
        try:
            load = await self._load(target, rows, flight)
            flight.slots = load.order
            job = self._intend(load, flight)
            if job is None:
                return
            members = tuple(load.prepared.members)
            report = await self._wire.carry(job, members, wire.send, flight.cut)
        finally:
            self._means.flights.land(flight)
        before = {slot: row.held for slot, row in load.rows.items()}
        if report.code in {CUT, _MOVED}:
            if not wire.wrote:
                self._settler.undo(job, before, target.leaving)
                return
            report = SyncReport(fate=Fate.IN_DOUBT, code=CUT)
        fates = {load.order[n]: fate for n, fate in load.prepared.settle(report).items()}
        self._settler.settle(job, fates, before, report)

    async def _load(self, target: Target, rows: Sequence[Membership], flight: Flight) -> _Load:
        """Check consent, then open, seal and hash for one combination of consents."""
        now = self._means.clock()
        granted = self._means.view.current(flight.slots)
        steps: list[tuple[Membership, Step]] = []
        told: dict[int, PurposeSet] = {}
        for row in rows:
            purposes = granted.get(row.slot)
            if purposes is not None and covers(purposes, flight.required):
                told[row.slot] = purposes & (_TOLD | flight.required)
            else:
                steps.append((row, unwant(row, now, denied_at=flight.position)))
        combination = next(iter(told.values()), frozenset())
        chosen = {row.slot: row for row in rows if told.get(row.slot) == combination}
        opened = await self._open(list(chosen))
        order = [slot for slot, found in opened.items() if isinstance(found, Contact)]
        values = {n: opened[slot] for n, slot in enumerate(order)}
        prepared = await asyncio.to_thread(
            prepare,
            self._platform.destination.spec,
            [(n, found.values) for n, found in values.items() if isinstance(found, Contact)],
        )
        for n in prepared.unusable:
            opened[order[n]] = Unusable(Delivery.REFUSED, Reason.MALFORMED, values[n].position)
        for slot, found in opened.items():
            if isinstance(found, Unusable):
                row = chosen.pop(slot)
                steps.append((row, _turned_down(row, found, flight, now)))
        shown = await self._seal(target, chosen, opened)
        return _Load(
            target=target,
            rows=chosen,
            purposes=combination,
            order=order,
            prepared=prepared,
            shown=shown,
            steps=steps,
        )

    async def _open(self, slots: Sequence[int]) -> dict[int, Contact | Unusable]:
        """Open contact data a slice at a time, so that a drain never waits for a whole batch."""
        opened: dict[int, Contact | Unusable] = {}
        for first in range(0, len(slots), _SLICE):
            part = slots[first : first + _SLICE]
            contacts = self._means.view.contacts(part)
            for slot in part:
                opened[slot] = open_contacts(self._means.vault, contacts.get(slot, ()))
            await asyncio.sleep(0)
        return opened

    async def _seal(
        self,
        target: Target,
        rows: Mapping[int, Membership],
        opened: Mapping[int, Contact | Unusable],
    ) -> list[Disclosure]:
        """Seal what will be shown, unless the very same was shown before."""
        again = [slot for slot, row in rows.items() if row.held is not Held.NO]
        with self._means.store.read() as back:
            kept = back.disclosed(target.destination, target.audience, again)
        sealed: list[Disclosure] = []
        for n, slot in enumerate(rows):
            contact = opened[slot]
            known = [self._means.disclosures.open(version) for version in kept.get(slot, ())]
            if isinstance(contact, Contact) and dict(contact.values) not in known:
                sealed.append(self._means.disclosures.seal(slot, contact.values))
            if n % _SLICE == 0:
                await asyncio.sleep(0)
        return sealed

    def _intend(self, load: _Load, flight: Flight) -> Job | None:
        """Make the job durable, or return None where nothing may leave now."""
        target = load.target
        job = Job(
            id=self._means.new_id(),
            audience=target.audience,
            destination=target.destination,
            operation=Operation.ADD,
            purposes=load.purposes,
            chunk=chunk_digest(Operation.ADD, target.audience, load.rows),
            members=len(load.rows),
            position=flight.position,
            opened_at=self._means.clock(),
        )
        with self._means.store.write() as back:
            looked_at = [*load.rows, *(row.slot for row, _ in load.steps)]
            found = back.members(target.destination, target.audience, looked_at)
            steps = [step for row, step in load.steps if found.get(row.slot) == row]
            back.apply(target.destination, target.audience, steps)
            if not load.rows or any(found.get(slot) != row for slot, row in load.rows.items()):
                # The engine decided otherwise meanwhile; look at them anew.
                return None
            fresh = sum(row.tries == 0 for row in load.rows.values())
            rest = back.released(target.destination, target.audience) - fresh
            enough = still_enough(target.leaving, fresh, rest, self._means.minimum)
            if fresh and not enough:
                back.hold(target.destination, target.audience)
                return None
            back.set_leaving(target.destination, target.audience, target.leaving + fresh)
            started = [Step(start(row, job.id)) for row in load.rows.values()]
            back.apply(target.destination, target.audience, started)
            back.put_job(job)
            back.disclose(target.destination, target.audience, load.shown)
        return job


class _GuardedWire:
    """Checks consent once more, at the last moment before each request is written."""

    def __init__(self, send: Send, flights: Flights, flight: Flight) -> None:
        self._send = send
        self._flights = flights
        self._flight = flight
        self.wrote = False

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send, unless consent moved since the members were chosen.

        Raises:
            DestinationRejectedError: it did; nothing of this request was written.
        """
        if self._flights.uncovered(self._flight):
            raise DestinationRejectedError("consent moved before the send", _MOVED)
        self.wrote = True
        return await self._send(request)


def _turned_down(row: Membership, why: Unusable, flight: Flight, now: int) -> Step:
    if why.delivery is Delivery.ERASED:
        return unwant(row, now, denied_at=flight.position, delivery=why.delivery)
    return refuse(row, why.delivery, why.reason, why.position)


def _sizes(counts: Sequence[Count]) -> tuple[int, int]:
    """Return the size of the audience with what waits, and how many wait."""
    waiting = [
        count
        for count in counts
        if count.operation is Operation.ADD and count.phase is not Phase.QUEUED
    ]
    held = [
        count
        for count in counts
        if count.desired and count.operation is None and count.held is not Held.NO
    ]
    ready = sum(count.n for count in waiting if count.phase is Phase.READY)
    return sum(count.n for count in (*waiting, *held) if count.desired), ready
