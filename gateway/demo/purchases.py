"""The CDNOW sample as an orders file: real purchases, moved to the present.

Dates are shifted by whole days so that the last purchase was yesterday, amounts are read as euros,
and the consent columns are made up from a seed. Origin: gateway/demo/data/README.md.
"""

import csv
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from gateway.demo.chance import Random

__all__ = ["Purchases", "write_orders"]

_CATEGORIES = ("functional", "analytics", "marketing")
_ANSWERS = {
    ("true", "true", "true"): 66,
    ("true", "true", "false"): 16,
    ("false", "false", "false"): 10,
    ("", "", ""): 8,  # nobody ever asked
}
_NOON = 12


@dataclass(frozen=True, slots=True)
class Purchases:
    """What was written: rows, people, and by how many days the dates were moved."""

    rows: int
    people: int
    days: int


def write_orders(path: Path, today: date, random: Random) -> Purchases:
    """Write the sample as a CSV file that `einlass import orders` reads."""
    text = (files("gateway.demo") / "data" / "cdnow_sample.txt").read_text(encoding="ascii")
    rows = [line.split() for line in text.splitlines()]
    days = [datetime.strptime(row[2], "%Y%m%d").replace(tzinfo=UTC) for row in rows]
    shift = timedelta(days=(today - max(days).date()).days - 1)
    answers = {}
    for _, person, *_rest in rows:
        if person not in answers:
            answers[person] = random.choices(list(_ANSWERS), list(_ANSWERS.values()))[0]
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        columns = ("person", "order_id", "t", "value", "currency", "quantity", *_CATEGORIES)
        writer.writerow(columns)
        for number, (row, day) in enumerate(zip(rows, days, strict=True), 1):
            at = (day + shift).replace(hour=_NOON).isoformat()
            known = (f"cdnow-{row[1]}", f"cdnow-{number:05}", at, row[4], "EUR", row[3])
            writer.writerow((*known, *answers[row[1]]))
    return Purchases(len(rows), len(answers), shift.days)
