"""Moves the log into the warehouse in batches, and can be stopped anywhere.

Knows events and consent records as the feed shows them, and which fields have a column; not where
the log lies. Loading is idempotent by position: what was loaded before is skipped. Values whose
type does not fit their column are missing; texts are kept in NFC. Source: the segment semantics,
rules 3 and 9.
"""

import math
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from consent.purposes import PurposeSet
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
    Table,
    ValueKind,
)
from segments.warehouse import Batch, Cursor, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BATCH", "Progress", "PurposeMasks", "catch_up", "consent_columns", "value_columns"]

BATCH = 20_000
"""Events or consent records per transaction."""

Progress = Callable[[int, int], None]
"""Called with the position reached and the head."""

_PERSON_UPDATED = "person_updated"
_TRAITS_KEY = "traits"
_GROUPS = ("page", "campaign", "device", "geo")
_TYPED_KEYS = {
    group: frozenset(f.key for f in TYPED_FIELDS.values() if f.group == group)
    for group in ("properties", *_GROUPS)
}
_log = structlog.get_logger()


class PurposeMasks:
    """Turns sets of purposes into masks, with one look-up per set that is met again."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._masks: dict[Collection[str], int] = {}

    def of(self, purposes: tuple[str, ...] | PurposeSet) -> int:
        """Return the mask of a set of purposes."""
        found = self._masks.get(purposes)
        if found is None:
            bits = self._warehouse.purpose_bits(purposes)
            found = sum(1 << bits[purpose] for purpose in set(purposes))
            self._masks[purposes] = found
        return found


def catch_up(
    feed: EventFeed,
    warehouse: Warehouse,
    progress: Progress | None = None,
    batch: int = BATCH,
) -> int:
    """Load everything up to the head of the log; return the number of events read.

    Raises:
        WarehouseError: the warehouse is ahead of the log, or refused a batch.
    """
    masks = PurposeMasks(warehouse)
    cursor = warehouse.cursor()
    head = feed.head()
    if max(cursor.events, cursor.consents) > head:
        raise WarehouseError("the warehouse is ahead of the log: it belongs to another one")
    total = 0
    while True:
        consents = feed.consents(cursor.consents, batch)
        events = feed.events(cursor.events, batch)
        if not consents and not events:
            break
        cursor = Cursor(
            events=events[-1].position if events else cursor.events,
            consents=consents[-1].position if consents else cursor.consents,
        )
        warehouse.load(_batch(events, consents, masks, cursor))
        total += len(events)
        if progress is not None:
            reached = max(cursor.events, cursor.consents)
            progress(reached, max(reached, feed.head()))
    if total:
        _log.info("warehouse_loaded", events=total, position=cursor.events)
    return total


def consent_columns(rows: Sequence[ConsentRow], masks: PurposeMasks) -> list[list[int]]:
    """Return consent records as columns of ``schema.CONSENTS``."""
    return [
        [row.position for row in rows],
        [row.index for row in rows],
        [row.slot for row in rows],
        [row.received for row in rows],
        [masks.of(row.granted) for row in rows],
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
    masks: PurposeMasks,
    cursor: Cursor,
) -> Batch:
    open_masks = [masks.of(logged.event.purposes) for logged in events]
    return Batch(
        events=from_columns(EVENTS, _event_columns(events, open_masks)),
        fields=_transposed(FIELDS, _field_rows(events)),
        traits=_transposed(TRAITS, _trait_rows(events, open_masks)),
        consents=from_columns(CONSENTS, consent_columns(consents, masks)),
        cursor=cursor,
    )


def _transposed(table: Table, rows: Iterable[tuple[object, ...]]) -> "pa.Table":
    columns = tuple(zip(*rows, strict=True))
    return from_columns(table, columns) if columns else empty_table(table)


def _event_columns(
    logged: Sequence[LoggedEvent], open_masks: Sequence[int]
) -> list[Sequence[object] | None]:
    events = [row.event for row in logged]
    groups: dict[str, Sequence[Mapping[str, object]]] = {
        "properties": [event.properties for event in events],
        "page": [event.page for event in events],
        "campaign": [event.campaign for event in events],
        "device": [event.device for event in events],
        "geo": [event.geo for event in events],
    }
    return [
        [row.position for row in logged],
        [row.slot for row in logged],
        [event.id for event in events],
        [event.name for event in events],
        [event.t for event in events],
        [event.received for event in events],
        [event.local_date for event in events],
        [event.site for event in events],
        [event.source for event in events],
        [event.session for event in events],
        open_masks,
        *_typed_columns(groups),
    ]


def _typed_columns(
    groups: Mapping[str, Sequence[Mapping[str, object]]],
) -> Iterator[Sequence[object] | None]:
    """Yield the typed columns; most batches lack most of them, and those cost nothing."""
    present = {group: set().union(*values) for group, values in groups.items()}
    for field in TYPED_FIELDS.values():
        key = field.key
        if key not in present[field.group]:
            yield None
            continue
        read = _text if field.kind is FieldKind.TEXT else _whole
        yield [
            None if (value := fields.get(key)) is None else read(value)
            for fields in groups[field.group]
        ]


def _field_rows(logged: Sequence[LoggedEvent]) -> Iterator[tuple[object, ...]]:
    for row in logged:
        event = row.event
        for key, value in event.properties.items():
            if key in _TYPED_KEYS["properties"] or key == _TRAITS_KEY:
                continue
            columns = value_columns(value)
            if columns[0] != ValueKind.EMPTY:
                yield row.position, row.slot, key, *columns
        for group in _GROUPS:
            for key, text in getattr(event, group).items():
                if key not in _TYPED_KEYS[group]:
                    yield row.position, row.slot, f"{group}.{key}", *value_columns(text)


def _trait_rows(
    logged: Sequence[LoggedEvent], open_masks: Sequence[int]
) -> Iterator[tuple[object, ...]]:
    for row, open_mask in zip(logged, open_masks, strict=True):
        event = row.event
        traits = event.properties.get(_TRAITS_KEY) if event.name == _PERSON_UPDATED else None
        if not isinstance(traits, dict):
            continue
        for name, value in traits.items():
            start = (row.position, row.slot, name, event.t, event.received, open_mask)
            yield *start, *value_columns(value)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return _nfc(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Shops send numeric product ids as numbers and as texts: they are the same product.
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value)


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not abs(value) <= MAX_WHOLE or value != int(value):
        return None
    return int(value)


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
