"""Composition root of the engine: stores and keys in, admin port and engine socket out.

The only process that opens the warehouse; it loads the log all the time and keeps audiences fresh.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from socket import socket

import structlog
from starlette.applications import Starlette

from consent.keyring import ENGINE, Keyring
from gateway.audiences.desired import DesiredMembers
from gateway.backstore import BackStore
from gateway.clock import MonotonicClock
from gateway.datadir import DataDir
from gateway.engine import Engine, Names, Stores, read_definitions
from gateway.enginesocket import EngineSocket
from gateway.errors import GatewayError
from gateway.eventlogs.view import EmbeddedView
from gateway.http.admin import AdminApi, admin_app
from gateway.metrics import render
from gateway.server import serve
from gateway.settings import Settings
from gateway.telemetry import configure
from gateway.wiring import parts
from gateway.wiring.courier import requirements
from segments.errors import SegmentError
from segments.segmenter import Segmenter

__all__ = ["open_engine", "run"]

_LOAD_SECONDS = 0.5
_SYNC_SECONDS = 60.0
_NICE = 5

_log = structlog.get_logger()


def open_engine(settings: Settings, data: DataDir, ring: Keyring) -> Engine:
    """Build an engine; the warehouse file is locked from here on."""
    view = EmbeddedView(data.front, settings.policy, parts.key_reader(ring, data))
    pseudonym = parts.console_domain(ring)
    zones = {name: site.timezone for name, site in settings.policy.sites.items()}
    segmenter = Segmenter(data.warehouse, view, pseudonym, zones)
    back = BackStore(data.back)
    segments = {one.name: one.purposes for one in read_definitions(settings)}
    purposes = {
        name: segments.get(one.segment, frozenset()) for name, one in settings.audiences.items()
    }
    desired = DesiredMembers(back, view, requirements(settings), settings.audiences, purposes)
    names = Names(pseudonym, parts.references(ring, settings.policy))
    return Engine(settings, segmenter, Stores(view, back), names, desired, MonotonicClock())


def run(
    settings: Settings, data: Path, keys: Path, sock: socket, ready: Callable[[], None]
) -> None:
    """Be the engine until told to stop."""
    configure("engine")
    os.nice(_NICE)  # accepting events comes first
    folder = DataDir(data)
    engine = open_engine(settings, folder, Keyring(keys, ENGINE))
    worker = ThreadPoolExecutor(1, thread_name_prefix="engine")
    api = AdminApi(
        engine,
        worker,
        folder.admin_token.read_text(encoding="ascii").strip(),
        partial(render, engine.view.counters, engine.balance),
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.get_running_loop().run_in_executor(worker, engine.retire)
        server = await EngineSocket(engine, worker).start(folder.engine_socket)
        tasks = [
            asyncio.create_task(_repeat(worker, engine.catch_up, _LOAD_SECONDS)),
            asyncio.create_task(
                _repeat(worker, partial(_sync_all, settings, engine), _SYNC_SECONDS)
            ),
        ]
        yield
        server.close()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        worker.shutdown()
        engine.close()
        folder.engine_socket.unlink(missing_ok=True)

    serve(admin_app(api, lambda: "", lifespan), sock, on_started=ready)


async def _repeat(worker: ThreadPoolExecutor, work: Callable[[], object], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(seconds)
        try:
            await loop.run_in_executor(worker, work)
        except (GatewayError, SegmentError) as error:
            _log.error("engine_work_failed", error=type(error).__name__)


def _sync_all(settings: Settings, engine: Engine) -> None:
    """Keep every audience that was ever synced fresh."""
    known = {entry["audience"] for entry in engine.status()}
    for audience in settings.audiences:
        if audience in known:
            engine.sync(audience)
