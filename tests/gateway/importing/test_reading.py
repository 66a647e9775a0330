"""Rows are read with their places; what cannot be read spoils its own row only."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.errors import UnreadableFileError
from gateway.importing.reading import Row, open_rows


def _rows(path: Path, content: str | bytes) -> list[tuple[int, dict[str, object] | None]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [_plain(row) for row in open_rows(path).rows()]


def _plain(row: Row) -> tuple[int, dict[str, object] | None]:
    return row.line, None if row.broken else dict(row.cells)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_cells_are_texts_and_empty_ones_are_left_out(tmp_path: Path, delimiter: str) -> None:
    content = "a,b\r\n1,\r\n,x\r\n".replace(",", delimiter)
    assert _rows(tmp_path / "f.csv", content) == [(2, {"a": "1"}), (3, {"b": "x"})]


def test_a_csv_row_stands_where_its_first_line_does(tmp_path: Path) -> None:
    content = 'a,b\n1,"two\nlines"\n\n3,4\n'
    assert [line for line, _ in _rows(tmp_path / "f.csv", content)] == [2, 5]


@pytest.mark.parametrize("bad", ["1", "1,2,3", '"1"x,2'])
def test_a_csv_row_of_another_shape_is_broken_alone(tmp_path: Path, bad: str) -> None:
    assert _rows(tmp_path / "f.csv", f"a,b\n{bad}\n1,2\n") == [
        (2, None),
        (3, {"a": "1", "b": "2"}),
    ]


@pytest.mark.parametrize("header", ["", "a,a", "a,"])
def test_a_csv_file_without_a_usable_header_is_unreadable(tmp_path: Path, header: str) -> None:
    with pytest.raises(UnreadableFileError):
        _rows(tmp_path / "f.csv", f"{header}\n1,2\n")


@pytest.mark.parametrize(
    "bad", ["nonsense", "[1]", '{"a":1,"a":2}', '{"a":NaN}', "[" * 100_000, '"\ud800"']
)
def test_a_json_line_that_is_no_object_is_broken_alone(tmp_path: Path, bad: str) -> None:
    content = f'{bad}\n\n{{"a": 1, "b": null, "c": ""}}'.encode(errors="surrogatepass")
    assert _rows(tmp_path / "f.jsonl", content) == [(1, None), (3, {"a": 1})]


def test_an_endless_json_line_is_broken_and_skipped(tmp_path: Path) -> None:
    content = b'{"a":"' + b"x" * 3_000_000 + b'"}\n{"a":1}\n'
    assert _rows(tmp_path / "f.ndjson", content) == [(1, None), (2, {"a": 1})]


def test_parquet_rows_count_from_one(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"a": [1, None], "b": [float("nan"), 2.0]}), path)
    file = open_rows(path)
    assert (file.columns, file.total) == (("a", "b"), 2)
    assert [_plain(row) for row in file.rows()] == [(1, {"a": 1}), (2, {"b": 2.0})]


def test_a_parquet_file_with_a_column_twice_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), path)
    with pytest.raises(UnreadableFileError, match="twice"):
        open_rows(path)


def test_a_parquet_file_that_breaks_off_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"a": list(range(10_000))}), path, compression="gzip")
    whole = bytearray(path.read_bytes())
    whole[40:2_000] = bytes(1_960)
    path.write_bytes(whole)
    with pytest.raises(UnreadableFileError, match="damaged"):
        list(open_rows(path).rows())


@pytest.mark.parametrize("name", ["f.xlsx", "f", "missing.csv", "f.parquet"])
def test_a_file_of_no_known_kind_is_unreadable(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(UnreadableFileError, match=name):
        open_rows(tmp_path / name)


@pytest.mark.parametrize(("content", "total"), [("a\n", 0), ("a\n1\n2", 2), ("a\n1\n2\n", 2)])
def test_the_rows_of_a_csv_file_are_counted_beforehand(
    tmp_path: Path, content: str, total: int
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(content)
    assert open_rows(path).total == total
