"""Admits work in order, commits it in groups, and answers only after the commit.

Work is prepared at once on what this process knows, then written by one thread; when the store has
moved, everything not yet durable is prepared again in the same order. One sync serves a whole
group. Nothing here answers a client before the commit that holds its event has returned.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import structlog

from gateway.clock import Clock
from gateway.collector.people import People
from gateway.errors import MalformedPayloadError, OverloadedError, StoreError
from gateway.eventlogs.embedded import EmbeddedStore
from gateway.eventlogs.group import Committed, Group, Stale
from gateway.keystore import KeyPool

__all__ = ["Door"]

_T = TypeVar("_T")


class _Item:
    """One piece of work: how to prepare it, what that gave last, and who waits."""

    __slots__ = ("broke", "future", "prepared", "weight", "work")

    def __init__(self, work: Callable[[Group], Any], weight: int, group: Group) -> None:
        self.work = work
        self.weight = weight
        self.broke = False
        self.prepared = work(group)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def again(self, group: Group) -> bool:
        """Prepare on another group; a failure goes to whoever waits.

        ``broke`` says that it was no check: half of the work may stand in the group.
        """
        try:
            self.prepared = self.work(group)
        except Exception as error:  # noqa: BLE001 - the waiting request is the boundary
            self.broke = not isinstance(error, MalformedPayloadError)
            self.fail(error)
            return False
        return True

    def finish(self) -> None:
        if not self.future.done():
            self.future.set_result(self.prepared)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(_spoken(error))


def _spoken(error: Exception) -> Exception:
    """Return what the waiting request is told: a database's own error means no store."""
    if isinstance(error, sqlite3.Error):
        return StoreError("a store cannot be used")
    return error


class Door:
    """The way in. All methods belong to the event loop's thread."""

    def __init__(
        self,
        store: EmbeddedStore,
        people: People,
        pool: KeyPool,
        *,
        clock: Clock,
        max_pending: int,
        on_fatal: Callable[[], None],
    ) -> None:
        self.clock = clock
        self._store = store
        self._people = people
        self._pool = pool
        self._max_pending = max_pending
        self._on_fatal = on_fatal
        self._log = structlog.get_logger()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._group = Group(store.head()[1])
        self._items: list[_Item] = []
        self._waiting = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._dirty = False

    def start(self) -> None:
        """Start committing."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Commit what waits, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    def amiss(self) -> str:
        """Say what keeps this door from admitting anything; empty while nothing does."""
        if self._store.broken:
            return "store"
        return "stopping" if self._closing else ""

    def admit(
        self, work: Callable[[Group], _T], weight: int = 1, *, reserved: bool = False
    ) -> asyncio.Future[_T]:
        """Prepare work at once; the future ends after its commit with what the work returned.

        ``work`` may run again, on another group, if the store has moved. ``reserved`` work
        (consent) is admitted even when events are turned away.

        Raises:
            OverloadedError: more than the bound is waiting; nothing was kept.
        """
        if self._closing or (not reserved and self._waiting + weight > self._max_pending):
            raise OverloadedError("the door is full")
        try:
            item = _Item(work, weight, self._group)
        except MalformedPayloadError:
            raise  # refused by a check, and work checks before it changes anything
        except Exception as error:
            self._dirty = True  # half of it may stand in the group: prepare the rest again
            self._wake.set()
            raise _spoken(error) from error
        self._items.append(item)
        self._waiting += weight
        self._wake.set()
        return cast("asyncio.Future[_T]", item.future)

    async def _run(self) -> None:
        try:
            while not (self._closing and not self._items):
                await self._wake.wait()
                self._wake.clear()
                while self._items:
                    await self._flush()
        except Exception as error:  # noqa: BLE001 - the worker loop: nobody may wait for ever
            self._closing = True
            for item in self._items:
                item.fail(error)
            self._log.error("door_failed", error=type(error).__name__)
            self._on_fatal()

    async def _flush(self) -> None:
        if self._dirty:
            self._prepare([], self._group.record)
        items, group = self._items, self._group
        self._items, self._group = [], Group(group.record + group.records)
        try:
            done = await self._commit(group)
            while isinstance(done, Stale):
                items, group = self._prepare(items, done.record)
                done = await self._commit(group)
        except Exception as error:  # noqa: BLE001 - every waiting request must get an answer
            self._fail(items, error)
            return
        self._waiting -= sum(item.weight for item in items)
        self._settle(done)
        for item in items:
            item.finish()

    async def _commit(self, group: Group) -> Committed | Stale:
        # Rows are written here, without rivals for the interpreter; only waiting is the thread's.
        if self._pool.low:
            await self._wait_for(self._pool.refill)
        if not self._store.try_turn():
            await self._wait_for(self._store.take_turn)
        done = self._store.write(group)
        if isinstance(done, Committed):
            await self._wait_for(self._store.sync)
        return done

    async def _wait_for(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _prepare(self, items: list[_Item], record: int) -> tuple[list[_Item], Group]:
        """Prepare items, and what is pending behind them, on what the store holds now.

        Where work breaks off, all is prepared anew without it: half of it may stand in a group.
        """
        self._dirty = True
        group = Group(record)
        while self._dirty:
            self._people.clear()
            group = Group(record)
            items, self._dirty = self._repeat(items, group)
            if not self._dirty:
                self._group = Group(record + group.records)
                self._items, self._dirty = self._repeat(self._items, self._group)
        return items, group

    def _repeat(self, items: list[_Item], group: Group) -> tuple[list[_Item], bool]:
        """Return the items that could be prepared again, and True where one broke off."""
        ready: list[_Item] = []
        for place, item in enumerate(items, 1):
            if item.again(group):
                ready.append(item)
                continue
            self._waiting -= item.weight
            if item.broke:
                return [*ready, *items[place:]], True
        return ready, False

    def _settle(self, done: Committed) -> None:
        """Take up what other processes changed; prepare pending work again where it rests on it."""
        self._people.forget(done.touched)
        pending = self._group
        moved = done.record != pending.record
        if moved and (pending.records or pending.refused or pending.slots & done.touched):
            self._prepare([], done.record)
        else:
            pending.record = done.record
            if not pending.records:  # none of its own that the store does not have yet
                self._people.settle_refusals()
        self._people.trim(self._group.slots)

    def _fail(self, items: list[_Item], error: Exception) -> None:
        self._store.release()
        self._waiting -= sum(item.weight for item in items)
        for item in items:
            item.fail(error)
        self._log.error("commit_failed", error=type(error).__name__)
        if self._store.broken:
            self._on_fatal()
        else:
            self._prepare([], self._store.head()[1])
