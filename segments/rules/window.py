"""Durations and windows: which instants a condition looks at.

Pure; knows no engine. A relative window is open at its lower end and closed at its upper end;
a calendar window counts local dates of the site. Source: the segment semantics, rules 4 and 5.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

__all__ = [
    "DAY_MS",
    "EVER",
    "MAX_DAYS",
    "Window",
    "WindowKind",
    "duration_ms",
    "duration_text",
    "epoch_day",
    "instant_ms",
    "instant_text",
]

DAY_MS = 86_400_000
MAX_DAYS = 36_500
"""Longest look-back; far beyond any retention, and far within 64 bits."""

_UNITS = {"w": 7 * DAY_MS, "d": DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile(r"([1-9][0-9]{0,9})(ms|[wdhms])", re.ASCII)


class WindowKind(StrEnum):
    """The ways to say which instants count; the value is the key in a definition."""

    EVER = "ever"
    LAST = "last"
    BETWEEN_AGO = "between_ago"
    RANGE = "range"
    DATES = "dates"
    CALENDAR_DAYS = "calendar_days"


@dataclass(frozen=True, slots=True)
class Window:
    """One window.

    LAST: ``(T - start, T]``. BETWEEN_AGO: ``(T - start, T - end]``, both milliseconds.
    RANGE: ``[start, end)``, instants. DATES: local dates ``start`` to ``end`` inclusive, days
    since 1970. CALENDAR_DAYS: the last ``start`` local dates, that of T included.
    """

    kind: WindowKind = WindowKind.EVER
    start: int = 0
    end: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the keys of a definition that read back as this window."""
        match self.kind:
            case WindowKind.EVER:
                return {}
            case WindowKind.LAST:
                return {"last": duration_text(self.start)}
            case WindowKind.BETWEEN_AGO:
                return {"between_ago": [duration_text(self.start), duration_text(self.end)]}
            case WindowKind.RANGE:
                return {"range": [instant_text(self.start), instant_text(self.end)]}
            case WindowKind.DATES:
                return {"range": [_date_text(self.start), _date_text(self.end)]}
            case WindowKind.CALENDAR_DAYS:
                return {"calendar_days": self.start}


EVER = Window()


def duration_ms(text: str) -> int:
    """Read ``30m``, ``1h``, ``7d`` … as milliseconds; a day is 86 400 000 of them.

    Raises:
        ValueError: not a positive whole number with a unit, or longer than a century.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("expected a duration like 30m, 1h, 7d or 2w")
    total = int(match[1]) * _UNITS[match[2]]
    if total > MAX_DAYS * DAY_MS:
        raise ValueError(f"longer than {MAX_DAYS} days")
    return total


def duration_text(milliseconds: int) -> str:
    """Write a duration in the largest unit below weeks that holds it exactly."""
    for unit in ("d", "h", "m", "s"):
        if milliseconds % _UNITS[unit] == 0:
            return f"{milliseconds // _UNITS[unit]}{unit}"
    return f"{milliseconds}ms"


def instant_ms(text: str) -> int:
    """Read an ISO 8601 instant with an offset as UTC milliseconds.

    Raises:
        ValueError: not such an instant, or without an offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("an instant needs an offset, for example 2026-01-31T00:00:00+01:00")
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def instant_text(milliseconds: int) -> str:
    """Write UTC milliseconds as ISO 8601."""
    seconds, rest = divmod(milliseconds, 1000)
    instant = datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest * 1000)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_day(day: date) -> int:
    """Return days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _date_text(days: int) -> str:
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()
