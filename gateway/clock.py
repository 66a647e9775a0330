"""The server's clock: UTC milliseconds that never run back within one process."""

import time
from collections.abc import Callable

__all__ = ["Clock", "MonotonicClock"]

Clock = Callable[[], int]


class MonotonicClock:
    """Wall time, held still while the machine's clock runs back."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        """Return UTC milliseconds."""
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last
