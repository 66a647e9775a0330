"""Runs plans on the embedded warehouse itself.

Knows SQL of one dialect; not what a plan means.
"""

import ibis
import pyarrow as pa
from ibis.backends.sql.compilers.duckdb import DuckDBCompiler

from segments.schema import Table
from segments.warehouse import Warehouse

__all__ = ["DuckDBEngine"]


class DuckDBEngine:
    """Engine over the warehouse's own connection; keeps results as temporary tables."""

    name = "duckdb"

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._kept: list[str] = []

    def put(self, table: Table, rows: pa.Table) -> None:
        """Make a temporary table of rows."""
        self._warehouse.put(table.name, rows)
        self._kept.append(table.name)

    def keep(self, name: str, expression: ibis.Table) -> ibis.Table:
        """Compute an expression once into a temporary table."""
        self._warehouse.keep(name, _sql(expression))
        self._kept.append(name)
        return ibis.table(expression.schema(), name=name)

    def fetch(self, expression: ibis.Table) -> pa.Table:
        """Compute an expression and return its rows."""
        return self._warehouse.query(_sql(expression)).read_all()

    def close(self) -> None:
        """Drop the temporary tables."""
        for name in self._kept:
            self._warehouse.drop(name)
        self._kept.clear()


def _sql(expression: ibis.Table) -> str:
    sql: str = DuckDBCompiler().to_sqlglot(expression).sql(dialect="duckdb")
    return sql
