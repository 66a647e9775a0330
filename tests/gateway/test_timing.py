import pytest

from gateway.errors import MalformedPayloadError
from gateway.timing import corrected, instant

RECEIVED = 1_795_251_601_000
DAY = 86_400_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T09:00:00Z",
        "2026-11-21T09:00:00.000Z",
        "2026-11-21T09:00:00.000000+00:00",
        "2026-11-21T09:00:00.0000000Z",
        "2026-11-21T10:00:00+01:00",
        "2026-11-21T10:00:00+0100",
        "2026-11-21T09:00:00",
        "2026-11-21 09:00:00Z",
    ],
)
def test_every_spelling_of_an_instant_is_the_same(text: str) -> None:
    assert instant(text) == 1_795_251_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1970-01-01T00:00:00Z", 0), ("9999-12-31T23:59:59.999Z", 253_402_300_799_999)],
)
def test_first_and_last_millisecond_are_read(text: str, expected: int) -> None:
    assert instant(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1795251600000",
        "2026-13-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "2026-11-21T09:00:00Z" + " " * 40,
    ],
)
def test_what_is_no_time_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        instant(text, "sentAt")
    assert caught.value.field == "sentAt"


def test_error_of_the_client_clock_is_removed() -> None:
    ahead = 600_000
    sent = RECEIVED + ahead
    assert corrected(sent - 5_000, sent, RECEIVED) == RECEIVED - 5_000


@pytest.mark.parametrize("skew", [DAY, -DAY])
def test_a_clock_one_day_off_is_still_corrected(skew: int) -> None:
    sent = RECEIVED - skew
    assert corrected(sent - 5_000, sent, RECEIVED) == RECEIVED - 5_000


def test_a_clock_more_than_a_day_off_is_not_corrected() -> None:
    sent = RECEIVED - DAY - 1
    assert corrected(sent - 5_000, sent, RECEIVED) == sent - 5_000


def test_time_without_a_sending_time_is_kept() -> None:
    assert corrected(RECEIVED - 7, None, RECEIVED) == RECEIVED - 7


def test_nothing_happened_after_it_was_received() -> None:
    assert corrected(RECEIVED + 7, None, RECEIVED) == RECEIVED
    assert corrected(RECEIVED + 7, RECEIVED, RECEIVED) == RECEIVED


def test_without_a_time_it_happened_on_arrival() -> None:
    assert corrected(None, RECEIVED, RECEIVED) == RECEIVED


def test_correction_never_leaves_the_calendar() -> None:
    assert corrected(0, RECEIVED + 1_000, RECEIVED) == 0
