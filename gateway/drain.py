"""The courier's socket: drain, wake, ping. Both sides; one JSON object a line.

A withdrawal is answered 200 only after ``drain`` returned True. Light on purpose: the front
imports the client, so this module needs the standard library alone. See docs/design/audiences.md.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

__all__ = ["drain", "is_dead", "lock", "ping", "serve", "wake"]

_LINE_LIMIT = 4_096
_WAKE_SECONDS = 0.2
_MAX_ADDRESS = 100
"""Bytes of a socket's path; the kernel allows 107."""

_Drain = Callable[[int], Awaitable[int]]
"""Takes a position and returns the position up to which every send has ended."""
_Wake = Callable[[], None]


def lock(path: Path) -> int | None:
    """Take the courier's lock for the life of this process; None where another holds it.

    Returns the file descriptor: the lock goes when it is closed or the process ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_dead(path: Path) -> bool:
    """Say whether provably no courier runs: its lock is free.

    A courier that starts a moment later reads the log's head after every commit made before this.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


async def drain(
    socket_path: Path,
    lock_path: Path,
    position: int,
    timeout: float,  # noqa: ASYNC109 - the answer says so: False in time, never an exception
) -> bool:
    """Say whether nothing that checked consent before ``position`` will be written any more.

    True if the courier says so or is provably dead; False where nobody knows. ``timeout`` is in
    seconds.
    """
    try:
        answer = await _ask(socket_path, {"drain": position}, timeout)
    except (OSError, ValueError, TimeoutError):
        return is_dead(lock_path)
    drained = answer.get("drained")
    return isinstance(drained, int) and drained >= position


async def ping(socket_path: Path, timeout_seconds: float) -> bool:
    """Say whether a courier answers."""
    try:
        return "pong" in await _ask(socket_path, {"ping": 1}, timeout_seconds)
    except (OSError, ValueError, TimeoutError):
        return False


def wake(socket_path: Path, position: int) -> None:
    """Tell the courier that there is something to do; it would find out by itself a little later.

    For synchronous callers; an error is no loss.
    """
    line = json.dumps({"wake": position}).encode() + b"\n"
    with (
        contextlib.suppress(OSError),
        _short(socket_path) as address,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.settimeout(_WAKE_SECONDS)
        client.connect(address)
        client.sendall(line)


async def serve(path: Path, on_drain: _Drain, on_wake: _Wake) -> asyncio.Server:
    """Open the socket (mode 0600), replacing what a dead courier left; the caller has the lock."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                on_wake()
                writer.write(json.dumps(await _answer(line, on_drain)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - one quick call, before anybody is served
    old = os.umask(0o177)
    try:
        with _short(path) as address:
            return await asyncio.start_unix_server(talk, address, limit=_LINE_LIMIT)
    finally:
        os.umask(old)


async def _answer(line: bytes, on_drain: _Drain) -> dict[str, int | str]:
    try:
        request = json.loads(line)
    except ValueError:
        return {"error": "malformed"}
    position = request.get("drain") if isinstance(request, dict) else None
    if isinstance(position, int) and not isinstance(position, bool):
        return {"drained": await on_drain(position)}
    if isinstance(request, dict) and ("ping" in request or "wake" in request):
        return {"pong": 1}
    return {"error": "unknown_request"}


async def _ask(path: Path, request: dict[str, int], timeout_seconds: float) -> dict[str, object]:
    async with asyncio.timeout(timeout_seconds):
        with _short(path) as address:
            reader, writer = await asyncio.open_unix_connection(address, limit=_LINE_LIMIT)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(await reader.readline())
        finally:
            writer.close()
    return answer if isinstance(answer, dict) else {}


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for the path that fits into a socket address, however deep the folder lies."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
