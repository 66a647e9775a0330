import logging
import os
import signal
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from gateway.http.protocol import WireBounds
from gateway.server import connections_for, serve
from gateway.supervisor import bind
from tests.gateway.http.live import Echo, listen, only_status, post
from tests.gateway.http.live import running as serving
from tests.gateway.program import running

GET = b"GET %b HTTP/1.1\r\nHost: t.shop.example\r\n\r\n"


@pytest.fixture
def _own_logging() -> Iterator[None]:
    logger = logging.getLogger("uvicorn.error")
    before = (logger.handlers, logger.propagate, logger.level)
    yield
    logger.handlers, logger.propagate, logger.level = before


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _port(line: str) -> int:
    return int(line.split()[1])


def test_stop_finishes_what_is_under_way_flushes_and_exits_0() -> None:
    with running("front") as program:
        port = _port(program.read("port"))
        program.read("ready")
        with _connect(port) as sock:
            sock.sendall(GET % b"/slow")
            time.sleep(0.1)
            program.send(signal.SIGTERM)
            assert only_status(listen(sock, 5)) == 200
        assert program.wait() == 0
        assert "stopped front" in program.lines


def test_stopping_server_refuses_newcomers() -> None:
    with running("front") as program:
        port = _port(program.read("port"))
        program.read("ready")
        with _connect(port) as sock:
            sock.sendall(GET % b"/slow")
            time.sleep(0.1)
            program.send(signal.SIGTERM)
            time.sleep(0.2)
            with pytest.raises(ConnectionRefusedError):
                _connect(port)


def test_killed_front_is_replaced_behind_the_same_socket() -> None:
    with running("front") as program:
        port = _port(program.read("port"))
        program.read("ready")
        os.kill(program.pids()[0], signal.SIGKILL)
        with _connect(port) as sock:
            sock.sendall(GET % b"/")
            assert only_status(listen(sock, 0.3)) == 200


def test_more_connections_than_descriptors_cost_no_time_and_pass() -> None:
    with running("narrow") as program:
        port = _port(program.read("port"))
        program.read("ready")
        front = psutil.Process(program.pids()[0])
        waiting = [_connect(port) for _ in range(100)]
        time.sleep(0.2)
        before = sum(front.cpu_times()[:2])
        time.sleep(1)
        assert sum(front.cpu_times()[:2]) - before < 0.3
        for sock in waiting:
            sock.close()
        with _connect(port) as sock:
            sock.sendall(GET % b"/")
            assert only_status(listen(sock, 0.3)) == 200


def test_idle_connections_do_not_hold_up_the_stop() -> None:
    with serving() as live, live.connect() as sock:
        sock.sendall(post())
        while not sock.recv(1_000).endswith(b"{}"):
            continue
        live.server.should_exit = True
        assert sock.recv(1_000) == b""


def test_request_that_still_arrives_does_not_hold_up_the_stop() -> None:
    bounds = WireBounds(stopping_seconds=0.2, sweep_seconds=0.05)
    with serving(bounds=bounds) as live, live.connect() as sock:
        sock.sendall(post().replace(b"Length: 2", b"Length: 200"))
        time.sleep(0.1)
        live.server.should_exit = True
        start = time.monotonic()
        assert only_status(listen(sock, 5)) == 408
        assert time.monotonic() - start < 3


@pytest.mark.usefixtures("_own_logging")
def test_serve_returns_when_told_to_stop() -> None:
    before = signal.getsignal(signal.SIGTERM)
    serve(Echo(), bind("127.0.0.1", 0), on_started=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) == before


async def _fails_to_start(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("canary")


@pytest.mark.usefixtures("_own_logging")
def test_application_that_fails_to_start_ends_the_process_and_shows_no_value() -> None:
    with (
        structlog.testing.capture_logs() as logs,
        bind("127.0.0.1", 0) as sock,
        pytest.raises(SystemExit),
    ):
        serve(_fails_to_start, sock)
    assert "canary" not in str(logs)
    assert "ValueError" in {log["error"] for log in logs}


def test_a_server_takes_no_more_connections_than_descriptors_allow() -> None:
    assert connections_for(100) == 100
    assert connections_for(10**9) < 10**9
