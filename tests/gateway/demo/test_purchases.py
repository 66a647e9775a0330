"""The CDNOW sample is what it says it is; only dates and consent columns are ours."""

import csv
import hashlib
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from gateway.demo.chance import seeded
from gateway.demo.purchases import write_orders

DATA = files("gateway.demo") / "data"
TODAY = date(2024, 5, 8)
Row = dict[str, str]


@pytest.fixture(name="rows")
def _rows(tmp_path: Path) -> list[Row]:
    write_orders(tmp_path / "orders.csv", TODAY, seeded(1))
    with (tmp_path / "orders.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_sample_is_the_one_that_the_readme_names() -> None:
    digest = hashlib.sha256((DATA / "cdnow_sample.txt").read_bytes()).hexdigest()
    assert digest in (DATA / "README.md").read_text(encoding="utf-8")


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    written = write_orders(tmp_path / "orders.csv", TODAY, seeded(1))
    assert (written.rows, written.people) == (6_919, 2_357)
    assert written.days == (date(2024, 5, 7) - date(1998, 6, 30)).days


def test_the_last_purchase_was_yesterday(rows: list[Row]) -> None:
    assert max(row["t"] for row in rows) == "2024-05-07T12:00:00+00:00"


def test_amounts_and_quantities_are_untouched(rows: list[Row]) -> None:
    first = rows[0]
    assert (first["person"], first["value"], first["quantity"]) == ("cdnow-0001", "29.33", "2")


def test_order_ids_are_unique(rows: list[Row]) -> None:
    assert len({row["order_id"] for row in rows}) == len(rows)


def test_each_person_answers_once_and_some_were_never_asked(rows: list[Row]) -> None:
    answers = {(row["person"], row["analytics"], row["marketing"]) for row in rows}
    assert len(answers) == len({person for person, _, _ in answers})
    assert {(analytics, marketing) for _, analytics, marketing in answers} == {
        ("true", "true"), ("true", "false"), ("false", "false"), ("", ""),
    }  # fmt: skip
