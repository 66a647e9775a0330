"""The clock gives UTC milliseconds and never runs back."""

import datetime as dt

import time_machine

from gateway.clock import MonotonicClock


def test_it_is_the_time_in_utc_milliseconds() -> None:
    with time_machine.travel(dt.datetime(2026, 11, 21, tzinfo=dt.UTC), tick=False):
        assert MonotonicClock()() == 1_795_219_200_000


def test_while_the_machine_runs_back_it_stands_still() -> None:
    clock = MonotonicClock()
    with time_machine.travel(2_000_000_000, tick=False):
        later = clock()
    with time_machine.travel(1_000_000_000, tick=False):
        assert clock() == later
    with time_machine.travel(2_000_000_001, tick=False):
        assert clock() == later + 1_000
