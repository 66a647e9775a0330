"""Brings members into an audience: screened, gathered to the minimum, checked at the wire.

Consent is read after the flight is registered and again just before each request; contact values
are opened only after that, for those it covers, and only one combination of consents goes into a
job. What will be shown is sealed and durable before it is sent.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from consent.outcome import Delivery, Reason
from consent.purposes import PARENTS, PurposeSet
from gateway.audiences.contacts import Contact, Unusable, open_contacts
from gateway.audiences.flights import Flight
from gateway.audiences.platform import Means, Platform
from gateway.audiences.records import Disclosure, Job, Target
from gateway.audiences.settlement import CUT, Settler, chunk_digest
from gateway.audiences.wire import Wire
from segments.audiences.guard import covers, may_release, still_enough
from segments.audiences.membership import Held, Membership, Phase, Step, refuse, start, unwant
from segments.destination import Fate, Operation, SyncReport
from segments.errors import DestinationRejectedError
from segments.export import Prepared, prepare

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
    steps: Sequence[Step]


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
        if self._settler.waits(Operation.ADD):
            return worked
        spec = self._platform.destination.spec
        now = self._means.clock()
        with self._means.store.read() as back:
            audience, rows = back.work(
                self._platform.name, Operation.ADD, _SENDABLE, now, spec.max_members
            )
        if not rows or self._platform.pace.take(Operation.ADD) > 0:
            return worked
        await self._send(audience, rows)
        return True

    def _screen(self) -> bool:
        """End additions that cannot be sent anyway, so that they do not count for the minimum."""
        view, name = self._means.view, self._platform.name
        now = self._means.clock()
        with self._means.store.read() as back:
            audience, rows = back.work(name, Operation.ADD, (Phase.QUEUED,), now, _SCREENED)
            targets = back.targets(destination=name, audience=audience)
        if not rows:
            return False
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
        try:
            load = await self._load(target, rows, flight)
            flight.slots = load.order
            job = self._intend(load, flight)
            if job is None:
                return
            report, sent = await self._carry(job, load, flight)
        finally:
            self._means.flights.land(flight)
        before = {slot: row.held for slot, row in load.rows.items()}
        fates = {load.order[n]: fate for n, fate in load.prepared.settle(report).items()}
        self._settler.settle(job, fates, before, report)

    async def _load(
        self, target: Target, rows: Sequence[Membership], flight: Flight
    ) -> _Load:
        """Check consent, then open, seal and hash for one combination of consents."""
        view = self._means.view
        now = self._means.clock()
        granted = view.current(flight.slots)
        steps = [
            unwant(row, now, denied_at=flight.position)
            for row in rows
            if not covers(granted.get(row.slot), flight.required)
        ]
        told = {
            row.slot: granted[row.slot] & (_TOLD | flight.required)
            for row in rows
            if covers(granted.get(row.slot), flight.required)
        }
        purposes = next(iter(told.values()), frozenset())
        chosen = {row.slot: row for row in rows if told.get(row.slot) == purposes}
        opened = await self._open(list(chosen))
        values: list[tuple[int, Mapping[str, str]]] = []
        order: list[int] = []
        for slot, contact in opened.items():
            if isinstance(contact, Contact):
                values.append((len(order), contact.values))
                order.append(slot)
            else:
                steps.append(_turned_down(chosen[slot], contact, flight, now))
        prepared = await asyncio.to_thread(prepare, self._platform.destination.spec, values)
