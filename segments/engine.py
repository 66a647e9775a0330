"""The contract of an engine: it runs the portable plans over what was loaded.

Knows no definition and no gate. The embedded engine works on the warehouse itself; others get a
copy of the columns they need, in memory. The same Ibis expression compiles for each.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from segments.errors import UnsupportedEngineError
from segments.schema import Table
from segments.warehouse import Warehouse

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

__all__ = ["ENGINES", "Engine", "open_engine"]

ENGINES = ("duckdb", "chdb", "clickhouse")


class Engine(Protocol):
    """Where plans run; used for one evaluation, then closed."""

    name: str

    def put(self, table: Table, rows: "pa.Table") -> None:
        """Make a relation of ``segments.schema`` out of rows from outside the warehouse."""

    def keep(self, name: str, expression: "ibis.Table") -> "ibis.Table":
        """Compute an expression once; return a relation that reads the result."""

    def fetch(self, expression: "ibis.Table") -> "pa.Table":
        """Compute an expression and return its rows."""

    def close(self) -> None:
        """Drop everything that was put and kept."""


def open_engine(name: str, warehouse: Warehouse) -> Engine:
    """Return an engine over a warehouse.

    Raises:
        UnsupportedEngineError: unknown, or not installed.
    """
    # Imported here: each engine is slow to import, and only the one asked for is needed.
    if name == "duckdb":
        from segments.engines.duckdb import DuckDBEngine  # noqa: PLC0415 - slow to import

        return DuckDBEngine(warehouse)
    if name == "chdb":
        if find_spec("chdb") is None:
            raise UnsupportedEngineError("the engine chdb is not installed")
        from segments.engines.chdb import ChDBEngine  # noqa: PLC0415 - slow to import

        return ChDBEngine(warehouse)
    if name in ENGINES:
        raise UnsupportedEngineError(f"no {name} server is configured")
    raise UnsupportedEngineError(f"unknown engine {name[:32]!r}: use one of {', '.join(ENGINES)}")
