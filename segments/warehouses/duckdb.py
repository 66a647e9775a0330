"""The embedded warehouse: one DuckDB file, one process, one connection.

Keeps the stored gate true: an event's ``open`` purposes shrink with each consent record that
lacks one at or after the event, and a row that nobody may read any more is deleted. Rows and
cursor commit together. Source: the segment semantics, rule 12.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from consent.purposes import LEAVES
from segments.errors import WarehouseError
from segments.schema import (
    BASE_TABLES,
    CONSENTS,
    EVENTS,
    FIELDS,
    FORMAT,
    MAX_PURPOSES,
    TRAITS,
    Table,
    Type,
)
from segments.warehouse import Batch, Cursor

__all__ = ["DuckDBWarehouse"]

_TYPES = {Type.INT64: "BIGINT", Type.FLOAT64: "DOUBLE", Type.TEXT: "VARCHAR"}

# What the records known now leave of each new event's purposes.
_KEPT = """
CREATE OR REPLACE TEMP TABLE kept AS
SELECT fresh.position, bit_and(c.granted) AS keep
FROM new_events fresh JOIN consents c ON c.slot = fresh.slot AND c.received >= fresh.t
GROUP BY fresh.position
"""

# What new records take away from events loaded before. The same instant is closed too.
_CLOSING = """
CREATE OR REPLACE TEMP TABLE closing AS
SELECT e.position, bit_and(c.granted) AS keep
FROM events e JOIN new_consents c ON c.slot = e.slot AND c.received >= e.t
WHERE (e.open & ~c.granted) <> 0 AND c.position > $after
GROUP BY e.position
"""


class DuckDBWarehouse:
    """Warehouse over one DuckDB file; ``path`` None keeps everything in memory.

    Not thread-safe: callers hold one lock around each call.
    """

    def __init__(self, path: Path | None, *, memory_limit: str = "1GB", threads: int = 2) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        try:
            self.connection = duckdb.connect(str(path or ":memory:"), config=settings)
            self._ensure()
        except duckdb.Error as error:
            raise WarehouseError("the file cannot be opened, or another process uses it") from error

    def cursor(self) -> Cursor:
        """Return how far loading has come."""
        # Fetched whole, here and below: an unfinished result blocks the connection.
        rows = self.connection.execute("SELECT events, consents FROM progress").fetchall()
        return Cursor(*rows[0])

    def purpose_bits(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return purpose → bit for every known one, the named included.

        Raises:
            WarehouseError: more purposes than a mask has bits.
        """
        known: dict[str, int] = {leaf: bit for bit, leaf in enumerate(LEAVES)}
        known.update(self.connection.execute("SELECT name, bit FROM purposes").fetchall())
        fresh = sorted(set(names) - known.keys())
        if len(known) + len(fresh) > MAX_PURPOSES:
            raise WarehouseError(f"more than {MAX_PURPOSES} purposes")
        for name in fresh:
            known[name] = len(known)
            self.connection.execute("INSERT INTO purposes VALUES (?, ?)", [name, known[name]])
        return known

    def load(self, batch: Batch) -> None:
        """Store a batch and its cursor in one transaction; what was loaded before is skipped.

        Raises:
            WarehouseError: DuckDB refused; nothing of the batch is stored.
        """
        tables = {
            "new_events": batch.events,
            "new_fields": batch.fields,
            "new_traits": batch.traits,
            "new_consents": batch.consents,
        }
        with self._registered(tables), self._transaction():
            before = self.cursor()
            if batch.consents.num_rows:
                self._insert_consents(before.consents)
            if batch.events.num_rows:
                self._insert_events(before.events)
            self.connection.execute(
                "UPDATE progress"
                " SET events = greatest(events, ?), consents = greatest(consents, ?)",
                [batch.cursor.events, batch.cursor.consents],
            )

    def forget(self, slots: Sequence[int]) -> None:
        """Delete every row of some slots, and give the space back."""
        with self._transaction():
            for table in BASE_TABLES:
                self.connection.execute(
                    f"DELETE FROM {table.name} WHERE slot IN (SELECT unnest(?))",  # noqa: S608 - our own table names
                    [list(slots)],
                )
        self.connection.execute("CHECKPOINT")

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run SQL over loaded and temporary tables.

        Raises:
            WarehouseError: DuckDB refused.
        """
        with _refusals():
            return self.connection.sql(sql).to_arrow_reader()

    def put(self, name: str, rows: pa.Table) -> None:
        """Make a temporary table of some rows; an older one of that name goes."""
        with self._registered({"given_rows": rows}):
            self.keep(name, "SELECT * FROM given_rows")

    def keep(self, name: str, sql: str) -> None:
        """Make a temporary table of a query's result; an older one of that name goes."""
        with _refusals():
            self.connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {sql}')

    def drop(self, name: str) -> None:
        """Drop a temporary table."""
        with _refusals():
            self.connection.execute(f'DROP TABLE IF EXISTS temp."{name}"')

    def close(self) -> None:
        """Release the file."""
        self.connection.close()

    def _ensure(self) -> None:
        with self._transaction():
            for table in BASE_TABLES:
                self.connection.execute(_create(table))
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS purposes"
                " (name VARCHAR PRIMARY KEY, bit BIGINT NOT NULL)"
            )
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS progress"
                " (format BIGINT NOT NULL, events BIGINT NOT NULL, consents BIGINT NOT NULL)"
            )
            rows = self.connection.execute("SELECT format FROM progress").fetchall()
            if not rows:
                self.connection.execute("INSERT INTO progress VALUES (?, 0, 0)", [FORMAT])
            elif rows != [(FORMAT,)]:
                raise WarehouseError("the file has the layout of another version")

    def _insert_consents(self, after: int) -> None:
        names = ", ".join(column.name for column in CONSENTS.columns)
        self.connection.execute(
            f"INSERT INTO consents SELECT {names} FROM new_consents WHERE position > ?",  # noqa: S608 - our own names
            [after],
        )
        self.connection.execute(_CLOSING, {"after": after})
        if self.connection.execute("SELECT count(*) FROM closing").fetchall() == [(0,)]:
            return
        for table in ("events", "traits"):
            self.connection.execute(
                f"UPDATE {table} SET open = open & closing.keep FROM closing"  # noqa: S608 - our own table names
                f" WHERE {table}.position = closing.position"
            )
        self.connection.execute(
            "DELETE FROM fields USING events"
            " WHERE fields.position = events.position AND events.open = 0"
        )
        for table in ("events", "traits"):
            self.connection.execute(f"DELETE FROM {table} WHERE open = 0")  # noqa: S608 - our own table names

    def _insert_events(self, after: int) -> None:
        self.connection.execute(_KEPT)
        for table in (EVENTS, TRAITS):
            columns = ", ".join(
                "n.open & coalesce(k.keep, -1)" if c.name == "open" else f'n."{c.name}"'
                for c in table.columns
            )
            self.connection.execute(
                f"INSERT INTO {table.name} SELECT {columns} FROM new_{table.name} n"  # noqa: S608 - our own names
                " LEFT JOIN kept k ON k.position = n.position"
                " WHERE n.position > ? AND n.open & coalesce(k.keep, -1) <> 0",
                [after],
            )
        columns = ", ".join(f'n."{c.name}"' for c in FIELDS.columns)
        self.connection.execute(
            f"INSERT INTO fields SELECT {columns} FROM new_fields n"  # noqa: S608 - our own names
            " LEFT JOIN kept k ON k.position = n.position"
            " JOIN new_events e ON e.position = n.position"
            " WHERE n.position > ? AND e.open & coalesce(k.keep, -1) <> 0",
            [after],
        )

    @contextmanager
    def _registered(self, tables: Mapping[str, pa.Table]) -> Iterator[None]:
        for name, table in tables.items():
            self.connection.register(name, table)
        try:
            yield
        finally:
            for name in tables:
                self.connection.unregister(name)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.begin()
        try:
            yield
            self.connection.commit()
        except duckdb.Error as error:
            self._roll_back()
            raise WarehouseError("a step of loading failed") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            self.connection.rollback()
        except duckdb.Error:
            # A failed commit has already rolled back.
            return


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise WarehouseError("a query failed") from error


def _create(table: Table) -> str:
    columns = ", ".join(
        f'"{c.name}" {_TYPES[c.type]}{"" if c.nullable else " NOT NULL"}' for c in table.columns
    )
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})"
