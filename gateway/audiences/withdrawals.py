"""Turns withdrawals in the log into removals, and finds consent that lapsed without one.

A removal is opened in the transaction that advances the cursor, so none is lost and none is
opened twice. Whoever is no longer covered leaves; an evaluation newer than the denial may bring
them back. Knows no contact value and no platform.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from consent.purposes import PurposeSet
from gateway.backrecords import Placed, Target
from gateway.backstore import BackStore, BackTransaction
from gateway.eventlog import FrontView, Withdrawal
from segments.audiences.guard import covers
from segments.audiences.membership import Membership, Step, unwant, want
from segments.destination import Operation

__all__ = ["Requirements", "Withdrawals"]

_CURSOR = "withdrawals"
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Requirements:
    """What consent must cover: the segment's purposes and those of the destination.

    ``destinations`` maps each configured destination to its own purposes.
    """

    destinations: Mapping[str, PurposeSet]

    def of(self, target: Target) -> PurposeSet:
        """Return the purposes of a target; a destination that is not configured adds none."""
        return target.purposes | self.destinations.get(target.destination, frozenset())


class Withdrawals:
    """Follows the log for one courier."""

    def __init__(self, store: BackStore, view: FrontView, requirements: Requirements) -> None:
        self._store = store
        self._view = view
        self._requirements = requirements
        self._seen = -1
        with store.read() as back:
            self._cursor = back.cursor(_CURSOR)

    def follow(self, now: int) -> int:
        """Handle withdrawals committed since the last call; return how many there were."""
        head = self._view.head()
        if head == self._seen:
            return 0
        found = self._view.withdrawals(self._cursor)
        if found:
            newest = self._newest(found)
            with self._store.write() as back:
                placed = back.of_slots(newest)
                self._deny(back, placed, newest, now)
                back.set_cursor(_CURSOR, found[-1].position)
            self._cursor = found[-1].position
        self._seen = head
        return len(found)

    def sweep(self, now: int) -> Iterator[int]:
        """Look at every membership once, a page at a time; yield how many changed.

        Finds consent that expired, was narrowed by linking or erased, and people whose refused
        addition can be tried again because a newer contact value came.
        """
        with self._store.read() as back:
            targets = back.targets()
        for target in targets:
            yield from self._sweep_lapsed(target, now)
            yield from self._sweep_refused(target, now)

    def _newest(self, found: Sequence[Withdrawal]) -> dict[int, int]:
        """Map every slot of the people concerned to the position of their newest withdrawal."""
        persons = self._view.persons()
        clusters: dict[int, list[int]] = {}
        for slot, person in persons.items():
            clusters.setdefault(person, []).append(slot)
        newest: dict[int, int] = {}
        for withdrawal in found:
            person = persons.get(withdrawal.slot, withdrawal.slot)
            for slot in (withdrawal.slot, person, *clusters.get(person, ())):
                newest[slot] = withdrawal.position
        return newest

    def _deny(
        self,
        back: BackTransaction,
        placed: Sequence[Placed],
        newest: Mapping[int, int],
        now: int,
    ) -> None:
        targets = {(t.destination, t.audience): t for t in back.targets()}
        granted = self._view.current([found.row.slot for found in placed])
        steps: dict[tuple[str, str], list[Step]] = {}
        for found in placed:
            place = found.destination, found.audience
            row = found.row
            if not covers(granted.get(row.slot), self._requirements.of(targets[place])):
                change = unwant(row, now, denied_at=newest[row.slot])
                steps.setdefault(place, []).append(change)
        for (destination, audience), changes in steps.items():
            back.apply(destination, audience, changes)

    def _sweep_lapsed(self, target: Target, now: int) -> Iterator[int]:
        required = self._requirements.of(target)
        after = -1
        while True:
            with self._store.read() as back:
                rows = back.active(target.destination, target.audience, after, _PAGE)
            if not rows:
                return
            after = rows[-1].slot
            head = self._view.head()
            granted = self._view.current([row.slot for row in rows])
            lost = [
                row.slot
                for row in rows
                if not covers(granted.get(row.slot), required) and not _is_leaving(row)
            ]
            yield self._change(target, lost, partial(unwant, now=now, denied_at=head))

    def _sweep_refused(self, target: Target, now: int) -> Iterator[int]:
        after = -1
        while True:
            with self._store.read() as back:
                rows = back.turned_down(target.destination, target.audience, after, _PAGE)
            if not rows:
                return
            after = rows[-1].slot
            contacts = self._view.contacts([row.slot for row in rows])
            fresh = [
                row.slot
                for row in rows
                if max((c.position for c in contacts.get(row.slot, ())), default=0) > row.contact
            ]
            yield self._change(target, fresh, partial(_again, now=now))

    def _change(
        self, target: Target, slots: Sequence[int], change: Callable[[Membership], Step]
    ) -> int:
        if not slots:
            return 0
        with self._store.write() as back:
            rows = back.members(target.destination, target.audience, slots)
            back.apply(target.destination, target.audience, [change(r) for r in rows.values()])
        return len(rows)


def _is_leaving(row: Membership) -> bool:
    return not row.desired and row.operation is Operation.REMOVE


def _again(row: Membership, now: int) -> Step:
    # Read again inside the transaction: the engine may have decided otherwise since.
    return want(row, row.position, now) if row.desired else Step(row)
