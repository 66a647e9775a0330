import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from gateway.http.protocol import WireBounds
from tests.gateway.http.live import Live, listen, live_and_let_die, post, running, statuses

HURRIED = WireBounds(head_seconds=0.2, request_seconds=0.4, idle_seconds=0.2, sweep_seconds=0.05)
SLOW_SECONDS = 0.6
LARGE = 30_000_000
GET = b"GET %b HTTP/1.1\r\nHost: t.shop.example\r\n\r\n"


async def slow_or_large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after a while at ``/slow``, at length at ``/large``."""
    if scope["type"] == "lifespan":
        await live_and_let_die(receive, send)
        return
    body = b"{}"
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW_SECONDS)
    if scope["path"] == "/large":
        body = b"x" * LARGE
    start = {"type": "http.response.start", "status": 200}
    await send({**start, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    with running(slow_or_large, bounds=HURRIED, loop=request.param) as server:
        yield server


def test_connection_serves_one_request_after_another(live: Live) -> None:
    with live.connect() as sock:
        for _ in range(3):
            sock.sendall(GET % b"/")
            answer = b""
            while not answer.endswith(b"{}"):
                answer += sock.recv(10_000)
            assert statuses(answer) == [200]


def test_slow_application_is_not_the_senders_fault(live: Live) -> None:
    assert statuses(live.talk(GET % b"/slow")) == [200]


def test_pipelined_requests_are_answered_in_turn(live: Live) -> None:
    with live.connect() as sock:
        sock.sendall(GET % b"/slow" + GET % b"/")
        assert statuses(listen(sock, 1)) == [200, 200]


def test_slow_head_behind_a_request_under_way_loses_only_itself(live: Live) -> None:
    with live.connect() as sock:
        sock.sendall(GET % b"/slow" + b"GET / HTTP/1.1\r\nHost:")
        assert statuses(listen(sock, 1)) == [200]


def test_broken_body_behind_a_request_under_way_gets_no_answer(live: Live) -> None:
    broken = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\n"
    with live.connect() as sock:
        sock.sendall(GET % b"/slow" + broken)
        assert statuses(listen(sock, 1)) == []


def test_what_follows_a_refused_protocol_change_is_not_heard(live: Live) -> None:
    upgrade = b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    with live.connect() as sock:
        sock.sendall(upgrade)
        time.sleep(0.1)
        sock.sendall(GET % b"/")
        assert statuses(listen(sock, 1)) == [200]


def _read(sock: socket.socket, pause_seconds: float) -> int:
    """Read a large answer after a pause; return how much of it came."""
    sock.sendall(GET % b"/large")
    time.sleep(pause_seconds)
    found = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1_000_000):
            found += len(piece)
            if found >= LARGE:
                break
    return found


def test_reader_that_pauses_gets_its_whole_answer(live: Live) -> None:
    with live.connect() as sock:
        assert _read(sock, 0.1) >= LARGE


def test_reader_that_stalls_is_cut_off(live: Live) -> None:
    with live.connect() as sock:
        assert _read(sock, 1.0) < LARGE
