"""A closed-loop load generator on raw sockets: cheap enough to leave the server its own core.

Finds what a server can do per CPU-second; it says nothing about tails (closed loops cannot).
"""

import asyncio
import os
from collections.abc import Callable

__all__ = ["Tally", "cpu_seconds", "drive"]

_END = b"\r\n\r\n"


class Tally:
    """What came back: answers by status."""

    def __init__(self) -> None:
        self.done = 0
        self.bad = 0


class _Client(asyncio.Protocol):
    def __init__(self, next_request: Callable[[], bytes | None], tally: Tally) -> None:
        self._next = next_request
        self._tally = tally
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows for the checker
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._next()
        assert self._transport is not None  # noqa: S101 - set when connected
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(_END)
        if not found:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = b""
        self._tally.done += 1
        if not head.startswith(b"HTTP/1.1 2"):
            self._tally.bad += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.finished.done():
            self.finished.set_result(None)


async def drive(port: int, connections: int, next_request: Callable[[], bytes | None]) -> Tally:
    """Keep that many connections busy until ``next_request`` returns None on each."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    made = [
        await loop.create_connection(lambda: _Client(next_request, tally), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.finished for _, protocol in made))
    return tally


def cpu_seconds(pids: list[int]) -> float:
    """Return user and system seconds that processes have used so far (Linux)."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a data file
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
