"""The contract of a warehouse: one transaction per batch, and SQL over what was loaded.

Knows shapes only; implementations load through the entry-point group ``einlass.warehouses``.
A warehouse is never backed up: it is rebuilt from the log.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from segments.errors import UnsupportedEngineError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Batch", "Cursor", "Warehouse", "open_warehouse"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Newest position loaded, of events and of consent records."""

    events: int = 0
    consents: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Arrow tables of one step of loading, and the cursor that holds once they are in.

    ``events`` and ``traits`` come with the purposes they were collected under in ``open``; the
    warehouse takes away what consent records have closed since.
    """

    events: "pa.Table"
    fields: "pa.Table"
    traits: "pa.Table"
    consents: "pa.Table"
    cursor: Cursor


class Warehouse(Protocol):
    """Where loaded events lie."""

    def cursor(self) -> Cursor:
        """Return how far loading has come."""

    def purpose_bits(self, names: Iterable[str]) -> Mapping[str, int]:
        """Return purpose → bit for every known one, the named included."""

    def load(self, batch: Batch) -> None:
        """Store a batch and its cursor in one transaction; what was loaded before is skipped."""

    def forget(self, slots: Sequence[int]) -> None:
        """Delete every row of some slots."""

    def query(self, sql: str) -> "pa.RecordBatchReader":
        """Run SQL in the warehouse's dialect over loaded and temporary tables."""

    def put(self, name: str, rows: "pa.Table") -> None:
        """Make a temporary table of some rows; an older one of that name goes."""

    def keep(self, name: str, sql: str) -> None:
        """Make a temporary table of a query's result; an older one of that name goes."""

    def drop(self, name: str) -> None:
        """Drop a temporary table."""

    def close(self) -> None:
        """Release the file."""


def open_warehouse(kind: str, path: Path) -> Warehouse:
    """Open a warehouse of the ``kind`` named in the configuration.

    Raises:
        UnsupportedEngineError: no installed warehouse has this name.
        WarehouseError: the file cannot be used.
    """
    for entry in entry_points(group="einlass.warehouses"):
        if entry.name == kind:
            found: Warehouse = entry.load()(path)
            return found
    raise UnsupportedEngineError(f"no warehouse of kind {kind!r} is installed")
