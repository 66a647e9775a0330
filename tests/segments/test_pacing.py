"""Back-off and rate, with a clock and randomness of our own."""

from hypothesis import given
from hypothesis import strategies as st

from segments.pacing import Jitter, TokenBucket, backoff_seconds


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
