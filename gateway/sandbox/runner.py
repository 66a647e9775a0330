"""Runs the simulated platforms on one port, for `einlass sandbox`, the demo and tests.

Binds loopback unless told otherwise. Everything sent here stays in this process's memory.
"""

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.sandbox.app import TRANSPORT, build
from gateway.sandbox.state import SandboxSettings

__all__ = ["run"]


class _Resettable(HttpToolsProtocol):
    """Hands the connection to the application, so that it can break it off."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {TRANSPORT: self.transport}
        self.scope["extensions"] = extensions


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def run(
    host: str = "127.0.0.1",
    port: int = 8089,
    ready: Callable[[str], None] | None = None,
    settings: SandboxSettings | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; ``port`` 0 takes a free one.

    ``ready`` is called with the base address once connections are taken.
    """
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again after its own shutdown; to be told to end is no failure.
        signal.signal(signal.SIGTERM, _end)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=128) as listening:
        bound = listening.getsockname()
        config = uvicorn.Config(
            build(settings),
            http=_Resettable,
            lifespan="off",
            log_level="warning",
            access_log=False,
        )
        if ready is not None:
            shown = f"[{bound[0]}]" if family == socket.AF_INET6 else bound[0]
            ready(f"http://{shown}:{bound[1]}")
        uvicorn.Server(config).run(sockets=[listening])
