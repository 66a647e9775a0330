"""The life of one membership at one destination, as pure transitions.

One operation is open at a time; a removal is never given up and is repeated after an addition
that was still running when it was sent. Each transition says which operation it opened and which
it ended, so that the two can be counted apart. Knows no store, no platform and no clock.
"""

import dataclasses
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import msgspec
from msgspec.structs import replace

from consent.outcome import Delivery, Reason
from segments.destination import Fate, Operation

__all__ = [
    "Ended",
    "Held",
    "Membership",
    "Phase",
    "Settlement",
    "Step",
    "fence_ended",
    "recover",
    "refuse",
    "settle",
    "start",
    "undo",
    "unwant",
    "want",
]


class Held(IntEnum):
    """Whether the platform holds the member, as far as we know."""

    NO = 0
    MAYBE = 1
    YES = 2


class Phase(StrEnum):
    """Where the open operation is."""

    IDLE = ""
    QUEUED = "queued"
    READY = "ready"
    """An addition that passed the screen and waits for the audience to be large enough."""
    RELEASED = "released"
    RUNNING = "running"
    ACCEPTED = "accepted"
    DOUBT = "doubt"


class Membership(msgspec.Struct, frozen=True):
    """One person in one audience at one destination. Times are UTC milliseconds.

    ``position`` is the evaluation that last wanted the member, ``denied_at`` the newest denial;
    ``job`` the request that carries the open operation; ``fence`` an addition that the platform
    was still working on when its removal was opened; ``contact`` the newest contact version when
    the last addition was refused; ``batch`` the largest job it may be part of, 0 for any.
    """

    slot: int
    desired: bool = False
    position: int = 0
    denied_at: int = 0
    held: Held = Held.NO
    operation: Operation | None = None
    phase: Phase = Phase.IDLE
    job: int = 0
    fence: int = 0
    tries: int = 0
    batch: int = 0
    due: int = 0
    since: int = 0
    generation: int = 0
    reason: Reason = Reason.NONE
    contact: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """One operation that ended, for the outcome counters."""

    operation: Operation
    delivery: Delivery
    reason: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Step:
    """A transition: the membership after it, what it opened, what it ended."""

    row: Membership
    opened: Operation | None = None
    ended: Ended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What came of one member's part in a job.

    ``before`` is what was held before the job; ``effect`` False only where the platform surely
    did nothing. ``final`` says that an accepted job will never be confirmed; ``fence_open`` that
    the addition which a removal must outlive has not ended yet; ``batch`` the size of the job.
    """

    job: int
    fate: Fate
    before: Held = Held.MAYBE
    effect: bool = True
    final: bool = False
    fence_open: bool = False
    due: int = 0
    batch: int = 0


def want(row: Membership, position: int, now: int) -> Step:
    """Want the member, as an evaluation at ``position`` says; a removal under way ends first."""
    row = replace(row, desired=True, position=max(row.position, position))
    if row.operation is None and not row.fence and row.held is not Held.YES:
        return _open(row, Operation.ADD, now)
    return Step(row)


def unwant(
    row: Membership, now: int, *, denied_at: int = 0, delivery: Delivery | None = None
) -> Step:
    """Want the member no longer.

    With ``denied_at`` consent was the reason and an addition not yet sent ends ``withdrawn`` (or
    as ``delivery`` says); without, it left the segment and the addition ends ``refused``.
    """
    row = replace(row, desired=False, denied_at=max(row.denied_at, denied_at))
    if row.operation is None:
        return _removal_if_held(row, now, None)
    if row.operation is Operation.REMOVE or row.phase is Phase.RUNNING:
        return Step(row)
    if row.phase is Phase.ACCEPTED:
        ended = Ended(Operation.ADD, Delivery.DELIVERED)
        return _removal_if_held(replace(row, fence=row.job), now, ended)
    if row.phase is Phase.DOUBT:
        return _removal_if_held(row, now, Ended(Operation.ADD, Delivery.IN_DOUBT))
    return _removal_if_held(row, now, _cancelled(bool(denied_at), delivery))


def refuse(row: Membership, delivery: Delivery, reason: Reason, contact: int) -> Step:
    """End an addition that cannot be sent; it is tried again when a newer contact value exists."""
    ended = Ended(Operation.ADD, delivery, reason)
    return Step(replace(_idle(row), reason=reason, contact=contact), ended=ended)


def start(row: Membership, job: int) -> Membership:
    """Put the open operation into a job; from here the platform may hold the member."""
    held = max(row.held, Held.MAYBE)
    return replace(row, phase=Phase.RUNNING, job=job, held=held, tries=row.tries + 1)


def undo(row: Membership, job: int, before: Held, now: int) -> Step:
    """Take the operation out of a job of which no byte was written."""
    if row.job != job or row.phase is not Phase.RUNNING:
        return Step(row)
    row = replace(row, phase=Phase.RELEASED, job=0, held=before, tries=row.tries - 1)
    return _still_wanted(row, now)


def recover(row: Membership, now: int) -> Step:
    """Mark an operation that was in flight when the process died."""
    if row.phase is not Phase.RUNNING:
        return Step(row)
    return _still_wanted(replace(row, phase=Phase.DOUBT, job=0), now)


def settle(row: Membership, came: Settlement, now: int) -> Step:
    """Apply a platform's answer; one that belongs to a superseded job changes nothing."""
    if row.job != came.job or row.phase not in {Phase.RUNNING, Phase.ACCEPTED}:
        return Step(row)
    if came.fate is Fate.SPLIT and came.batch == 1:
        came = dataclasses.replace(came, fate=Fate.REJECTED)
    if came.fate is Fate.SPLIT:
        row = replace(row, batch=max(1, came.batch // 2))
    if row.operation is Operation.REMOVE:
        return _settle_removal(row, came, now)
    return _settle_addition(row, came, now)


def fence_ended(row: Membership, job: int, now: int) -> Step:
    """Note that an addition ended which a removal was opened during; repeat what it outlived."""
    if row.fence != job or row.phase in {Phase.RUNNING, Phase.ACCEPTED}:
        return Step(row)
    row = replace(row, fence=0)
    return Step(row) if row.operation else _open(row, Operation.REMOVE, now)


def _settle_addition(row: Membership, came: Settlement, now: int) -> Step:
    held = row.held if came.effect else came.before
    done = came.fate is Fate.CONFIRMED or (came.fate is Fate.ACCEPTED and came.final)
    if done:
        row = replace(row, held=Held.YES)
        return _after_addition(row, now, Ended(Operation.ADD, Delivery.DELIVERED))
    if came.fate is Fate.REJECTED:
        row = replace(row, held=came.before, reason=Reason.REJECTED)
        ended = Ended(Operation.ADD, Delivery.REFUSED, Reason.REJECTED)
        return _after_addition(row, now, ended)
    if came.fate is Fate.ACCEPTED:
        row = replace(row, phase=Phase.ACCEPTED)
        return Step(row) if row.desired else unwant(row, now)
    sure = not came.effect
    phase = Phase.RELEASED if sure else Phase.DOUBT
    return _still_wanted(replace(row, phase=phase, job=0, held=held, due=came.due), now)


def _settle_removal(row: Membership, came: Settlement, now: int) -> Step:
    if came.fate is Fate.CONFIRMED or (came.fate is Fate.ACCEPTED and came.final):
        ended = Ended(Operation.REMOVE, Delivery.DELIVERED)
        if row.fence and came.fence_open:
            return Step(replace(_idle(row), held=Held.MAYBE), ended=ended)
        if row.fence:
            again = _open(replace(_idle(row), fence=0), Operation.REMOVE, now)
            return Step(again.row, again.opened, ended)
        row = replace(_idle(row), held=Held.NO)
        if row.desired:
            return Step(_open(row, Operation.ADD, now).row, Operation.ADD, ended)
        return Step(row, ended=ended)
    if came.fate is Fate.ACCEPTED:
        return Step(replace(row, phase=Phase.ACCEPTED))
    phase = Phase.DOUBT if came.effect else Phase.RELEASED
    return Step(replace(row, phase=phase, job=0, due=came.due))


def _still_wanted(row: Membership, now: int) -> Step:
    if row.desired or row.operation is Operation.REMOVE:
        return Step(row)
    return unwant(row, now, denied_at=row.denied_at if row.denied_at > row.position else 0)


def _after_addition(row: Membership, now: int, ended: Ended) -> Step:
    if row.desired:
        return Step(_idle(row), ended=ended)
    return _removal_if_held(row, now, ended)


def _removal_if_held(row: Membership, now: int, ended: Ended | None) -> Step:
    row = _idle(row)
    waits_for_repeat = row.fence and ended is None
    if row.held is Held.NO or waits_for_repeat:
        return Step(row, ended=ended)
    return Step(_open(row, Operation.REMOVE, now).row, Operation.REMOVE, ended)


def _cancelled(denied: bool, delivery: Delivery | None) -> Ended:  # noqa: FBT001 - private
    if delivery is not None:
        return Ended(Operation.ADD, delivery)
    if denied:
        return Ended(Operation.ADD, Delivery.WITHDRAWN, Reason.CONSENT_WITHDRAWN)
    return Ended(Operation.ADD, Delivery.REFUSED, Reason.NOT_SELECTED)


def _open(row: Membership, operation: Operation, now: int) -> Step:
    opened = replace(
        row,
        operation=operation,
        phase=Phase.QUEUED,
        job=0,
        tries=0,
        batch=0,
        due=0,
        since=now,
        generation=row.generation + 1,
        reason=Reason.NONE,
    )
    return Step(opened, opened=operation)


def _idle(row: Membership) -> Membership:
    return replace(row, operation=None, phase=Phase.IDLE, job=0, tries=0, batch=0, due=0, since=0)
