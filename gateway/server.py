"""Serves one ASGI application on one listening socket until told to stop.

It must not know what the application does, and binds nothing. One uvicorn server (httptools,
uvloop) with our protocol; a stop is graceful: accept no more, finish what is under way, let the
application flush in its lifespan, return.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from types import FrameType
from typing import cast

import structlog
import uvicorn
from starlette.types import ASGIApp

from gateway.http.protocol import BoundedProtocol, WireBounds, bounded_protocol, sweep

__all__ = ["GatewayServer", "build_server", "connections_for", "serve"]

_GRACEFUL_SECONDS = 15
_MIN_DESCRIPTORS = 8_192
_OWN_DESCRIPTORS = 128  # databases, sockets of the other processes, logs
_GC_THRESHOLDS = (500_000, 20, 50)  # requests leave no cycles behind: look for them seldom
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger()


class GatewayServer(uvicorn.Server):
    """uvicorn's server with the deadline sweep, a start-up call and an exit by return.

    ``on_started`` is called once, when connections are accepted.
    """

    def __init__(
        self, config: uvicorn.Config, bounds: WireBounds, on_started: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._bounds = bounds
        self._on_started = on_started
        self._sweeper: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting, sweeping, and say so."""
        await super().startup(sockets)
        connections = cast("set[BoundedProtocol]", self.server_state.connections)
        self._sweeper = asyncio.create_task(sweep(connections, self._bounds.sweep_seconds))
        if self._on_started is not None:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; deadlines hold until the last request is answered."""
        await super().shutdown(sockets)
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT, and do not die of them again afterwards, as uvicorn does."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Begin the graceful stop; more signals change nothing (the supervisor kills)."""
        self.should_exit = True


def build_server(
    app: ASGIApp,
    *,
    log_level: str = "warning",
    backlog: int = 2_048,
    bounds: WireBounds | None = None,
    on_started: Callable[[], None] | None = None,
) -> GatewayServer:
    """Return a server with our flags, not yet running."""
    bounds = bounds or WireBounds()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=bounded_protocol(bounds),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # forwarded-for counts from configured proxies only: there are none
        workers=1,
        backlog=backlog,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    return GatewayServer(config, bounds, on_started)


def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    log_level: str = "warning",
    limit_concurrency: int = 2_000,
    backlog: int = 2_048,
    on_started: Callable[[], None] | None = None,
) -> None:
    """Serve ``app`` on a bound socket until SIGTERM or SIGINT; return when all is answered.

    Raises:
        SystemExit: the application's lifespan failed to start (status 3).
    """
    _speak_through_structlog()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    bounds = replace(WireBounds(), connections=connections_for(limit_concurrency))
    server = build_server(
        app, log_level=log_level, backlog=backlog, bounds=bounds, on_started=on_started
    )
    server.run(sockets=[sock])


def connections_for(limit_concurrency: int) -> int:
    """Raise this process's descriptor limit if allowed, and return how many connections fit.

    Fewer connections than descriptors: a full server turns newcomers away instead of failing in
    accept, and its stores can still open their files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(_MIN_DESCRIPTORS, 2 * limit_concurrency)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft - _OWN_DESCRIPTORS, soft // 2)
    return min(limit_concurrency, room * 8 // 9)  # the protocol lets an eighth more in


class _Templates(logging.Handler):
    """Passes on uvicorn's messages without arguments or tracebacks: those may hold values."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        kind = error.__name__ if error else None
        _log.log(record.levelno, "server_message", message=str(record.msg).strip(), error=kind)


def _speak_through_structlog() -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers = [_Templates()]
    logger.propagate = False
