"""Kills processes of a running server at random, and measures how long the collector is away.

Which process is which is read from what the supervisor prints; a seed replays the choice.
"""

import json
import os
import random  # noqa: TID251 - a seed replays the run
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.wire import is_ready
from tests.server import Server

__all__ = ["Strike", "await_ready", "children", "strike", "until"]

_POLL_SECONDS = 0.005
_PATIENCE_SECONDS = 20.0
_OFTEN = {"front": 5, "engine": 2, "courier": 2, "supervisor": 2}


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill; ``seconds`` until the collector called itself ready again.

    Of these the new processes stood ``waiting`` for a processor that others used.
    """

    target: str
    seconds: float
    waiting: float = 0.0


def children(server: Server) -> dict[str, list[int]]:
    """Return the living children by name, oldest first."""
    found: dict[str, list[int]] = {}
    alive = set(server.pids())
    for line in server.log.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if entry.get("event") == "child_started" and entry["pid"] in alive:
                found.setdefault(entry["name"], []).append(entry["pid"])
    return found


def strike(server: Server, choice: random.Random) -> Strike:
    """SIGKILL one process and wait until the collector is ready again."""
    target = choice.choices(list(_OFTEN), weights=list(_OFTEN.values()))[0]
    began = time.monotonic()
    if target == "supervisor":
        server.kill_supervisor()
        server.start(wait=False)
    else:
        with suppress(ProcessLookupError):
            os.kill(choice.choice(_await_children(server, target)), signal.SIGKILL)
    await_ready(server)
    seconds = time.monotonic() - began
    if target != "supervisor":
        return Strike(target, seconds)
    first = min(map(_stood, children(server).get("front", [])), default=0.0)
    return Strike(target, seconds, _stood(server.pid) + first)


def await_ready(server: Server) -> None:
    """Wait until the collector answers that it is ready; fails with the server's last words."""
    assert until(lambda: is_ready(server.port)), f"the collector stays away\n{server.tail()}"


def _stood(pid: int) -> float:
    """Return the seconds that a process was ready to run and did not (schedstat, proc(5))."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def _await_children(server: Server, name: str) -> list[int]:
    # After the last kill a new one may not run yet.
    assert until(lambda: bool(children(server).get(name))), f"no {name} comes\n{server.tail()}"
    return children(server)[name]


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; say whether it came in time."""
    limit = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(_POLL_SECONDS)
    return False
