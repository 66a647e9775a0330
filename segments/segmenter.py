"""The segmenter as one object: load, evaluate, explain, count, from any thread.

One process holds one of these, for the warehouse file lets only one in; one lock covers every
call. Members leave it as pseudonyms or, for audiences, as persons (slots). Sizes below k are
never shown. Source: the segment semantics, rules 13 and 17.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from segments.evaluate import Membership, evaluate
from segments.load import Progress, catch_up
from segments.ports import EventFeed, PseudonymOf
from segments.rules.explain import explain
from segments.rules.opening import Question
from segments.rules.predicates import Clock
from segments.rules.tree import Definition
from segments.warehouse import Cursor
from segments.warehouses.duckdb import DuckDBWarehouse

__all__ = ["Ceilings", "Segmenter", "shown_size"]

_ROUNDED_TO = 5


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the warehouse may use of the machine, and k for anything displayed."""

    memory: str = "1GB"
    threads: int = 2
    min_display: int = 10


class Segmenter:
    """Holds the warehouse of one data directory.

    ``zones`` maps a site to its IANA time zone. ``path`` None keeps the warehouse in memory.
    """

    def __init__(
        self,
        path: Path | None,
        feed: EventFeed,
        pseudonym: PseudonymOf,
        zones: Mapping[str, str],
        ceilings: Ceilings | None = None,
    ) -> None:
        self._ceilings = ceilings or Ceilings()
        self._feed = feed
        self._pseudonym = pseudonym
        self._zones = dict(zones)
        self._lock = Lock()
        self._warehouse = DuckDBWarehouse(
            path, memory_limit=self._ceilings.memory, threads=self._ceilings.threads
        )

    def catch_up(self, progress: Progress | None = None) -> int:
        """Load everything up to the head of the log; return the number of events read.

        Raises:
            WarehouseError: the warehouse is ahead of the log, or refused a batch.
        """
        with self._lock:
            return catch_up(self._feed, self._warehouse, progress)

    def cursor(self) -> Cursor:
        """Return how far loading has come."""
        with self._lock:
            return self._warehouse.cursor()

    def members(
        self, definitions: Sequence[Definition], at: int, engine: str = "duckdb"
    ) -> dict[str, Membership]:
        """Return the members of each segment at T as persons (slots), by name.

        Raises:
            UnsupportedEngineError: the engine is not there, or cannot run a plan.
            WarehouseError: the warehouse failed.
        """
        with self._lock:
            return evaluate(definitions, self._warehouse, self._question(at, engine))

    def evaluate(
        self, definitions: Sequence[Definition], at: int, engine: str = "duckdb"
    ) -> dict[str, dict[str, object]]:
        """Return the members of each segment at T as sorted pseudonyms, by name.

        Raises:
            UnsupportedEngineError: the engine is not there, or cannot run a plan.
            WarehouseError: the warehouse failed.
        """
        return {
            name: {
                "members": sorted(self._pseudonym(person) for person in found.persons),
                "version": found.version,
                "at": found.at,
                "engine": found.engine,
                "currency": found.currency,
                "other_currency": found.other_currency,
            }
            for name, found in self.members(definitions, at, engine).items()
        }

    def sizes(
        self, definitions: Sequence[Definition], at: int, engine: str = "duckdb"
    ) -> dict[str, str]:
        """Return the size of each segment as it may be displayed, by name."""
        return {
            name: shown_size(len(found.persons), self._ceilings.min_display)
            for name, found in self.members(definitions, at, engine).items()
        }

    def explain(
        self, definition: Definition, slot: int, at: int, engine: str = "duckdb"
    ) -> dict[str, object]:
        """Return why the person that a slot belongs to is, or is not, a member at T.

        Raises:
            UnsupportedEngineError: the engine is not there, or cannot run the plan.
            WarehouseError: the warehouse failed.
        """
        with self._lock:
            found = explain(definition, self._warehouse, self._question(at, engine), slot)
        return found.to_json(self._pseudonym)

    def forget(self, slots: Sequence[int]) -> None:
        """Delete every row of some slots, after an erasure."""
        with self._lock:
            self._warehouse.forget(slots)

    def close(self) -> None:
        """Release the warehouse file."""
        with self._lock:
            self._warehouse.close()

    def _question(self, at: int, engine: str) -> Question:
        return Question(feed=self._feed, clock=Clock(at, self._zones), engine=engine)


def shown_size(size: int, k: int) -> str:
    """Return a size for display: ``<k`` below k, else rounded to a multiple of five."""
    if size < k:
        return f"<{k}"
    return str((size + _ROUNDED_TO // 2) // _ROUNDED_TO * _ROUNDED_TO)
