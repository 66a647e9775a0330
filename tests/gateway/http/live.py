"""A real server on a free port of 127.0.0.1 for one test, and raw sockets to talk to it."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import MalformedPayloadError
from gateway.http.cors import Cors
from gateway.http.guard import Guard
from gateway.http.limits import inflate, read_body
from gateway.http.protocol import WireBounds
from gateway.server import GatewayServer, build_server
from gateway.settings import Limits
from gateway.strictjson import check_json_bounds, strict_twins
from gateway.supervisor import bind

ORIGIN = "https://shop.example"
_QUIET_SECONDS = 0.15


@dataclass
class Echo:
    """An application as the collector is one: reads, bounds, decodes, answers 200.

    ``seen`` are the paths that reached it. An ``X-Trailer`` that passes for a header is an error.
    """

    limits: Limits = field(default_factory=Limits)
    seen: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live_and_let_die(receive, send)
            return
        self.seen.append(scope["path"])
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        raw = await read_body(receive, headers, self.limits)
        body = inflate(raw, headers.get("content-encoding"), self.limits)
        if body:
            check_json_bounds(body)
            strict_twins(body)
            try:
                msgspec.json.decode(body)
            except msgspec.DecodeError as error:
                raise MalformedPayloadError("the body is not JSON") from error
        assert b"x-trailer" not in dict(scope["headers"])
        headers_out = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers_out})
        await send({"type": "http.response.body", "body": b"{}"})


async def live_and_let_die(receive: Receive, send: Send) -> None:
    """Speak the lifespan protocol and do nothing in it."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


@dataclass
class Live:
    """A running server."""

    port: int
    server: GatewayServer

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, *chunks: bytes) -> bytes:
        """Send everything and return all that comes back until it closes or falls silent."""
        with self.connect() as sock:
            for chunk in chunks:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(chunk)
            return listen(sock, _QUIET_SECONDS)

    def status(self, *chunks: bytes) -> int:
        """Send everything and return the status of the only answer."""
        return only_status(self.talk(*chunks))


def listen(sock: socket.socket, quiet_seconds: float) -> bytes:
    """Read until the peer closes or, after something came, falls silent."""
    found = b""
    with contextlib.suppress(ConnectionResetError, TimeoutError):
        while piece := sock.recv(65_536):
            found += piece
            sock.settimeout(quiet_seconds)
    return found


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer in these bytes."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def only_status(answer: bytes) -> int:
    found = statuses(answer)
    assert len(found) == 1, found
    return found[0]


@contextlib.contextmanager
def running(
    app: ASGIApp | None = None, bounds: WireBounds | None = None, loop: str = "uvloop"
) -> Generator[Live]:
    """Run the guarded application in a thread."""
    guarded = Guard(app or Echo(), cors=Cors({"web": [ORIGIN]}))
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    started = threading.Event()
    server = build_server(guarded, bounds=bounds, log_level="critical", on_started=started.set)
    server.config.loop = loop
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        assert started.wait(10)
        yield Live(port, server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def post(
    body: bytes = b"{}", *headers: str, path: str = "/v1/track", host: str = "t.shop.example"
) -> bytes:
    """Return a whole POST request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def seconds_since(start: float) -> float:
    return time.monotonic() - start
