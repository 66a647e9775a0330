"""Says how audiences stand: sizes nobody can be singled out by, states, waits, receipts, balance.

Reads the back store only. Sizes and counts below the minimum are shown as ``< k``.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from consent.outcome import Delivery
from gateway.backrecords import Count, Target
from gateway.backstore import BackStore, BackTransaction
from segments.audiences.guard import shown_size
from segments.audiences.membership import Held, Phase
from segments.destination import Fate, Operation

__all__ = ["Progress", "balance", "status", "wait_settled"]

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audience is: operations under way, additions held back for size, members."""

    pending: int
    held_back: int
    members: int

    @property
    def done(self) -> bool:
        """Say whether there is nothing to wait for."""
        return self.pending == 0


def status(store: BackStore, minimum: int, now: int) -> list[dict[str, Any]]:
    """Return one entry per audience and destination; ``now`` and ages are UTC milliseconds."""
    with store.read() as back:
        return [_entry(back, target, minimum, now) for target in back.targets()]


def balance(store: BackStore) -> dict[str, dict[str, int]]:
    """Return what became of every operation, by destination.

    ``residue`` is what was opened, less what ended and what is still open; anything but 0 means
    that an operation was lost or counted twice.
    """
    with store.read() as back:
        opened, ended = back.opened(), back.ended()
        found = {}
        for destination in sorted(
            {target.destination for target in back.targets()} | opened.keys()
        ):
            outcomes = dict.fromkeys((delivery.value for delivery in Delivery), 0)
            for (delivery, _), n in ended.get(destination, {}).items():
                outcomes[delivery.value] += n
            for count in back.counts(destination):
                if count.operation is not None:
                    doubt = count.phase is Phase.DOUBT
                    outcomes[Delivery.IN_DOUBT if doubt else Delivery.PENDING] += count.n
            residue = opened.get(destination, 0) - sum(outcomes.values())
            found[destination] = {**outcomes, "residue": residue}
    return found


async def wait_settled(
    store: BackStore,
    audience: str,
    timeout_seconds: float,
    progress: Callable[[Progress], None] = lambda _: None,
) -> bool:
    """Wait until an audience has nothing under way; return False if time ran out.

    Additions held back by the minimum size are not waited for.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                with store.read() as back:
                    reached = _progress(back, back.targets(audience=audience))
                progress(reached)
                if reached.done:
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return False


def _entry(back: BackTransaction, target: Target, minimum: int, now: int) -> dict[str, Any]:
    counts = back.counts(target.destination, target.audience)
    removals = [count for count in counts if count.operation is Operation.REMOVE]
    oldest = min((count.oldest for count in removals), default=now)
    lanes = back.lanes(target.destination)
    receipts = back.receipts(target.destination, target.audience)
    return {
        "audience": target.audience,
        "destination": target.destination,
        "version": target.version,
        "evaluated_at": target.at,
        "position": target.position,
        "size": shown_size(_sum(counts, lambda count: count.desired), minimum),
        "states": {
            "member": shown_size(_sum(counts, _is_member), minimum),
            "adding": shown_size(_sum(counts, _is_adding), minimum),
            "held_back": shown_size(_sum(counts, _is_held_back), minimum),
            "removing": _sum(removals, lambda count: count.phase is not Phase.DOUBT),
            "in_doubt": _sum(counts, lambda count: count.phase is Phase.DOUBT),
        },
        "pending": _sum(counts, lambda count: count.operation is not None),
        "oldest_removal_ms": now - oldest,
        "parked": sorted(operation.value for operation, lane in lanes.items() if lane.parked),
        "last_error": next((lane.code for lane in lanes.values() if lane.code), ""),
        "receipts": {
            operation.value: {
                fate.value: receipts.get((operation, fate), 0)
                for fate in (Fate.ACCEPTED, Fate.CONFIRMED)
            }
            for operation in Operation
        },
    }


def _progress(back: BackTransaction, targets: Sequence[Target]) -> Progress:
    counts = [c for t in targets for c in back.counts(t.destination, t.audience)]
    held_back = _sum(counts, _is_held_back)
    open_now = _sum(counts, lambda count: count.operation is not None)
    return Progress(open_now - held_back, held_back, _sum(counts, _is_member))


def _sum(counts: Sequence[Count], chosen: Callable[[Count], bool]) -> int:
    return sum(count.n for count in counts if chosen(count))


def _is_member(count: Count) -> bool:
    return count.held is Held.YES and count.operation is None


def _is_held_back(count: Count) -> bool:
    return count.operation is Operation.ADD and count.phase is Phase.READY


def _is_adding(count: Count) -> bool:
    return count.operation is Operation.ADD and count.phase is not Phase.READY
