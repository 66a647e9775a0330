"""Moves the log into the warehouse in batches, and can be stopped anywhere.

Knows events and consent records as the feed shows them, and which fields have a column; not where
the log lies. Loading is idempotent by position: what was loaded before is skipped. Values whose
type does not fit their column are missing; texts are kept in NFC. Source: the segment semantics,
rules 3 and 9.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from segments.arrow import empty_table, from_columns
from segments.errors import WarehouseError
from segments.ports import ConsentRow, EventFeed, LoggedEvent
from segments.schema import (
    CONSENTS,
    EVENTS,
    FIELDS,
    MAX_WHOLE,
    TRAITS,
    TYPED_FIELDS,
    FieldKind,
    ValueKind,
)
from segments.warehouse import Batch, Cursor, Warehouse

__all__ = ["BATCH", "Progress", "catch_up", "consent_columns", "value_columns"]

BATCH = 20_000
"""Events or consent records per transaction."""

Progress = Callable[[int, int], None]
"""Called with the position reached and the head."""

_PERSON_UPDATED = "person_updated"
_GROUPS = ("page", "campaign", "device", "geo")
_TYPED_KEYS = {
    group: frozenset(f.key for f in TYPED_FIELDS.values() if f.group == group)
    for group in ("properties", *_GROUPS)
}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Purposes:
    """Turns sets of purposes into masks, one look-up per set that is met again."""

    warehouse: Warehouse
    masks: dict[tuple[str, ...], int]

    def mask(self, purposes: tuple[str, ...]) -> int:
        found = self.masks.get(purposes)
        if found is None:
            bits = self.warehouse.purpose_bits(purposes)
            found = sum(1 << bits[purpose] for purpose in set(purposes))
            self.masks[purposes] = found
        return found


def catch_up(feed: EventFeed, warehouse: Warehouse, progress: Progress | None = None) -> int:
    """Load everything up to the head of the log; return the number of events read.

    Raises:
        WarehouseError: the warehouse is ahead of the log, or refused a batch.
    """
    purposes = _Purposes(warehouse, {})
    cursor = warehouse.cursor()
    head = feed.head()
    if max(cursor.events, cursor.consents) > head:
        raise WarehouseError("the warehouse is ahead of the log: it belongs to another one")
    total = 0
    while True:
        consents = feed.consents(cursor.consents, BATCH)
        events = feed.events(cursor.events, BATCH)
        if not consents and not events:
            break
        cursor = Cursor(
            events=events[-1].position if events else cursor.events,
            consents=consents[-1].position if consents else cursor.consents,
        )
        warehouse.load(_batch(events, consents, purposes.mask, cursor))
        total += len(events)
        if progress is not None:
            reached = max(cursor.events, cursor.consents)
            progress(reached, max(reached, feed.head()))
    if total:
        _log.info("warehouse_loaded", events=total, position=cursor.events)
    return total


def consent_columns(
    rows: Sequence[ConsentRow], mask: Callable[[tuple[str, ...]], int]
) -> list[list[int]]:
    """Return consent records as columns of ``schema.CONSENTS``."""
    return [
        [row.position for row in rows],
        [row.index for row in rows],
        [row.slot for row in rows],
        [row.received for row in rows],
        [mask(tuple(sorted(row.granted))) for row in rows],
    ]


def value_columns(value: object) -> tuple[int, str | None, float | None, int | None]:
    """Return a declared value as kind, text, number and whole number."""
    if isinstance(value, str):
        return ValueKind.TEXT, _nfc(value), None, None
    if isinstance(value, bool):
        return ValueKind.FLAG, None, float(value), None
    if isinstance(value, int | float):
        number = _finite(value)
        if number is None:
            return ValueKind.EMPTY, None, None, None
        return ValueKind.NUMBER, None, number, _whole(value)
    if isinstance(value, list | dict):
        return ValueKind.LIST, None, None, None
    return ValueKind.EMPTY, None, None, None


def _batch(
    events: Sequence[LoggedEvent],
    consents: Sequence[ConsentRow],
    mask: Callable[[tuple[str, ...]], int],
    cursor: Cursor,
) -> Batch:
    return Batch(
        events=from_columns(EVENTS, _event_columns(events, mask)),
        fields=_rows(FIELDS_ROW, events, mask),
        traits=_rows(TRAITS_ROW, events, mask),
        consents=from_columns(CONSENTS, consent_columns(consents, mask)),
        cursor=cursor,
    )
