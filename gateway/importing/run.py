"""Runs an import: rows through the door in batches, several of them on their way at once.

The order of the rows is kept. It knows neither key ring nor configuration files: whoever calls it
brings the door and what prepares its work.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from gateway.collector.door import Door
from gateway.errors import MalformedPayloadError
from gateway.importing.admission import Admission, Result, fate
from gateway.importing.merging import Placed
from gateway.importing.rows import Imported, Reader
from gateway.importing.summary import ImportSummary, RefusedRows

__all__ = ["Importer", "Progress"]

Progress = Callable[[int, int | None], None]
"""Told how many rows are done, and of how many if that is known."""

_BATCH = 200
_OUTSTANDING = 8

_Sent = tuple[list[Placed], asyncio.Future[list[Result]]]


@dataclass(frozen=True, slots=True)
class Importer:
    """Brings rows through one door for one source. ``refused`` has one list per file."""

    door: Door
    reader: Reader
    admission: Admission
    refused: Sequence[RefusedRows]

    async def run(
        self, rows: Iterable[Placed], total: int | None, progress: Progress
    ) -> ImportSummary:
        """Import rows in order and say what came of them.

        Raises:
            UnreadableFileError: a file broke off.
            StoreBrokenError: the store failed; what was committed before stays.
        """
        began = time.monotonic()
        summary = ImportSummary()
        waiting: deque[_Sent] = deque()
        for batch in _batches(rows):
            if len(waiting) >= _OUTSTANDING:
                await self._settle(waiting.popleft(), summary)
                progress(summary.rows, total)
            waiting.append((batch, self._send(batch, summary)))
        while waiting:
            await self._settle(waiting.popleft(), summary)
            progress(summary.rows, total)
        summary.refused = [each.path for each in self.refused if each.count]
        summary.seconds = time.monotonic() - began
        return summary

    def _send(self, batch: list[Placed], summary: ImportSummary) -> asyncio.Future[list[Result]]:
        read = [self._read(placed, summary) for placed in batch]
        # Reserved: an import has its own, smaller bound of rows on their way.
        return self.door.admit(partial(self.admission.admit, read), len(read), reserved=True)

    def _read(self, placed: Placed, summary: ImportSummary) -> Imported | None:
        if placed.row.broken:
            summary.fault("row", "cannot be read")
            return None
        try:
            return self.reader.read(placed.part.columns, placed.row.cells, placed.received)
        except MalformedPayloadError as error:
            summary.fault(error.field, str(error))
            return None

    async def _settle(self, sent: _Sent, summary: ImportSummary) -> None:
        batch, future = sent
        for placed, result in zip(batch, await future, strict=True):
            outcome, reason = fate(result)
            summary.count(outcome, reason)
            self.refused[placed.part.number].note(placed.row.line, outcome, reason)


def _batches(rows: Iterable[Placed]) -> Iterator[list[Placed]]:
    every = iter(rows)
    while batch := list(islice(every, _BATCH)):
        yield batch
