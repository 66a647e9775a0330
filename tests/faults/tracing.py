"""Watches the system calls of a running process with strace, or makes some of them fail.

strace attaches to a process and leaves it again, so a fault lasts exactly as long as a block.
Specification: strace(1), `-e inject`; the process must be ours to trace.
"""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Call", "calls", "traced"]

_ATTACH_SECONDS = 10
_LET_GO_SECONDS = 3
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<rest>.*)")
_RESULT = re.compile(r"\) += (?P<result>-?\d+)")
_UNFINISHED = " <unfinished ...>"


@dataclass(slots=True)
class Call:
    """One system call; ``began`` and ``ended`` are places in the trace, ``text`` its arguments."""

    name: str
    text: str
    began: int
    ended: int = -1
    result: int = -1


@contextmanager
def traced(strace: str, pid: int, output: Path, *options: str) -> Iterator[None]:
    """Trace a process and its threads while the block runs."""
    command = [strace, "-f", "-yy", "-s", "96", "-o", str(output), *options, "-p", str(pid)]
    words = output.with_suffix(".words")
    with words.open("w") as said, subprocess.Popen(command, stderr=said) as process:
        try:
            _await_attached(process, words)
            yield
        finally:
            _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """End strace; what it traced goes on, if it lives."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_LET_GO_SECONDS)
    except subprocess.TimeoutExpired:  # it waits for a process that it has just killed
        process.kill()


def _await_attached(process: subprocess.Popen[bytes], words: Path) -> None:
    limit = time.monotonic() + _ATTACH_SECONDS
    while "attached" not in words.read_text():
        assert process.poll() is None, f"strace ended: {words.read_text()}"
        assert time.monotonic() < limit, f"strace does not attach: {words.read_text()}"
        time.sleep(0.01)


def calls(trace: Path) -> list[Call]:
    """Read a trace: calls in the order of their begin; those of several threads overlap."""
    found: list[Call] = []
    open_calls: dict[str, Call] = {}
    for place, line in enumerate(trace.read_text("utf-8", errors="replace").splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        if resumed := _RESUMED.match(rest):
            call = open_calls.pop(pid, None)
            if call is not None and call.name == resumed["name"]:
                _end(call, resumed["rest"], place)
        elif begun := _CALL.match(rest):
            call = Call(begun["name"], begun["rest"], place)
            found.append(call)
            if rest.endswith(_UNFINISHED):
                call.text = call.text.removesuffix(_UNFINISHED)
                open_calls[pid] = call
            else:
                _end(call, begun["rest"], place)
    return found


def _end(call: Call, rest: str, place: int) -> None:
    results = _RESULT.findall(rest)
    call.ended = place
    call.result = int(results[-1]) if results else -1
    if rest not in call.text:
        call.text += rest
