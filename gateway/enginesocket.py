"""The engine's side of ``engine.sock``: one request a line, progress lines, one result or error.

Only the user who runs the server can connect (mode 0600). Requests run one after another in the
engine's worker thread.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from gateway.engine import Engine
from gateway.errors import GatewayError
from segments.errors import SegmentError

__all__ = ["EngineSocket"]

_MAX_LINE = 16 * 1024 * 1024

_log = structlog.get_logger()


class EngineSocket:
    """Serves requests of the command line."""

    def __init__(self, engine: Engine, worker: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._commands: Mapping[str, Callable[..., Any]] = {
            "evaluate": engine.evaluate,
            "explain": engine.explain,
            "sizes": engine.sizes,
            "sync": engine.sync,
            "status": engine.status,
            "balance": engine.balance,
            "why": engine.why,
        }

    async def start(self, path: Path) -> asyncio.Server:
        """Listen; a socket left by a dead engine is replaced."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - before the loop has anything to do
        old = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(old)
        return await asyncio.start_unix_server(self._serve, sock=listening, limit=_MAX_LINE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                await self._send(writer, await self._answer(line, writer))
        except (OSError, ValueError) as error:
            _log.warning("engine_request_broken", error=type(error).__name__)
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            request = json.loads(line)
            command = self._commands.get(request.pop("do", ""))
            if command is None:
                return _error("unknown_command", "the engine cannot do that")
            if request.pop("progress", False):
                request["progress"] = lambda done, total: loop.call_soon_threadsafe(
                    _write_progress, writer, done, total
                )
            result = await loop.run_in_executor(self._worker, partial(command, **request))
        except (GatewayError, SegmentError) as error:
            return _error(getattr(error, "code", "") or type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001 - the request boundary of this process
            _log.error("engine_request_failed", error=type(error).__name__)
            return _error("engine_failed", "the engine failed; see its log")
        return {"result": result}

    async def _send(self, writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _write_progress(writer: asyncio.StreamWriter, done: int, total: int) -> None:
    writer.write(json.dumps({"progress": [done, total]}).encode() + b"\n")
