"""A replay follows the time of receipt; at equal times consents go first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway.importing.columns import Columns
from gateway.importing.merging import Part, merged
from gateway.importing.reading import open_rows
from tests.gateway.importing.shops import Shop

NOW = 1_000
Rows = Sequence[Mapping[str, object]]


def _order(shop: Shop, *files: tuple[str, Rows]) -> list[tuple[int, int, int]]:
    parts = [
        Part(number, open_rows(_file(shop, number, kind, rows)), _columns(shop, kind))
        for number, (kind, rows) in enumerate(files)
    ]
    return [(one.part.number, one.row.line, one.received) for one in merged(parts, NOW)]


def _file(shop: Shop, number: int, kind: str, rows: Rows) -> Path:
    return shop.file(f"{number}.{kind}.jsonl", rows)


def _columns(shop: Shop, kind: str) -> Columns:
    return Columns(kind, shop.settings.policy, {})


def test_rows_of_all_files_follow_the_time_of_receipt(shop: Shop) -> None:
    events = [{"t": 1, "received": 3}, {"t": 7}]
    assert _order(shop, ("events", events), ("orders", [{"t": 5}])) == [
        (0, 1, 3),
        (1, 1, 5),
        (0, 2, 7),
    ]


def test_at_equal_times_consents_come_before_everything_else(shop: Shop) -> None:
    rows: list[dict[str, object]] = [{"t": 5}]
    files = [("events", rows), ("orders", rows), ("consents", rows)]
    assert [number for number, _, _ in _order(shop, *files)] == [2, 0, 1]


def test_lines_of_equal_time_keep_their_order(shop: Shop) -> None:
    assert [line for _, line, _ in _order(shop, ("events", [{"t": 5}] * 4))] == [1, 2, 3, 4]


def test_a_file_out_of_order_is_sorted(shop: Shop) -> None:
    rows: list[dict[str, object]] = [{"t": 9, "x": [1]}, {"t": 5}, {"t": 7}, {"t": 5}]
    assert [line for _, line, _ in _order(shop, ("events", rows))] == [2, 4, 3, 1]


@pytest.mark.parametrize("broken", [{"t": "soon"}, {"name": "x"}])
def test_a_row_without_a_readable_time_stays_behind_the_one_before(
    shop: Shop, broken: dict[str, object]
) -> None:
    rows: Rows = [{"t": 5}, broken, {"t": 9}]
    assert _order(shop, ("events", rows)) == [(0, 1, 5), (0, 2, 5), (0, 3, 9)]


def test_no_row_is_received_in_the_future(shop: Shop) -> None:
    assert _order(shop, ("events", [{"t": NOW + 5}])) == [(0, 1, NOW)]
