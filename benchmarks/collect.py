"""Requests and events per CPU-second of the collector, against a bare Starlette route.

Same server, same flags, same requests, in turns; the median of the rounds counts. Full pipeline:
guard, limits, decode, consent, pseudonyms, redaction, seal, dedup, one sync per group.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.load import cpu_seconds, drive
from consent.keyring import FRONT, Keyring
from gateway.configuration.init import init
from gateway.datadir import DataDir
from gateway.server import serve
from gateway.settings import load
from gateway.wiring.front import build
from gateway.wiring.stores import prepare_stores

__all__ = ["run"]

_CONNECTIONS, _BATCH_CONNECTIONS = 256, 32
_KEY = "sk_benchmark_key_0001"
_GRANTED = {"functional": True, "analytics": True, "marketing": True}
_REFUSED = {"functional": False, "analytics": False, "marketing": False}


async def _bare(request: Request) -> Response:
    await request.body()
    return Response(b'{"success":true}', media_type="application/json")


def _tell(write: int) -> None:
    os.write(write, b"1")


class _Server:
    """A server in a forked child on one core."""

    def __init__(self, main: Callable[[socket.socket, Callable[[], None]], None]) -> None:
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = sock.getsockname()[1]
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.sched_setaffinity(0, {0})
            main(sock, partial(_tell, write))
            os._exit(0)
        sock.close()
        os.read(read, 1)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)


def _collector(folder: Path) -> Callable[[socket.socket, Callable[[], None]], None]:
    if not folder.exists():
        init(folder, "wk_benchmark_key_0001", _KEY, os.urandom)
    settings, data = load(folder / "einlass.toml"), DataDir(folder / "data")
    data.prepare()
    prepare_stores(data, folder / "keys")

    def main(sock: socket.socket, started: Callable[[], None]) -> None:
        serve(build(settings, data, Keyring(folder / "keys", FRONT)), sock, on_started=started)

    return main


def _event(number: int, person: int, categories: dict[str, bool]) -> dict[str, object]:
    return {
        "messageId": f"0b5f8a3e-7c1d-4e2f-9a6b-{number:012d}",
        "type": "track",
        "event": "Product Viewed",
        "userId": f"user-{person}",
        "properties": {"product_id": f"p{number % 997}", "category": "shoes", "price": 49.95,
                       "currency": "EUR", "brand": "acme", "variant": "red"},
        "context": {"consent": {"categoryPreferences": categories},
                    "library": {"name": "analytics-python", "version": "2.4.0"},
                    "page": {"url": "https://shop.example/products/1?utm_source=news",
                             "referrer": "https://search.example/"}},
        "timestamp": "2026-11-01T10:00:00.000Z",
    }  # fmt: skip


class _Requests:
    """Endless requests, each event with an id of its own."""

    def __init__(self, total: int, batch: int, refused: float, first: int) -> None:
        self._left = total
        self._batch = batch
        self._refused = refused
        self._number = first
        auth = base64.b64encode(f"{_KEY}:".encode()).decode()
        path = "/v1/track" if batch == 1 else "/v1/batch"
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: collect.example\r\nAuthorization: Basic {auth}\r\n"
            "Content-Type: application/json\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Length: "
        ).encode()
        self._bodies: list[tuple[bytes, bytes]] = []
        for person in range(2_000):
            no = (person * 7919 % 1000) < refused * 1000
            text = json.dumps(
                _event(0, person + (1_000_000 if no else 0), _REFUSED if no else _GRANTED)
            )
            before, after = text.encode().split(b"000000000000", 1)
            self._bodies.append((before, after))

    def one(self) -> bytes | None:
        """Return the next request, None when enough were made."""
        if self._left <= 0:
            return None
        self._left -= 1
        events = []
        for _ in range(self._batch):
            before, after = self._bodies[self._number % 2_000]
            events.append(before + b"%012d" % self._number + after)
            self._number += 1
        body = events[0] if self._batch == 1 else b'{"batch":[' + b",".join(events) + b"]}"
        return self._head + b"%d\r\n\r\n" % len(body) + body


def _rate(server: _Server, total: int, batch: int, refused: float, first: int) -> float:
    """Return events per CPU-second of the server."""
    requests = _Requests(total, batch, refused, first)
    before = cpu_seconds([server.pid])
    connections = _CONNECTIONS if batch == 1 else _BATCH_CONNECTIONS
    tally = asyncio.run(drive(server.port, connections, requests.one))
    spent = cpu_seconds([server.pid]) - before
    if tally.bad:
        raise SystemExit(f"benchmark: {tally.bad} of {tally.done} requests failed")
    return tally.done * batch / spent


def run(*, full: bool) -> list[tuple[str, str, str]]:
    """Return rows of (what, figure, budget)."""
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    folder = Path(tempfile.mkdtemp(prefix="einlass-bench-"))
    singles, batches, rounds = (20_000, 1_000, 5) if full else (6_000, 200, 5)
    bare = _Server(
        lambda sock, started: serve(
            Starlette(routes=[Route("/v1/track", _bare, methods=["POST"])]),
            sock,
            on_started=started,
        )
    )
    ours = _Server(_collector(folder / "shop"))
    try:
        first = time.time_ns() // 1_000_000 % 10**9 * 1000
        _rate(ours, 3_000, 1, 0.0, first)
        _rate(bare, 3_000, 1, 0.0, 0)
        if full:
            first += 10_000
            _rate(ours, 10_000, 100, 0.0, first)
        ratios, ones, hundreds, mixed = [], [], [], []
        for _ in range(rounds):
            first += 10_000_000
            base = _rate(bare, singles, 1, 0.0, 0)
            ones.append(_rate(ours, singles, 1, 0.0, first))
            ratios.append(ones[-1] / base)
            mixed.append(_rate(ours, singles, 1, 0.3, first + 1_000_000) / ones[-1])
            hundreds.append(_rate(ours, batches, 100, 0.0, first + 2_000_000))
        memory = next(
            int(line.split()[1]) // 1024
            for line in Path(f"/proc/{ours.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
    finally:
        bare.stop()
        ours.stop()
        shutil.rmtree(folder)
    middle = statistics.median
    return [
        ("durable requests / bare route, per CPU-second", f"{middle(ratios):.2f}", ">= 0.4"),
        ("events per CPU-second, single", f"{middle(ones):,.0f}", ">= 5,000"),
        ("events per CPU-second, batch of 100", f"{middle(hundreds):,.0f}", ">= 20,000"),
        ("rate with 30 % refused / without", f"{middle(mixed):.2f}", ">= 1.0"),
        ("peak memory of the front worker, MB", f"{memory}", "<= 150"),
    ]
