"""Runs ``tests.gateway.supervised`` as a subprocess and reads its lines."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

__all__ = ["Program", "running", "until"]

ROOT = Path(__file__).parents[2]


class Program:
    """A running scene. ``pids`` are those of its children by name, oldest first."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._output = output

    def read(self, start: str) -> str:
        """Read lines until one begins so; return it."""
        while line := self._output.readline():
            self.lines.append(line.strip())
            if line.startswith(start):
                return line.strip()
        raise AssertionError(f"no line {start!r} in {self.lines}")

    def read_pid(self) -> int:
        return int(self.read("child ").split()[-1])

    def pids(self) -> list[int]:
        return [int(line.split()[-1]) for line in self.lines if line.startswith("child ")]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status; all remaining lines are read."""
        status = self.process.wait(15)
        self.lines += [line.strip() for line in self._output]
        return status


@contextlib.contextmanager
def running(scene: str) -> Iterator[Program]:
    """Start a scene; end it, and what it left behind, afterwards."""
    command = [sys.executable, "-m", "tests.gateway.supervised", scene]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        program = Program(process, process.stdout)
        try:
            yield program
        finally:
            process.kill()
            process.wait(5)
            for pid in program.pids():
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for a condition; return whether it came."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()
