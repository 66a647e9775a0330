"""Back-off, rate and circuit breaker, with a clock and randomness of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.pacing import Breaker, BreakerState, Jitter, TokenBucket, backoff_seconds


class Highest:
    """Jitter that always draws the upper end."""

    def uniform(self, _a: float, b: float, /) -> float:
        return b


def test_wait_doubles_up_to_the_cap() -> None:
    waits = [backoff_seconds(n, Highest(), base=1.0, cap=10.0) for n in range(6)]
    assert waits == [1, 2, 4, 8, 10, 10]


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_wait_is_within_the_span(attempt: int, jitter: Jitter) -> None:
    assert 0 <= backoff_seconds(attempt, jitter) <= 300


@given(st.randoms(use_true_random=False))
def test_what_the_platform_asked_for_is_kept_above_the_cap(jitter: Jitter) -> None:
    assert 600 <= backoff_seconds(0, jitter, at_least=600.0) <= 600.5


@given(
    st.integers(1, 600),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=200),
)
def test_rate_is_never_exceeded_in_any_minute(rate: int, gaps: list[float]) -> None:
    bucket, now, sent = TokenBucket(rate), 0.0, list[float]()
    for gap in gaps:
        now += gap
        while bucket.take(now) == 0.0:
            sent.append(now)
            if len(sent) > 2_000:
                break
    for start in sent:
        assert sum(start <= at < start + 60 for at in sent) <= max(rate, 2)


def test_wait_is_until_the_next_token() -> None:
    bucket = TokenBucket(10)
    assert bucket.take(0.0) == 0.0
    wait = bucket.take(0.0)
    assert wait > 0
    assert bucket.take(wait) == 0.0


def test_clock_that_goes_back_gives_no_tokens() -> None:
    bucket = TokenBucket(10)
    bucket.take(100.0)
    assert bucket.take(50.0) > 0


def test_emptied_bucket_starts_again() -> None:
    bucket = TokenBucket(100)
    bucket.empty(5.0)
    assert bucket.take(5.0) > 0


def failing(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker(threshold=3, cool_seconds=10.0, max_cool_seconds=25.0)
    for _ in range(times):
        breaker = breaker.after(healthy=False, now=now)
    return breaker


@pytest.mark.parametrize(
    ("failures", "now", "state"),
    [
        (0, 0.0, BreakerState.CLOSED),
        (2, 0.0, BreakerState.CLOSED),
        (3, 0.0, BreakerState.OPEN),
        (3, 9.9, BreakerState.OPEN),
        (3, 10.0, BreakerState.HALF_OPEN),
        (4, 19.9, BreakerState.OPEN),
        (5, 24.9, BreakerState.OPEN),
        (9, 25.0, BreakerState.HALF_OPEN),
    ],
)
def test_breaker_opens_cools_and_cools_longer(
    failures: int, now: float, state: BreakerState
) -> None:
    assert failing(failures).state(now) is state


def test_one_success_closes_the_breaker() -> None:
    closed = failing(7).after(healthy=True, now=30.0)
    assert closed.state(30.0) is BreakerState.CLOSED
    assert closed.failures == 0
