"""Knows every send that checked consent and has not ended, and ends those a withdrawal touches.

Commit, then drain: a withdrawal is committed before anyone asks here, so a later check sees it.
A flight is checked again at the new position; one that carries nobody affected flies on. Times
are seconds of a monotonic clock. Knows no contact value.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from consent.purposes import PurposeSet
from gateway.eventlog import FrontView
from segments.audiences.guard import covers

__all__ = ["Flight", "Flights"]

_log = structlog.get_logger()
_GRACE_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Flight:
    """One send. ``position`` is the head of the log just before consent was last checked."""

    position: int
    slots: Sequence[int]
    required: PurposeSet
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Flights:
    """The open flights of one courier."""

    def __init__(self, view: FrontView, grace_seconds: float = _GRACE_SECONDS) -> None:
        self._view = view
        self._grace_seconds = grace_seconds
        self._open: set[Flight] = set()

    def take_off(self, slots: Sequence[int], required: PurposeSet) -> Flight:
        """Open a flight; the caller checks consent after this, never before."""
        flight = Flight(self._view.head(), slots, required)
        self._open.add(flight)
        return flight

    def land(self, flight: Flight) -> None:
        """Close a flight: nothing of it will be written any more."""
        self._open.discard(flight)
        flight.ended.set()

    def uncovered(self, flight: Flight) -> frozenset[int]:
        """Check a flight again; return whom consent no longer covers.

        Where it covers everybody, the flight counts as checked at the head read before.
        """
        head = self._view.head()
        if head == flight.position:
            return frozenset()
        granted = self._view.current(flight.slots)
        lost = frozenset(s for s in flight.slots if not covers(granted.get(s), flight.required))
        if not lost:
            flight.position = head
        return lost

    async def drain(self, position: int) -> int:
        """Return once every send that checked consent before ``position`` has ended.

        Sends that carry someone affected get the grace period, then are cut.
        """
        late = [flight for flight in self._open if self._is_late(flight, position)]
        if late:
            await self._await_end(late, self._grace_seconds)
            await self._cut([flight for flight in late if not flight.ended.is_set()])
        return position

    async def cut_all(self) -> None:
        """End every flight now."""
        await self._cut(list(self._open))

    def _is_late(self, flight: Flight, position: int) -> bool:
        if flight.position >= position or flight.ended.is_set():
            return False
        try:
            return bool(self.uncovered(flight))
        except Exception:  # noqa: BLE001 - a check that fails must end the send, whatever it was
            _log.warning("flight_check_failed", position=position)
            return True

    async def _cut(self, flights: Sequence[Flight]) -> None:
        if not flights:
            return
        _log.info("flights_cut", count=len(flights))
        for flight in flights:
            flight.cut.set()
        await self._await_end(flights, None)

    @staticmethod
    async def _await_end(flights: Sequence[Flight], seconds: float | None) -> None:
        waits: list[asyncio.Task[bool]] = [
            asyncio.ensure_future(flight.ended.wait()) for flight in flights
        ]
        await asyncio.wait(waits, timeout=seconds)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
