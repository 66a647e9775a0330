"""Says which members enter and which leave, from a fresh evaluation and what is recorded.

Pure. Knows no destination, no consent and no store: callers hand in only people who are covered.
A person may be recorded under any slot of the cluster; linking must not look like leaving.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Change", "Standing", "diff"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is recorded of one slot. ``denied_at`` is the position of the last denial, 0 if none."""

    desired: bool
    denied_at: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """Slots to want from now on, slots to want no longer, and slots that stay wanted."""

    enter: tuple[int, ...]
    leave: tuple[int, ...]
    stay: tuple[int, ...]


def diff(
    members: Iterable[int],
    recorded: Mapping[int, Standing],
    persons: Mapping[int, int],
    position: int,
) -> Change:
    """Compare an evaluation at ``position`` of the log with the recorded standings.

    A denial newer than the evaluation wins: the evaluation did not know of it. ``persons`` maps
    linked slots to their person; a person recorded under another slot keeps that slot.
    """
    wanted: dict[int, int] = {}
    for slot in members:
        wanted.setdefault(persons.get(slot, slot), slot)
    known: dict[int, list[int]] = {}
    for slot in recorded:
        known.setdefault(persons.get(slot, slot), []).append(slot)
    enter: list[int] = []
    leave: list[int] = []
    stay: list[int] = []
    for person, slots in known.items():
        desired = [slot for slot in slots if recorded[slot].desired]
        denied = any(recorded[slot].denied_at > position for slot in slots)
        if denied or person not in wanted:
            leave += desired
        elif desired:
            stay += desired
        else:
            enter.append(wanted[person] if wanted[person] in slots else min(slots))
    enter += [slot for person, slot in wanted.items() if person not in known]
    return Change(enter=tuple(sorted(enter)), leave=tuple(sorted(leave)), stay=tuple(sorted(stay)))
