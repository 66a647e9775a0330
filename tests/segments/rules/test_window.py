from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.rules.window import (
    DAY_MS,
    MAX_DAYS,
    duration_ms,
    duration_text,
    epoch_day,
    instant_ms,
    instant_text,
)


@given(st.integers(1, MAX_DAYS * DAY_MS // 1000))
def test_a_duration_reads_back(seconds: int) -> None:
    assert duration_ms(duration_text(seconds * 1000)) == seconds * 1000


@given(st.integers(0, 4 * 10**12))
def test_an_instant_reads_back(milliseconds: int) -> None:
    assert instant_ms(instant_text(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("250ms", 250), ("30m", 1_800_000), ("2w", 14 * DAY_MS), ("90s", 90_000)],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "d", "1.5h", "1 d", "1D", "\u0661d", "1mo"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        duration_ms(text)


def test_days_count_from_1970() -> None:
    assert (epoch_day(date(1970, 1, 1)), epoch_day(date(2026, 3, 29))) == (0, 20_541)
