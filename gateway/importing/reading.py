"""Reads rows from CSV, JSON lines and Parquet files, in streams, with the place each stands at.

It knows neither our column names nor consent. A row that cannot be read is handed on as broken,
with its place; only a file that cannot be read at all is an error. Specifications: RFC 4180 (CSV),
RFC 8259 (JSON), Apache Parquet.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from gateway.errors import UnreadableFileError

__all__ = ["Row", "RowFile", "open_rows"]

_MAX_LINE_BYTES = 1_048_576
_CHUNK_BYTES = 1_048_576
_PARQUET_ROWS = 2_000
_DELIMITERS = ("\t", ";", ",")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``line`` counts from 1 as an editor shows it; of Parquet it is the row number.

    ``cells`` are the values by column, empty ones left out. ``broken`` rows have none.
    """

    line: int
    cells: Mapping[str, object] = field(default_factory=dict, repr=False)
    broken: bool = False


@dataclass(frozen=True, slots=True)
class RowFile:
    """One file of rows; ``rows`` may be called again and starts anew.

    ``columns`` is None where only the rows themselves name them (JSON lines). ``textual``: cells
    are texts, whatever they mean. ``total`` is the number of rows as far as one can tell.
    """

    path: Path
    columns: tuple[str, ...] | None
    rows: Callable[[], Iterator[Row]]
    textual: bool
    total: int | None


def open_rows(path: Path) -> RowFile:
    """Look at a file and return how to read it; its name's ending says what it is.

    Raises:
        UnreadableFileError: it cannot be read, has another ending, or no usable header.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UnreadableFileError(f"{path.name}: not one of {', '.join(sorted(_READERS))}")
    try:
        return reader(path)
    except OSError as error:
        raise UnreadableFileError(f"{path.name}: {error.strerror or 'cannot be read'}") from error


def _lines(path: Path) -> int:
    """Count the lines; a last one without an end counts."""
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")


# -- CSV ----------------------------------------------------------------------------------------


def _open_csv(path: Path) -> RowFile:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        first = file.readline(_MAX_LINE_BYTES)
    delimiter = next((mark for mark in _DELIMITERS if mark in first), ",")
    columns = tuple(next(csv.reader([first], delimiter=delimiter), ()))
    if not columns or not all(columns) or len(set(columns)) != len(columns):
        raise UnreadableFileError(f"{path.name}: the first line must name each column once")

    def rows() -> Iterator[Row]:
        return _csv_rows(path, columns, delimiter)

    return RowFile(path, columns, rows, textual=True, total=max(0, _lines(path) - 1))


def _csv_rows(path: Path, columns: tuple[str, ...], delimiter: str) -> Iterator[Row]:
    # Bytes that are no UTF-8 become lone surrogates, which make their own row unreadable later.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        next(reader)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield Row(line, broken=True)
                continue
            if not cells:
                continue  # an empty line
            if len(cells) != len(columns):
                yield Row(line, broken=True)  # shifted cells would land in other columns
                continue
            pairs = zip(columns, cells, strict=True)
            yield Row(line, {name: cell for name, cell in pairs if cell != ""})


# -- JSON lines ---------------------------------------------------------------------------------


def _open_json(path: Path) -> RowFile:
    return RowFile(path, None, lambda: _json_rows(path), textual=False, total=_lines(path))


def _json_rows(path: Path) -> Iterator[Row]:
    line = 0
    with path.open("rb") as file:
        while raw := file.readline(_MAX_LINE_BYTES):
            line += 1
            if len(raw) == _MAX_LINE_BYTES and not raw.endswith(b"\n"):
                _skip_line(file)
                yield Row(line, broken=True)
            elif raw.strip():
                yield _json_row(line, raw)


def _skip_line(file: BinaryIO) -> None:
    while (raw := file.readline(_MAX_LINE_BYTES)) and not raw.endswith(b"\n"):
        pass


def _json_row(line: int, raw: bytes) -> Row:
    try:
        found = json.loads(raw, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Row(line, broken=True)
    if not isinstance(found, dict):
        return Row(line, broken=True)
    return Row(line, {name: value for name, value in found.items() if value not in (None, "")})


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")


# -- Parquet ------------------------------------------------------------------------------------


def _open_parquet(path: Path) -> RowFile:
    import pyarrow as pa  # noqa: PLC0415 - large; only who reads Parquet pays for it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    try:
        with pq.ParquetFile(path) as file:
            columns, total = tuple(file.schema_arrow.names), file.metadata.num_rows
    except pa.ArrowException as error:
        raise UnreadableFileError(f"{path.name}: not a Parquet file") from error
    if len(set(columns)) != len(columns):
        raise UnreadableFileError(f"{path.name}: a column stands twice")

    def rows() -> Iterator[Row]:
        line = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_PARQUET_ROWS):
                    for values in batch.to_pylist():
                        line += 1
                        yield Row(line, {key: one for key, one in values.items() if _says(one)})
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFileError(f"{path.name}: damaged after row {line}") from error

    return RowFile(path, columns, rows, textual=False, total=total)


def _says(value: object) -> bool:
    """Say whether a cell holds something; writers mark absent numbers with NaN."""
    return value not in (None, "") and not (isinstance(value, float) and math.isnan(value))


_READERS: Mapping[str, Callable[[Path], RowFile]] = {
    ".csv": _open_csv,
    ".tsv": _open_csv,
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), _open_json),
    ".parquet": _open_parquet,
}
