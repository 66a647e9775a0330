"""Keeps a destination's rate, with a share that only removals may use.

Two buckets that together never exceed the platform's rate; removals may take from both. Knows no
platform and never waits itself. Times are seconds of a monotonic clock.
"""

from collections.abc import Callable

from segments.destination import Operation
from segments.pacing import TokenBucket

__all__ = ["RatePace"]

_RESERVED_PART = 4


class RatePace:
    """A quarter of the requests is kept for removals."""

    def __init__(self, requests_per_minute: int, monotonic: Callable[[], float]) -> None:
        reserved = max(1, requests_per_minute // _RESERVED_PART)
        self._removals = TokenBucket(reserved)
        self._all = TokenBucket(max(1, requests_per_minute - reserved))
        self._monotonic = monotonic

    def take(self, operation: Operation) -> float:
        """Take a token and return 0.0, or take none and return the seconds until there is one."""
        now = self._monotonic()
        if operation is not Operation.REMOVE:
            return self._all.take(now)
        own = self._removals.take(now)
        return own and min(own, self._all.take(now))
