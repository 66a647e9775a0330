"""What came of an import: counts by outcome, and the places of rows that were not taken.

Places and reasons only: no value of a row is kept or written.
"""

import csv
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from consent.outcome import Outcome, Reason
from gateway.errors import UnreadableFileError

__all__ = ["ImportSummary", "RefusedRows"]

_TAKEN = (Outcome.ACCEPTED, Outcome.DUPLICATE)
_MAX_FAULTS = 100


@dataclass(slots=True)
class ImportSummary:
    """Counts of one run over one or more files.

    ``outcomes``: (outcome, reason) → rows. ``faults``: column and what was wrong with it → rows.
    ``unknown``: columns that were ignored. ``refused``: files with the places of rows not taken.
    """

    rows: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    def fault(self, column: str, why: str) -> None:
        """Count one unreadable row by what was wrong with it."""
        text = f"{column}: {why}"
        if text in self.faults or len(self.faults) < _MAX_FAULTS:
            self.faults[text] += 1

    def count(self, outcome: Outcome, reason: Reason) -> None:
        """Count one row."""
        self.rows += 1
        self.outcomes[outcome, reason] += 1

    def to_dict(self) -> dict[str, object]:
        """Return it as plain values for JSON; reasons follow their outcome after a colon."""
        return {
            "rows": self.rows,
            "outcomes": {
                f"{outcome}:{reason}" if reason else str(outcome): count
                for (outcome, reason), count in sorted(self.outcomes.items())
            },
            "faults": dict(self.faults.most_common()),
            "unknown_columns": self.unknown,
            "refused_rows": [str(path) for path in self.refused],
            "seconds": round(self.seconds, 3),
        }


class RefusedRows:
    """Writes ``FILE.refused.csv`` beside an imported file: line, outcome, reason.

    Use it as a context manager. A file without such rows leaves none behind, not even an old one.
    """

    def __init__(self, imported: Path) -> None:
        self.path = imported.with_name(f"{imported.name}.refused.csv")
        self.count = 0
        try:
            self._file = self.path.open("w", newline="", encoding="ascii")
        except OSError as error:
            raise UnreadableFileError(f"{self.path.name}: cannot be written") from error
        self._writer = csv.writer(self._file)
        self._writer.writerow(("line", "outcome", "reason"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if not self.count:
            self.path.unlink(missing_ok=True)

    def note(self, line: int, outcome: Outcome, reason: Reason) -> None:
        """Write down a row that was not taken."""
        if outcome not in _TAKEN:
            self._writer.writerow((line, outcome, reason))
            self.count += 1
