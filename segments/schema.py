"""The tables of the warehouse: the only contract between loading, gates and plans.

Pure data: no engine, no Arrow, no Ibis. Times are UTC milliseconds, amounts integer minor units,
purposes are bits of a 62-bit mask. Names are lower case, so that no two are equal under case
folding (one engine ignores case).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

__all__ = [
    "BASE_TABLES",
    "CONSENTS",
    "EVENTS",
    "FIELDS",
    "FORMAT",
    "HIDDEN",
    "LINKED",
    "MAX_PURPOSES",
    "MAX_WHOLE",
    "NOW",
    "RECORDS",
    "TRAITS",
    "TYPED_FIELDS",
    "Column",
    "FieldKind",
    "Table",
    "Type",
    "TypedField",
    "ValueKind",
]

FORMAT = 1
"""Version of this layout; a file of another one is rebuilt from the log."""

MAX_PURPOSES = 62
"""Bits of a mask that no engine reads as a sign."""

MAX_WHOLE = 10**13
"""Largest amount or quantity: 50,000 of them still add up within 64 bits in every engine."""


class Type(StrEnum):
    """Column types that mean the same in every engine."""

    INT64 = "int64"
    FLOAT64 = "float64"
    TEXT = "text"


class ValueKind(IntEnum):
    """What a value in ``fields`` or ``traits`` is. EMPTY is a trait that was taken back."""

    EMPTY = 0
    TEXT = 1
    NUMBER = 2
    FLAG = 3
    LIST = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    type: Type = Type.INT64
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    name: str
    columns: tuple[Column, ...]

    def named(self, name: str) -> "Table":
        """Return the same columns under another name."""
        return Table(name, self.columns)


class FieldKind(StrEnum):
    """How a typed event column is compared."""

    TEXT = "text"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class TypedField:
    """A field of an event with a column of its own. ``group`` is the object it lies in."""

    column: str
    kind: FieldKind
    group: str
    key: str


def _typed(group: str, kind: FieldKind, *keys: str) -> dict[str, TypedField]:
    plain = group == "properties"
    return {
        key if plain else f"{group}.{key}": TypedField(
            column=key if plain else f"{group}_{key}", kind=kind, group=group, key=key
        )
        for key in keys
    }


TYPED_FIELDS: Mapping[str, TypedField] = MappingProxyType(
    {
        **_typed(
            "properties", FieldKind.TEXT, "product_id", "sku", "category", "brand", "variant",
            "order_id", "currency", "coupon", "query",
        ),
        **_typed("properties", FieldKind.WHOLE, "quantity", "value_minor", "price_minor"),
        **_typed("page", FieldKind.TEXT, "host", "path", "referrer"),
        **_typed("campaign", FieldKind.TEXT, "source", "medium", "campaign", "term", "content"),
        **_typed("device", FieldKind.TEXT, "family", "class", "os"),
        **_typed("geo", FieldKind.TEXT, "country", "region"),
    }
)  # fmt: skip
"""Field name as written in a definition → its column; every other field lies in ``fields``."""

_TYPE_OF = {FieldKind.TEXT: Type.TEXT, FieldKind.WHOLE: Type.INT64}

EVENTS = Table(
    "events",
    (
        Column("position"),
        Column("slot"),
        Column("id", Type.TEXT),
        Column("name", Type.TEXT),
        Column("t"),
        Column("received"),
        Column("local_date"),
        Column("site", Type.TEXT),
        Column("source", Type.TEXT),
        Column("session", Type.TEXT, nullable=True),
        # The stored gate: purposes that this event may still be read for. Collected under them,
        # and no record of its slot at or after ``t`` lacks them. A row without any is deleted.
        Column("open"),
        *(
            Column(field.column, _TYPE_OF[field.kind], nullable=True)
            for field in TYPED_FIELDS.values()
        ),
    ),
)

_VALUE = (
    Column("kind"),
    Column("text", Type.TEXT, nullable=True),
    Column("num", Type.FLOAT64, nullable=True),
    Column("whole", nullable=True),
)

FIELDS = Table("fields", (Column("position"), Column("slot"), Column("key", Type.TEXT), *_VALUE))
"""Declared properties without a column of their own, one row each."""

TRAITS = Table(
    "traits",
    (
        Column("position"),
        Column("slot"),
        Column("name", Type.TEXT),
        Column("t"),
        Column("received"),
        Column("open"),
        *_VALUE,
    ),
)
"""Traits as `person_updated` brought them, one row each."""

CONSENTS = Table(
    "consents",
    (Column("position"), Column("number"), Column("slot"), Column("received"), Column("granted")),
)
"""Consent records; ``granted`` is the mask that held after it, ``number`` the record's index."""

# What the front store says at the instant of an evaluation; never stored.
RECORDS = CONSENTS.named("records")
"""Consent records up to now: those loaded, and those that the loader has not seen yet."""

LINKED = Table("linked", (Column("slot"), Column("person", nullable=True)))
HIDDEN = Table("hidden", (Column("slot"),))
NOW = Table("present", (Column("slot"), Column("granted")))

BASE_TABLES = (EVENTS, FIELDS, TRAITS, CONSENTS)
"""Tables that loading fills."""
