"""The week goes through the real SDK to one address with two keys; failures end the demo."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from gateway.demo import sending
from gateway.demo.programs import DemoError
from gateway.demo.sending import send
from gateway.demo.week import Call


class _Listener(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    batches: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.batches.append(json.loads(body))
        self.send_response(self.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture(name="host")
def _host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(_Listener, "batches", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _calls(count: int) -> list[Call]:
    at = datetime(2024, 5, 1, 8, tzinfo=UTC)
    return [
        Call("track", at, n % 2 == 0, {"event": "x", "user_id": f"u{n}", "context": {}})
        for n in range(count)
    ]


def test_calls_go_out_with_their_key_and_time(host: str) -> None:
    told: list[int] = []
    send(_calls(4), host, ("public", "server"), told.append)
    sent = {batch["writeKey"]: batch["batch"] for batch in _Listener.batches}
    assert set(sent) == {"public", "server"}
    assert "2024-05-01T08:00:00.000+00:00" in str(sent["server"])
    assert told == [4]


def test_an_upload_that_fails_ends_the_demo(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Listener, "status", 401)
    with pytest.raises(DemoError, match="failed uploads"):
        send(_calls(2), host, ("public", "server"), lambda _done: None)


def test_a_queue_that_is_full_ends_the_demo(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_QUEUE", 1)
    with pytest.raises(DemoError, match="queue is full"):
        send(_calls(900), host, ("public", "server"), lambda _done: None)


def test_a_missing_sdk_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segment.analytics.client", None)
    with pytest.raises(DemoError, match=r"einlass\[demo\]"):
        send([], "http://127.0.0.1:9", ("a", "b"), lambda _done: None)
