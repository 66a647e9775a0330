"""The courier's loop: follows withdrawals, works every path of every destination, answers drains.

The only process that talks to the outside. One task a path, so that nothing waits for a platform
that hangs. A step that fails leaves its members in doubt and is tried again; a store that cannot
be used ends the process. Knows no settings file and no key.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.audiences.lane import AudienceLane
from gateway.audiences.platform import Means
from gateway.audiences.withdrawals import Withdrawals
from gateway.backrecords import Target
from gateway.drain import serve
from gateway.errors import StoreError
from segments.destination import Operation

__all__ = ["Courier", "Rhythm"]

_log = structlog.get_logger()
_JOBS_KEPT_MS = 30 * 86_400_000

_Step = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often things are looked at, and how long a stop may take; seconds."""

    watch: float = 0.1
    path: float = 0.25
    sweep: float = 60.0
    mend: float = 1.0
    stop: float = 10.0


class Courier:
    """One courier over one data directory."""

    def __init__(
        self, means: Means, lanes: Sequence[AudienceLane], rhythm: Rhythm | None = None
    ) -> None:
        self._means = means
        self._lanes = lanes
        self._rhythm = rhythm or Rhythm()
        self._withdrawals = Withdrawals(means.store, means.view, means.requirements)
        self._woken = asyncio.Event()
        self._stop = asyncio.Event()
        self._targets = list[Target]()
        self._work: list[asyncio.Event] = []

    def recover(self) -> None:
        """Put in doubt what was in flight when the last courier ended."""
        interrupted = sum(lane.recover() for lane in self._lanes)
        _log.info("courier_recovered", count=interrupted)

    def watch(self) -> int:
        """Handle new withdrawals and changes of the engine; return how many withdrawals."""
        found = self._withdrawals.follow(self._means.clock())
        evaluated = self._means.store.changed() and self._is_evaluated()
        if evaluated:
            for lane in self._lanes:
                lane.reconsider()
        if found or evaluated:
            for event in self._work:
                event.set()
        return found

    def _is_evaluated(self) -> bool:
        with self._means.store.read() as back:
            targets = back.targets()
        changed = targets != self._targets
        self._targets = targets
        return changed

    def wake(self) -> None:
        """Look at withdrawals now rather than at the next tick."""
        self._woken.set()

    def stop(self) -> None:
        """End after what is in flight."""
        self._stop.set()
        self._woken.set()
        for event in self._work:
            event.set()

    async def sweep(self) -> None:
        """Look at every membership once, a page at a time."""
        changed = 0
        for page in self._withdrawals.sweep(self._means.clock()):
            changed += page
            await asyncio.sleep(0)
        with self._means.store.write() as back:
            back.drop_jobs(self._means.clock() - _JOBS_KEPT_MS)
        self._means.store.compact()
        if changed:
            _log.info("memberships_swept", count=changed)

    async def run(self, socket_path: Path, ready: Callable[[], None]) -> None:
        """Work until stopped; ``ready`` is called once drains are answered."""
        self.recover()
        server = await serve(socket_path, self._means.flights.drain, self.wake)
        tasks = [asyncio.create_task(self._watch_loop()), asyncio.create_task(self._sweep_loop())]
        for lane in self._lanes:
            tasks += [
                asyncio.create_task(self._path_loop(lane, lane.remove, Operation.REMOVE)),
                asyncio.create_task(self._path_loop(lane, lane.add, Operation.ADD)),
                asyncio.create_task(self._path_loop(lane, lane.ask, None)),
            ]
        ready()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await asyncio.wait(tasks, timeout=self._rhythm.stop)
            await self._means.flights.cut_all()
        finally:
            server.close()
            for task in (stopping, *tasks):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for failed in results:
            if isinstance(failed, Exception):
                raise failed

    async def _watch_loop(self) -> None:
        while not self._stop.is_set():
            self.watch()
            await _pause(self._woken, self._rhythm.watch)
            self._woken.clear()

    async def _sweep_loop(self) -> None:
        while not self._stop.is_set():
            await self.sweep()
            await _pause(self._stop, self._rhythm.sweep)

    async def _path_loop(
        self, lane: AudienceLane, step: _Step, operation: Operation | None
    ) -> None:
        work = asyncio.Event()
        self._work.append(work)
        while not self._stop.is_set():
            try:
                worked = await step()
            except (StoreError, SQLAlchemyError):
                raise
            except Exception as error:  # noqa: BLE001 - the worker loop is a process boundary
                _log.error(
                    "path_failed", destination=lane.name, operation=operation, code=_code(error)
                )
                if operation is not None:
                    lane.mend(operation)
                await _pause(self._stop, self._rhythm.mend)
                continue
            if not worked:
                await _pause(work, self._rhythm.path)
                work.clear()


def _code(error: Exception) -> str:
    return type(error).__name__


async def _pause(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event or for the time, whichever comes first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
