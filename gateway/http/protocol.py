"""Bounds how long a request may take to arrive, and how much of it is held before it is judged.

It must not know the application. uvicorn has no limit on the time or size of what arrives; this
subclass of its httptools protocol notes instants, and one periodic sweep over all connections
enforces them, so that a request costs no timer. Specification: RFC 9112 sections 2.2, 6.1, 9.6,
RFC 9110 sections 10.1.1 (Expect) and 15.5.9 (408).
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.http.guard import MAX_HEADER_BYTES, MAX_TARGET_BYTES, OVERLOADED, SECURITY_HEADERS
from gateway.http.problems import Problem, new_trace, wire_answer

__all__ = ["BoundedProtocol", "Phase", "WireBounds", "bounded_protocol", "sweep"]

# What may be told away even when the server is full: `POST /v1/consent` and below.
_RESERVED_PATHS = (b"/v1/consent", b"/health/")
_SEPARATORS = 1_024  # colons, spaces and line ends, which the guard does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class WireBounds:
    """Seconds, bytes and connections; the defaults are the documented ones.

    With the sweep's own second, a request that has not arrived after 30 s is cut. Beyond
    ``connections`` only consent and health calls are served, beyond an eighth more nobody is.
    """

    head_seconds: float = 10.0
    request_seconds: float = 29.0
    idle_seconds: float = 5.0
    stopping_seconds: float = 8.0
    sweep_seconds: float = 1.0
    head_bytes: int = MAX_HEADER_BYTES + MAX_TARGET_BYTES + _SEPARATORS
    connections: int = 2_000


class Phase(IntEnum):
    """What a connection is waiting for."""

    IDLE = 0  # the next request
    HEAD = 1  # the rest of request line and headers
    BODY = 2  # the rest of the body
    ANSWER = 3  # the application


# Looked up some ten times per request: module names are twice as fast as an enumeration's members.
_IDLE, _HEAD, _BODY, _ANSWER = Phase


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Build a class with its own bounds by ``bounded_protocol``."""

    bounds: ClassVar[WireBounds] = WireBounds()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limit_concurrency = None  # judged here, so that the guard can answer
        self.phase = _HEAD
        self.since = self.loop.time()
        self.held_bytes = 0  # since the parser last handed something over
        self.closing_since: float | None = None
        self.deaf = False  # what still arrives is dropped
        self.refusal = "malformed_request"

    # From the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away when the server is more than full."""
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections + self.bounds.connections // 8:
            self._refuse("overloaded")

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, never holding more of a head than its bound."""
        if self.deaf:
            return
        if self.phase is _BODY:
            self.held_bytes += len(data)
            self._feed(data)
            # Chunk extensions and trailers arrive here too, and nothing else hands over nothing.
            if self.held_bytes > self.bounds.head_bytes and self.phase is _BODY:
                self._refuse("headers_too_large")
            return
        if self.phase is not _HEAD:
            self._begin()
        if self.held_bytes + len(data) > self.bounds.head_bytes:
            self._feed_in_slices(memoryview(data))
        else:
            self.held_bytes += len(data)
            self._feed(data)

    def pause_writing(self) -> None:
        """Note since when the peer does not read."""
        super().pause_writing()
        self.closing_since = self.loop.time()

    def resume_writing(self) -> None:
        """Forget it."""
        super().resume_writing()
        self.closing_since = None

    def shutdown(self) -> None:
        """Give a request that is still arriving a few more seconds, then let the server go."""
        if self.phase in (_HEAD, _BODY):
            limit = self._limit() - self.bounds.stopping_seconds
            self.since = min(self.since, self.loop.time() - limit)
        super().shutdown()

    # From the parser

    def on_message_begin(self) -> None:
        """Start a request; a pipelined one may start in the middle of what arrived."""
        if self.phase is not _HEAD:
            self._begin()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped, they must not pass for headers."""
        if self.phase is _BODY:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the application, with a mark if the server is full."""
        if self.parser.should_upgrade():
            self._judge_upgrade()
        if self._is_full():
            cast("dict[str, object]", self.scope)[OVERLOADED] = True
        super().on_headers_complete()
        self.phase = _BODY
        self.held_bytes = 0
        if self.expect_100_continue:
            # Answered before the body was asked for, nobody could tell body from next request.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand over a piece of the body."""
        self.held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has arrived whole."""
        super().on_message_complete()
        answered = self.cycle.response_complete and not self.pipeline
        self.phase = _IDLE if answered else _ANSWER
        self.since = self.loop.time()

    # From the application

    def on_response_complete(self) -> None:
        """Start the next pipelined request or wait for one; as uvicorn does, without a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.phase is _ANSWER:
            self.phase = _IDLE
            self.since = self.loop.time()

    # From the sweep

    def expire(self, now: float) -> None:
        """End this connection if it is late; ``now`` is the loop's clock."""
        if self.transport.is_closing() and self.closing_since is None:
            self.closing_since = now
        if self.closing_since is not None:
            if now - self.closing_since > self.bounds.request_seconds:
                self.transport.abort()  # the peer does not read what we wrote
            return
        if now - self.since <= self._limit():
            return
        if self.phase is _BODY:
            self._refuse("request_timeout")
        elif self.phase is _HEAD and self._is_answering():
            self._hang_up_after_answer()
        else:
            self.transport.close()

    def _limit(self) -> float:
        if self.phase is _HEAD:
            return self.bounds.head_seconds
        if self.phase is _BODY:
            return self.bounds.request_seconds
        return self.bounds.idle_seconds if self.phase is _IDLE else float("inf")

    def _begin(self) -> None:
        self.phase = _HEAD
        self.since = self.loop.time()
        self.held_bytes = 0

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._hang_up_after_answer()
        except httptools.HttpParserInvalidMethodError:
            self._refuse("method_not_allowed")
        except httptools.HttpParserError:
            self._refuse(self.refusal)

    def _feed_in_slices(self, data: memoryview) -> None:
        while data and not self.deaf:
            room = len(data)
            if self.phase is not _BODY:
                room = self.bounds.head_bytes - self.held_bytes
                if room <= 0:
                    is_target = self.phase is _HEAD and len(self.url) > MAX_TARGET_BYTES
                    self._refuse("target_too_long" if is_target else "headers_too_large")
                    return
                self.held_bytes += min(room, len(data))
            self._feed(data[:room])
            data = data[room:]

    def _reject(self, code: str) -> None:
        """Stop the parser from inside one of its callbacks."""
        self.refusal = code
        raise ValueError(code)

    def _judge_upgrade(self) -> None:
        """Refuse what would make the parser take a tunnel's bytes or a body for a new request."""
        if self.parser.get_method() == b"CONNECT":
            self._reject("method_not_allowed")
        if any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            self._reject("upgrade_refused")

    def _is_full(self) -> bool:
        limit = self.bounds.connections
        crowded = len(self.connections) > limit or len(self.tasks) >= limit
        return crowded and not self.url.startswith(_RESERVED_PATHS)

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _hang_up_after_answer(self) -> None:
        """Read no more; close when the answers under way are written."""
        self.deaf = True
        self.cycle.keep_alive = False

    def _refuse(self, code: str) -> None:
        """Answer on the wire if this is the only request under way, then close."""
        if self.phase is _HEAD and self._is_answering():
            self._hang_up_after_answer()  # our answer would be taken for the earlier request's
            return
        self.deaf = True
        is_answering = self._is_answering()
        has_begun = self.phase is _BODY and (
            not is_answering or self.cycle.response_started or len(self.pipeline) > 0
        )
        if not has_begun:
            self.transport.write(wire_answer(Problem(code), new_trace(), SECURITY_HEADERS))
        if is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def bounded_protocol(bounds: WireBounds) -> type[BoundedProtocol]:
    """Return a protocol class with these bounds, for uvicorn's ``http`` setting."""
    return cast("type[BoundedProtocol]", type("Bounded", (BoundedProtocol,), {"bounds": bounds}))


async def sweep(connections: Iterable[BoundedProtocol], every_seconds: float) -> None:
    """End late connections for ever; one of these runs per server."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every_seconds)
        now = loop.time()
        for connection in tuple(connections):
            connection.expire(now)
