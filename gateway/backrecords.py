"""The back store's records as plain values, and how they read from and write to columns.

Values only: no table, no connection. Times are UTC milliseconds, positions those of the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent.outcome import Reason
from consent.purposes import PurposeSet
from segments.audiences.membership import Held, Membership, Phase
from segments.destination import Operation

__all__ = [
    "Count",
    "Disclosure",
    "Job",
    "Lane",
    "Placed",
    "Target",
    "as_job",
    "as_placed",
    "as_row",
    "as_target",
    "joined",
    "read_operation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One audience at one destination, as last evaluated.

    ``purposes`` are the segment's; ``at`` the instant of the evaluation (UTC milliseconds) and
    ``position`` its place in the log. ``leaving`` counts members of the running release that were
    put into a job.
    """

    audience: str
    destination: str
    purposes: PurposeSet
    version: str
    at: int
    position: int
    leaving: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request or flow at a platform. ``chunk`` is the digest of its slots.

    ``state`` is ``running``, ``accepted`` (to be polled) or ``done``; ``position`` the place in
    the log at which consent was last checked. Times are UTC milliseconds.
    """

    id: int
    audience: str
    destination: str
    operation: Operation
    purposes: PurposeSet
    chunk: str
    members: int
    position: int
    opened_at: int
    state: str = "running"
    fate: str = ""
    code: str = ""
    reference: str = ""
    attempts: int = 0
    next_at: int = 0


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One contact version that a platform was shown, sealed under ``wrapped_key``."""

    slot: int
    wrapped_key: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Lane:
    """Why one kind of operation at one destination waits, if it does."""

    code: str = ""
    attempts: int = 0
    next_at: int = 0
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A membership with the place it belongs to."""

    destination: str
    audience: str
    row: Membership


@dataclass(frozen=True, slots=True)
class Count:
    """How many memberships of one target are in one state."""

    desired: bool
    held: Held
    operation: Operation | None
    phase: Phase
    n: int
    oldest: int


# Looked up rather than called: an enumeration costs a microsecond, and a job has thousands of rows.
_HELD = {held.value: held for held in Held}
_PHASES = {phase.value: phase for phase in Phase}
_REASONS = {reason.value: reason for reason in Reason}
_OPERATIONS: dict[str, Operation | None] = {"": None} | {one.value: one for one in Operation}


def joined(purposes: PurposeSet) -> str:
    """Write purposes as one text."""
    return " ".join(sorted(purposes))


def read_operation(text: str) -> Operation | None:
    """Read the kind of an operation, None where there is none."""
    return Operation(text) if text else None


def as_row(destination: str, audience: str, row: Membership) -> dict[str, Any]:
    """Write a membership as columns."""
    return {
        "destination": destination,
        "audience": audience,
        "slot": row.slot,
        "desired": row.desired,
        "position": row.position,
        "denied_at": row.denied_at,
        "held": row.held.value,
        "operation": row.operation.value if row.operation else "",
        "phase": row.phase.value,
        "job": row.job,
        "fence": row.fence,
        "tries": row.tries,
        "batch": row.batch,
        "due": row.due,
        "since": row.since,
        "generation": row.generation,
        "reason": row.reason.value,
        "contact": row.contact,
    }


def as_placed(columns: Sequence[Any]) -> Placed:
    """Read a membership and its place from its columns, in the table's order."""
    (destination, audience, slot, desired, position, denied_at, held, operation, phase, *rest) = (
        columns
    )
    job, fence, tries, batch, due, since, generation, reason, contact = rest
    row = Membership(
        slot,
        bool(desired),
        position,
        denied_at,
        _HELD[held],
        _OPERATIONS[operation],
        _PHASES[phase],
        job,
        fence,
        tries,
        batch,
        due,
        since,
        generation,
        _REASONS[reason],
        contact,
    )
    return Placed(destination, audience, row)


def as_target(row: Mapping[str, Any]) -> Target:
    """Read a target from columns."""
    return Target(**(dict(row) | {"purposes": frozenset(row["purposes"].split())}))


def as_job(row: Mapping[str, Any]) -> Job:
    """Read a job from columns."""
    purposes = frozenset(row["purposes"].split())
    return Job(**(dict(row) | {"purposes": purposes, "operation": Operation(row["operation"])}))
