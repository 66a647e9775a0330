"""Says when a destination may be asked again: back-off, rate, circuit breaker.

Pure: time (seconds, any monotonic clock) and randomness are passed in. Knows no request and no
platform; one lane holds one bucket and one breaker for its destination.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

__all__ = ["Breaker", "BreakerState", "Jitter", "TokenBucket", "backoff_seconds"]

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


class BreakerState(StrEnum):
    """Whether requests may go out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One request may try; its end decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Opens after ``threshold`` failures in a row; each failed trial doubles the cooling time."""

    threshold: int = 5
    cool_seconds: float = 5.0
    max_cool_seconds: float = 120.0
    failures: int = 0
    open_until: float = 0.0

    def state(self, now: float) -> BreakerState:
        """Return the state at a moment."""
        if self.failures < self.threshold:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.open_until else BreakerState.HALF_OPEN

    def after(self, *, healthy: bool, now: float) -> "Breaker":
        """Return the breaker after one request ended."""
        if healthy:
            return replace(self, failures=0, open_until=0.0)
        failures = self.failures + 1
        doublings = min(max(0, failures - self.threshold), _MAX_DOUBLINGS)
        cooling = min(self.max_cool_seconds, self.cool_seconds * 2.0**doublings)
        until = now + cooling if failures >= self.threshold else 0.0
        return replace(self, failures=failures, open_until=until)
