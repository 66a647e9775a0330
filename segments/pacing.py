"""Says when a destination may be asked again: back-off and rate.

Pure: time (seconds, any monotonic clock) and randomness are passed in. Knows no request and no
platform; one lane holds one bucket for its destination.
"""

from typing import Final, Protocol

__all__ = ["Jitter", "TokenBucket", "backoff_seconds"]

_MAX_DOUBLINGS: Final = 30
_MINUTE: Final = 60.0


class Jitter(Protocol):
    """Randomness as ``random.Random`` has it."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a number between the two."""


def backoff_seconds(
    attempt: int,
    jitter: Jitter,
    *,
    base: float = 0.5,
    cap: float = 300.0,
    at_least: float | None = None,
) -> float:
    """Return the wait before a repetition: exponential with full jitter.

    ``attempt`` counts failures from 0. ``at_least`` is what the platform asked for; it is kept
    even above ``cap``, and spread by up to ``base`` so that lanes do not return together.
    """
    if at_least is not None:
        return at_least + jitter.uniform(0.0, base)
    return jitter.uniform(0.0, min(cap, base * 2.0 ** min(attempt, _MAX_DOUBLINGS)))


class TokenBucket:
    """Requests per minute, never exceeded in any window of 60 s, a tenth of them as a burst."""

    def __init__(self, requests_per_minute: int) -> None:
        self._burst = max(1, requests_per_minute // 10)
        self._per_second = max(1, requests_per_minute - self._burst) / _MINUTE
        self._tokens = float(self._burst)
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        if self._at is not None:
            gained = max(0.0, now - self._at) * self._per_second
            self._tokens = min(float(self._burst), self._tokens + gained)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_second

    def empty(self, now: float) -> None:
        """Drop what is left: the platform throttled although we kept to the rate."""
        self._tokens = 0.0
        self._at = now
