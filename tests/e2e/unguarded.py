"""Starts einlass with protections taken away, for tests that must notice.

Run as a program: ``unguarded.py NAMES serve …``, NAMES joined by commas. They are taken away before
any process is forked; everything else is the product as it is.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from consent import redact
from gateway import cli, drain, serving
from gateway.audiences import additions
from gateway.audiences.withdrawals import Withdrawals

__all__ = ["program"]


def program(names: Sequence[str]) -> tuple[str, ...]:
    """Return what starts this build instead of the `einlass` command; no name: the product."""
    if not names:
        return (str(Path(sys.executable).with_name("einlass")),)
    return (sys.executable, str(Path(__file__).resolve()), ",".join(names))


def _remove_drain() -> None:
    """A withdrawal is answered without asking what is in flight."""

    async def answered(*_places: object, **_limits: object) -> bool:
        return True

    _replace(drain, "drain", answered)


def _remove_cancelling() -> None:
    """The courier never hears of withdrawals: only the check at the wire is left."""
    _replace(Withdrawals, "follow", lambda _self, _now: 0)


def _remove_wire_check() -> None:
    """What was released is sent, whatever consent says by now."""

    async def send(self: additions._GuardedWire, request: httpx.Request) -> httpx.Response:
        self.wrote = True
        return await self._send(request)

    _replace(additions, "covers", lambda _granted, _required: True)
    _replace(additions._GuardedWire, "send", send)


def _remove_detectors() -> None:
    """Nothing is seen in a string, whatever it holds."""
    _replace(redact, "identifying", lambda _text, _region="DE": False)


def _replace(owner: object, name: str, stand_in: object) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"nothing to take away: {name}")
    setattr(owner, name, stand_in)


_REMOVALS: Mapping[str, Callable[[], None]] = {
    "detectors": _remove_detectors,
    "drain": _remove_drain,
    "cancelling": _remove_cancelling,
    "wire check": _remove_wire_check,
}


def _serve_here(_path: str, command: Sequence[str]) -> None:
    """Serve in this process instead of a fresh one, which would have every protection."""
    sys.argv = list(command[2:])
    sys.exit(serving.main())


if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        _REMOVALS[name]()
    _replace(os, "execv", _serve_here)
    cli.main()
