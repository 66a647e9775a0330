"""A program under a supervisor, run by tests as ``python -m tests.gateway.supervised SCENE``.

Its lines on standard output: ``child NAME PID``, ``stopped NAME``, ``port N``, ``ready``.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

import structlog
from starlette.types import Receive, Scope, Send

from gateway.server import serve
from gateway.supervisor import Child, Supervisor, bind

Ready = Callable[[], None]
SLOW_SECONDS = 0.5


def say(*words: object) -> None:
    """Write one line at once: several processes share the pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def calm(name: str, ready: Ready) -> None:
    """Be ready at once and live until told to stop."""
    say("child", name, os.getpid())
    ready()
    signal.pause()


def stubborn(name: str, ready: Ready) -> None:
    """Ignore being told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("child", name, os.getpid())
    ready()
    while True:
        time.sleep(60)


def front(sock: socket.socket, ready: Ready) -> None:
    """Serve HTTP; ``/slow`` takes its time."""
    say("child", "front", os.getpid())
    serve(application, sock, on_started=ready)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("stopped", "front")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW_SECONDS)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _supervisor(scene: str) -> Supervisor:
    sockets: tuple[socket.socket, ...] = ()
    grace_seconds = 20.0
    if scene == "calm":
        children = [
            Child("first", partial(calm, "first"), count=2),
            Child("second", partial(calm, "second"), essential=False),
        ]
    elif scene == "stubborn":
        children, grace_seconds = [Child("mule", partial(stubborn, "mule"))], 0.3
    elif scene == "patient":
        children, grace_seconds = [Child("mule", partial(stubborn, "mule"))], 60.0
    else:
        if scene == "narrow":
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        sock = bind("127.0.0.1", 0)
        say("port", sock.getsockname()[1])
        sockets = (sock,)
        children = [Child("front", partial(front, sock), sockets=sockets)]
    return Supervisor(
        children, sockets=sockets, on_ready=partial(say, "ready"), grace_seconds=grace_seconds
    )


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(_supervisor(sys.argv[1]).run())
