"""Arrow tables in the shapes of ``segments.schema``, built column by column.

Knows types; not where rows come from or go.
"""

from collections.abc import Sequence

import pyarrow as pa

from segments.schema import Table, Type

__all__ = ["arrow_schema", "empty_table", "from_columns"]

_TYPES = {Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.TEXT: pa.string()}


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table."""
    return pa.schema([pa.field(c.name, _TYPES[c.type], nullable=c.nullable) for c in table.columns])


def from_columns(table: Table, columns: Sequence[Sequence[object] | None]) -> pa.Table:
    """Return rows given as one sequence per column, in the table's order; None is all missing."""
    schema = arrow_schema(table)
    length = next(len(values) for values in columns if values is not None)
    arrays = [
        pa.nulls(length, field.type) if values is None else pa.array(values, field.type)
        for values, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def empty_table(table: Table) -> pa.Table:
    """Return no rows."""
    return arrow_schema(table).empty_table()
