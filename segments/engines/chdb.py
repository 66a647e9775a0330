"""Runs plans in chDB, the in-process build of ClickHouse, on a copy in memory.

Stands in for a ClickHouse server: same dialect, same settings. Nothing is written to disk.
Unmatched rows of a join are NULL here as in the other engines, not a type's default.
"""

import io
from collections.abc import Iterator

import chdb
import ibis
import pyarrow as pa
from ibis.backends.sql.compilers.clickhouse import ClickHouseCompiler

from segments.errors import UnsupportedEngineError
from segments.schema import EVENTS, FIELDS, TRAITS, Column, Table, Type
from segments.warehouse import Warehouse

__all__ = ["ChDBEngine"]

_TYPES = {Type.INT64: "Int64", Type.FLOAT64: "Float64", Type.TEXT: "String"}
_DATABASE = "einlass"
_SETTINGS = (
    "join_use_nulls = 1",
    "max_threads = 2",
    "max_memory_usage = 4000000000",
    # Machine code for a plan that runs once costs more than it saves.
    "compile_expressions = 0",
    "compile_aggregate_expressions = 0",
    "compile_sort_description = 0",
)


class ChDBEngine:
    """Engine in this process; one at a time, for chDB holds one state per process."""

    name = "chdb"

    def __init__(self, warehouse: Warehouse) -> None:
        self._connection = chdb.connect(":memory:")
        self._run(f"DROP DATABASE IF EXISTS {_DATABASE}")
        self._run(f"CREATE DATABASE {_DATABASE}")
        self._run(f"USE {_DATABASE}")
        for setting in _SETTINGS:
            self._run(f"SET {setting}")
        for table in (EVENTS, FIELDS, TRAITS):
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            reader = warehouse.query(f"SELECT {names} FROM {table.name}")  # noqa: S608 - our own names
            self._create(table)
            self._insert(table, iter(reader), reader.schema)

    def put(self, table: Table, rows: pa.Table) -> None:
        """Make a table of rows."""
        self._create(table)
        self._insert(table, iter(rows.to_batches()), rows.schema)

    def keep(self, name: str, expression: ibis.Table) -> ibis.Table:
        """Compute an expression once into a table in memory."""
        self._run(f'CREATE OR REPLACE TABLE "{name}" ENGINE = Memory AS {_sql(expression)}')
        return ibis.table(expression.schema(), name=name)

    def fetch(self, expression: ibis.Table) -> pa.Table:
        """Compute an expression and return its rows."""
        return pa.ipc.open_stream(self._run(_sql(expression))).read_all()

    def close(self) -> None:
        """Drop everything and leave the process without a ClickHouse state."""
        self._run(f"DROP DATABASE IF EXISTS {_DATABASE}")
        self._connection.close()

    def _create(self, table: Table) -> None:
        columns = ", ".join(f'"{c.name}" {_type(c)}' for c in table.columns)
        self._run(f"CREATE OR REPLACE TABLE {table.name} ({columns}) ENGINE = Memory")

    def _insert(self, table: Table, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        for batch in batches:
            if batch.num_rows == 0:
                continue
            with self._connection.send_insert(f"INSERT INTO {table.name}", "ArrowStream") as insert:
                insert.append(_stream(batch, schema))
                insert.finish()

    def _run(self, sql: str) -> bytes:
        try:
            found: bytes = self._connection.query(sql, "ArrowStream").bytes()
        except RuntimeError as error:
            raise UnsupportedEngineError("chDB refused a plan") from error
        return found


def _type(column: Column) -> str:
    return f"Nullable({_TYPES[column.type]})" if column.nullable else _TYPES[column.type]


def _stream(batch: pa.RecordBatch, schema: pa.Schema) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _sql(expression: ibis.Table) -> str:
    sql: str = ClickHouseCompiler().to_sqlglot(expression).sql(dialect="clickhouse")
    return sql
