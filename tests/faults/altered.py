"""Starts einlass with one protection taken away: the controls that each fault test must catch.

Run as a program: ``altered.py ALTERATION serve …``. The alteration is made before any process is
forked, so all of them have it; everything else is the product as it is.
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway import cli, serving
from gateway.collector.door import Door
from gateway.eventlogs import embedded
from gateway.eventlogs.embedded import EmbeddedStore
from gateway.eventlogs.group import Group

__all__ = ["program"]

_SLOW_SYNC_SECONDS = 0.3


def program(alteration: str) -> tuple[str, ...]:
    """Return what starts this build instead of the `einlass` command."""
    return (sys.executable, str(Path(__file__).resolve()), alteration)


def _answer_before_the_commit() -> None:
    admit, sync = Door.admit, EmbeddedStore.sync

    def admit_early(
        self: Door, work: Callable[[Group], Any], weight: int = 1, *, reserved: bool = False
    ) -> asyncio.Future[Any]:
        future = admit(self, work, weight, reserved=reserved)
        self._items[-1].finish()
        return future

    def sync_late(self: EmbeddedStore) -> None:
        time.sleep(_SLOW_SYNC_SECONDS)  # a slow disk: what was answered early stays in danger
        sync(self)

    Door.admit = admit_early  # type: ignore[method-assign] # the alteration
    EmbeddedStore.sync = sync_late  # type: ignore[method-assign] # the alteration


def _commit_without_sync() -> None:
    connect = embedded.connect

    def connect_carelessly(path: Path, *, write: bool) -> sqlite3.Connection:
        connection = connect(path, write=write)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    embedded.connect = connect_carelessly


_ALTERATIONS = {"early": _answer_before_the_commit, "unsynced": _commit_without_sync}


def _serve_here(_path: str, arguments: Sequence[str]) -> None:
    sys.argv = list(arguments[2:])  # a fresh interpreter would lose the alteration
    sys.exit(serving.main())


if __name__ == "__main__":
    _ALTERATIONS[sys.argv.pop(1)]()
    os.execv = _serve_here  # type: ignore[assignment] # the alteration
    cli.main()
