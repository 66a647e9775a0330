"""F9, F18, F23: a stop under load, one id many times at once, two servers on one data directory."""

import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.senders import Keys, sending
from tests.faults.verdict import judge
from tests.faults.wire import Collector, grant, is_ready, track
from tests.server import Server, free_ports

_STOP_SECONDS = 20
_AT_ONCE = 32


@pytest.mark.slow
def test_a_stop_under_load_loses_nothing_and_ends_with_0(start: Callable[..., Server]) -> None:
    seed = secrets.token_hex(4)
    server = start(workers=2)
    keys = Keys(server.write_key, server.server_key)
    with sending(8, server.port, keys, seed) as finish, _held_open(server.port):
        time.sleep(1)
        assert server.stop(_STOP_SECONDS) == 0
        server.start()
        time.sleep(0.5)
        notes = [sender.note for sender in finish()]
    assert judge(server, notes).faults() == {}, f"seed {seed}"


def test_one_id_from_many_connections_at_once_is_stored_once(start: Callable[..., Server]) -> None:
    server = start(workers=2)
    person = {"user_id": "person-1"}
    with Collector(server.port) as collector:
        assert collector.post("/v1/consent", server.server_key, grant(person)).status == 201
    together = threading.Barrier(_AT_ONCE)

    def send(_number: int) -> str:
        with Collector(server.port) as collector:
            assert collector.get("/health/live").status == 200  # connected
            together.wait(20)
            event = track({"userId": "person-1"}, "the-same-id", 1)
            return collector.post("/v1/track", server.server_key, event).outcome

    with ThreadPoolExecutor(_AT_ONCE) as senders:
        outcomes = Counter(senders.map(send, range(_AT_ONCE)))
    assert outcomes == {"accepted": 1, "duplicate": _AT_ONCE - 1}
    assert [event["id"] for event in server.events()] == ["the-same-id"]


def test_a_second_server_on_the_same_data_is_refused(start: Callable[..., Server]) -> None:
    server = start()
    port, admin_port = free_ports(2)
    places = ("--config", str(server.config), "--data", str(server.data))
    second = subprocess.run(
        [
            str(Path(sys.executable).with_name("einlass")),
            *("serve", *places, "--port", str(port), "--admin-port", str(admin_port)),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another server runs here" in second.stderr
    assert is_ready(server.port)


class _held_open:  # noqa: N801 - reads as a sentence
    """A slow client: half a request, and nothing more."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))

    def __enter__(self) -> None:
        self._socket.sendall(
            b"POST /v1/track HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
        )

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
