"""Merges the rows of several files by the time they were received, for a replay.

At equal times consents come first, then the files in the order given, then the lines. A file that
is in order is streamed; another is sorted in memory, since raw rows must not reach a disk.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from gateway.errors import MalformedPayloadError
from gateway.importing.columns import Columns
from gateway.importing.reading import Row, RowFile
from gateway.importing.rows import instant_of

__all__ = ["Part", "Placed", "merged", "stamped"]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an import. ``number`` is its place among those given."""

    number: int
    file: RowFile
    columns: Columns


@dataclass(frozen=True, slots=True)
class Placed:
    """A row, the file it is of, and when it counts as received (UTC ms)."""

    part: Part
    row: Row
    received: int


def stamped(part: Part, clock: Callable[[], int]) -> Iterator[Placed]:
    """Yield the rows of one file as received now."""
    for row in part.file.rows():
        yield Placed(part, row, clock())


def merged(parts: list[Part], now: int) -> Iterator[Placed]:
    """Yield the rows of all files in the order they were received, none after ``now``.

    A row whose time cannot be read keeps its place behind the row before it.
    """
    streams = [_in_order(part, now) for part in parts]
    return heapq.merge(*streams, key=_place)


def _place(placed: Placed) -> tuple[int, bool, int]:
    return placed.received, placed.part.columns.kind != "consents", placed.part.number


def _in_order(part: Part, now: int) -> Iterator[Placed]:
    ordered = all(
        before.received <= after.received for before, after in pairwise(_timed(part, now))
    )
    return _timed(part, now) if ordered else _sorted(part, now)


def _timed(part: Part, now: int) -> Iterator[Placed]:
    last = 0
    for row in part.file.rows():
        last = min(_received(part.columns, row.cells, last), now)
        yield Placed(part, row, last)


def _received(columns: Columns, cells: Mapping[str, object], last: int) -> int:
    own = columns.sort(cells).own
    for name in ("received", "t"):
        if name in own:
            try:
                return instant_of(own[name], name)
            except MalformedPayloadError:
                return last
    return last


def _sorted(part: Part, now: int) -> Iterator[Placed]:
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    packed = [
        (placed.received, number, placed.row.line, placed.row.broken, encode(placed.row.cells))
        for number, placed in enumerate(_timed(part, now))
    ]
    packed.sort()
    for received, _, line, broken, cells in packed:
        yield Placed(part, Row(line, decode(cells), broken), received)
