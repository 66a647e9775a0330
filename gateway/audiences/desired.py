"""Writes what a segment wants into the back store: who enters and who leaves each audience.

The engine's side. Only people whose consent covers the segment and the destination are wanted,
so that nothing is opened that the wire would refuse. Call it after every evaluation, also where
nothing changed: a denial is lifted only by an evaluation that is newer than it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from consent.purposes import PurposeSet
from gateway.audiences.withdrawals import Requirements
from gateway.backrecords import Target
from gateway.backstore import BackStore
from gateway.settings import AudienceSettings
from segments.audiences.diff import diff
from segments.audiences.guard import covers
from segments.audiences.membership import Membership, Step, unwant, want

__all__ = ["DesiredMembers", "ReadsConsent"]

_CHUNK = 2_000
"""Members in one transaction: the courier waits for the file meanwhile."""

_Change = Callable[[Membership], Step]


class ReadsConsent(Protocol):
    """The part of the front store that is needed here."""

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        """Return what each slot grants right now."""

    def persons(self) -> Mapping[int, int]:
        """Return slot → person for linked slots only."""


class DesiredMembers:
    """What the configured audiences want.

    ``segments`` maps each audience to its segment's purposes.
    """

    def __init__(
        self,
        store: BackStore,
        view: ReadsConsent,
        requirements: Requirements,
        audiences: Mapping[str, AudienceSettings],
        segments: Mapping[str, PurposeSet],
    ) -> None:
        self._store = store
        self._view = view
        self._requirements = requirements
        self._audiences = audiences
        self._segments = segments

    def set_desired(
        self,
        audience: str,
        members: Sequence[int],
        *,
        version: str,
        at: int,
        position: int,
        now: int,
    ) -> dict[str, tuple[int, int]]:
        """Record an evaluation; return how many enter and leave, by destination.

        ``version`` is the definition's, ``at`` the instant evaluated (UTC milliseconds),
        ``position`` the place in the log up to which it saw events and consent.
        """
        granted = self._view.current(members)
        persons = self._view.persons()
        changes = {}
        for destination in self._audiences[audience].destinations:
            target = Target(
                audience=audience,
                destination=destination,
                purposes=self._segments[audience],
                version=version,
                at=at,
                position=position,
            )
            required = self._requirements.of(target)
            covered = [slot for slot in members if covers(granted.get(slot), required)]
            changes[destination] = self._apply(target, covered, persons, now)
        return changes

    def retire(self, now: int) -> int:
        """Take everybody out of targets that are no longer configured; return how many."""
        with self._store.read() as back:
            targets = back.targets()
        leaving = 0
        for target in targets:
            audience = self._audiences.get(target.audience)
            if audience is None or target.destination not in audience.destinations:
                with self._store.read() as back:
                    standings = back.standings(target.destination, target.audience)
                desired = [slot for slot, standing in standings.items() if standing.desired]
                self._change(target, desired, partial(unwant, now=now))
                leaving += len(desired)
        return leaving

    def _apply(
        self, target: Target, covered: Sequence[int], persons: Mapping[int, int], now: int
    ) -> tuple[int, int]:
        with self._store.read() as back:
            recorded = back.standings(target.destination, target.audience)
            before = back.targets(destination=target.destination, audience=target.audience)
        change = diff(covered, recorded, persons, target.position)
        with self._store.write() as back:
            # Its position counts for every member, so it moves last.
            back.put_target(replace(target, position=before[0].position if before else 0))
        self._change(target, change.leave, partial(unwant, now=now))
        self._change(target, change.enter, partial(_enter, position=target.position, now=now))
        with self._store.write() as back:
            back.put_target(target)
        return len(change.enter), len(change.leave)

    def _change(self, target: Target, slots: Sequence[int], change: _Change) -> None:
        for part in _parts(slots):
            with self._store.write() as back:
                rows = back.members(target.destination, target.audience, part)
                steps = [change(rows.get(slot, Membership(slot))) for slot in part]
                back.apply(target.destination, target.audience, steps)


def _enter(row: Membership, position: int, now: int) -> Step:
    # The courier may have recorded a denial since the difference was taken.
    return Step(row) if row.denied_at > position else want(row, position, now)


def _parts(slots: Iterable[int]) -> Iterator[list[int]]:
    everything = list(slots)
    for first in range(0, len(everything), _CHUNK):
        yield everything[first : first + _CHUNK]
