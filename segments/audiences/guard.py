"""Decides what may leave: consent coverage, the minimum audience size, removals at once.

Pure. Nothing here knows a platform or a store. Small audiences and small additions wait without a
timed release; removals never wait, so no function here can hold one.
"""

from consent.purposes import PurposeSet

__all__ = ["covers", "may_release", "shown_size", "still_enough"]

_ROUNDING = 5


def covers(granted: PurposeSet | None, required: PurposeSet) -> bool:
    """Say whether consent covers a membership; no record and no declared purpose are denials."""
    return granted is not None and bool(required) and required <= granted


def may_release(size: int, waiting: int, k: int) -> bool:
    """Say whether waiting additions may leave.

    ``size`` is the audience with them, ``waiting`` their number. Below ``k`` nothing leaves, and
    a later batch of additions below ``k`` waits until ``k`` have gathered: its difference would
    single people out. A first full sync is one batch of ``size``.
    """
    return size >= k and waiting >= k


def still_enough(sent: int, batch: int, rest: int, k: int) -> bool:
    """Say whether a released batch may go, after the last check dropped some of it.

    ``sent`` members of the same release left before, ``rest`` are released and not yet prepared.
    """
    return sent + batch + rest >= k


def shown_size(size: int, k: int) -> str:
    """Return a size that may be displayed: ``< k``, else rounded down to a multiple of 5."""
    if size == 0:
        return "0"
    return f"< {k}" if size < k else str(size - size % _ROUNDING)
