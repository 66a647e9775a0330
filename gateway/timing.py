"""When an event happened: client clock texts to UTC milliseconds, with the clock's error removed.

It must not know protocols. Rule: t = received - (sent - original), as the Segment specification
("Spec: Common fields", timestamps) defines it; a clock more than a day off is not corrected.
"""

from datetime import UTC, datetime

from gateway.errors import MalformedPayloadError

__all__ = ["corrected", "instant"]

_DAY_MS = 86_400_000
_FIRST_MS = 0
_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_MAX_TEXT = 40


def instant(text: str, field: str = "timestamp") -> int:
    """Return the UTC milliseconds of an ISO 8601 text; one without an offset is read as UTC.

    Raises:
        MalformedPayloadError: not ISO 8601, or outside the years 1970 to 9999.
    """
    if len(text) > _MAX_TEXT:
        raise MalformedPayloadError(f"{len(text)} characters are not an ISO 8601 time", field)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedPayloadError("not an ISO 8601 time", field) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    found = round(moment.timestamp() * 1000)
    if not _FIRST_MS <= found <= _LAST_MS:
        raise MalformedPayloadError("outside the years 1970 to 9999", field)
    return found


def corrected(original: int | None, sent: int | None, received: int) -> int:
    """Return the event time on our clock, never after ``received``; all are UTC milliseconds.

    ``original`` and ``sent`` are times of the client's clock: of the event and of the request.
    Without ``original`` the event happened on arrival. Without ``sent``, or where the client's
    clock is more than 24 h off, ``original`` is kept.
    """
    if original is None:
        return received
    if sent is None or abs(received - sent) > _DAY_MS:
        return min(original, received)
    return max(_FIRST_MS, min(received - (sent - original), received))
