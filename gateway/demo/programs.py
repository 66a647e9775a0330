"""Starts and ends the programs of the demo, and runs its commands: `einlass …` as a user would.

Everything they print goes to files in the demo's folder. Knows the fixed interface only.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.errors import GatewayError

__all__ = ["DemoError", "Programs", "free_port", "fresh_folder"]

_EINLASS = (sys.executable, "-m", "gateway")
_MARK = ".einlass-demo"
_LOCK = "data/serve.lock"  # held by a server for its life
_POLL_SECONDS = 0.05
_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_COMMAND_SECONDS = 300.0
_TAIL_LINES = 12


class DemoError(GatewayError):
    """The demo cannot go on; the message says where it stands."""

    hint = "See the log files in the demo's folder."


def fresh_folder(folder: Path) -> None:
    """Make the folder anew; one that the demo did not make, or still uses, is left alone.

    Raises:
        DemoError: it is somebody else's, or the server of another demo runs in it.
    """
    mark = folder / _MARK
    if folder.exists() and any(folder.iterdir()):
        if not mark.is_file():
            raise DemoError(f"{folder} is not empty and was not made by the demo")
        if _is_served(folder):
            raise DemoError(f"the server of another demo runs in {folder}")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _is_served(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def free_port(wanted: int) -> int:
    """Return the port wanted if nobody listens there, else any free one of 127.0.0.1."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise DemoError("there is no free port on 127.0.0.1")


class Programs:
    """The programs of one demo; all of them end with the with block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running.values():
            _stop(process)

    def start(self, name: str, *arguments: str) -> None:
        """Start ``einlass …`` in the background, printing to ``name.log``."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own command
                (*_EINLASS, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """Return the process id of a program that was started."""
        return self._running[name].pid

    def wait_for(self, name: str, url: str) -> None:
        """Wait until a program answers a GET with 200.

        Raises:
            DemoError: it ended, or took too long.
        """
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end:
            if self._running[name].poll() is not None:
                break
            try:
                if httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(_POLL_SECONDS)
        raise DemoError(f"{name} does not answer\n{self._tail(name)}")

    def run(self, *arguments: str) -> str:
        """Run one ``einlass …`` command and return what it prints.

        Raises:
            DemoError: it failed.
        """
        done = subprocess.run(  # noqa: S603 - our own command
            (*_EINLASS, *arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )
        if done.returncode:
            raise DemoError(f"einlass {' '.join(arguments[:2])} failed\n{done.stderr.strip()}")
        return done.stdout

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401 - the JSON of any command
        """Run one ``einlass … --json`` command and return its JSON."""
        return json.loads(self.run(*arguments, "--json"))

    def _tail(self, name: str) -> str:
        text = (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-_TAIL_LINES:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
