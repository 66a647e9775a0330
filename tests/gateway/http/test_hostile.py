"""Raw sockets against a real server: never a 5xx, never an answer to a smuggled request."""

import gzip
import json
import resource
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.http.protocol import WireBounds
from tests.gateway.http.live import (
    ORIGIN,
    Echo,
    Live,
    listen,
    only_status,
    post,
    running,
    seconds_since,
    statuses,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "json" / "rfc8259.json"
HOST = b"Host: t.shop.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t.shop.example\r\n\r\n"
HURRIED = WireBounds(head_seconds=0.3, request_seconds=0.6, idle_seconds=0.3, sweep_seconds=0.05)


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def live(request: pytest.FixtureRequest, echo: Echo) -> Iterator[Live]:
    with running(echo, loop=request.param) as server:
        yield server


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def hurried(request: pytest.FixtureRequest) -> Iterator[Live]:
    with running(bounds=HURRIED, loop=request.param) as server:
        yield server


def test_ordinary_request_is_answered(live: Live) -> None:
    assert live.status(post()) == 200


def test_two_pipelined_requests_get_two_answers(live: Live) -> None:
    assert statuses(live.talk(post() + post())) == [200, 200]


# Length and framing


def _framed(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST /v1/track HTTP/" + version + b"\r\n" + HOST
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


FRAMINGS = {
    "length and coding": _framed(
        b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "coding and length": _framed(
        b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"
    ),
    "two equal lengths": _framed(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"),
    "two lengths": _framed(b"Content-Length: 2", b"Content-Length: 60", body=b"{}"),
    "list of lengths": _framed(b"Content-Length: 2, 2", body=b"{}"),
    "signed length": _framed(b"Content-Length: +2", body=b"{}"),
    "negative length": _framed(b"Content-Length: -2", body=b"{}"),
    "hexadecimal length": _framed(b"Content-Length: 0x2", body=b"{}"),
    "huge length": _framed(b"Content-Length: 99999999999999999999999", body=b"{}"),
    "folded coding": _framed(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 2", body=b"{}"),
    "two codings": _framed(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "stacked coding": _framed(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "unknown coding": _framed(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "space before colon": _framed(b"Content-Length : 2", body=b"{}"),
    "coding in HTTP/1.0": _framed(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0"),
    "bare line feeds": b"POST /v1/track HTTP/1.1\nHost: t.shop.example\nContent-Length: 2\n\n{}",
    "NUL in a header": _framed(b"X: a\x00b", b"Content-Length: 2", body=b"{}"),
    "carriage return in a header": _framed(b"X: a\rb", b"Content-Length: 2", body=b"{}"),
    "chunk size with sign": _framed(b"Transfer-Encoding: chunked", body=b"+2\r\n{}\r\n0\r\n\r\n"),
    "chunk size not hexadecimal": _framed(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"),
    "chunk size too long": _framed(b"Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n{}"),
    "chunk longer than stated": _framed(b"Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n"),
    "protocol change with a body": _framed(
        b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 49", body=SMUGGLED
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_unsound_framing_is_refused_and_nothing_after_it_is_read(
    live: Live, echo: Echo, name: str
) -> None:
    echo.seen.clear()
    assert live.status(FRAMINGS[name] + SMUGGLED, SMUGGLED) == 400
    assert "/smuggled" not in echo.seen


def test_chunked_body_is_read_and_its_trailers_are_not(live: Live) -> None:
    chunks = b"1;ext=1\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: x\r\n\r\n"
    assert live.status(_framed(b"Transfer-Encoding: Chunked", body=chunks)) == 200


def test_endless_trailer_is_cut_off(live: Live) -> None:
    start = _framed(b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nX: ")
    assert 400 <= live.status(start, *[b"y" * 60_000] * 20) < 500


def test_endless_chunk_extension_is_cut_off(live: Live) -> None:
    start = _framed(b"Transfer-Encoding: chunked", body=b"2;")
    assert live.status(start, *[b"y" * 60_000] * 20) in {400, 431}


def test_broken_chunk_after_a_good_one_is_refused(live: Live) -> None:
    request = _framed(b"Transfer-Encoding: chunked", body=b"1\r\n{\r\n")
    with live.connect() as sock:
        sock.sendall(request)
        time.sleep(0.05)
        sock.sendall(b"not a chunk\r\n" + SMUGGLED)
        assert only_status(listen(sock, 0.3)) == 400


def test_request_after_one_that_closes_is_not_answered(live: Live, echo: Echo) -> None:
    echo.seen.clear()
    assert live.status(post(b"{}", "Connection: close") + SMUGGLED) == 200
    assert "/smuggled" not in echo.seen


def test_protocol_change_without_a_body_is_ignored_and_the_connection_ends(live: Live) -> None:
    request = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert live.status(request + SMUGGLED, SMUGGLED) == 200


def test_broken_request_behind_one_under_way_does_not_answer_for_it(live: Live) -> None:
    assert statuses(live.talk(post() + b"\x00\x01broken\r\n\r\n")) == [200]


def test_expecting_client_gets_its_go_ahead_then_its_answer(live: Live) -> None:
    with live.connect() as sock:
        sock.sendall(post(b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 2"))
        assert sock.recv(1_000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert only_status(listen(sock, 0.3)) == 200


# Host, target, method, headers


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        HOST * 2,
        HOST + b"Host: evil.example\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: shop.example/x\r\n",
        b"Host: user@shop.example\r\n",
        b"Host: shop.example:port\r\n",
        b"Host: shop.example:123456\r\n",
        b"Host: [::1\r\n",
        b"Host: shop.example, evil.example\r\n",
        b"Host: -shop.example\r\n",
    ],
)
def test_anything_but_one_valid_host_is_refused(live: Live, lines: bytes) -> None:
    assert live.status(b"GET / HTTP/1.1\r\n" + lines + b"\r\n") == 400


@pytest.mark.parametrize(
    "host", [b"shop.example:8080", b"[::1]:80", b"127.0.0.1", b"shop.example."]
)
def test_valid_host_is_served(live: Live, host: bytes) -> None:
    assert live.status(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 200


@pytest.mark.parametrize(
    "method", [b"TRACE", b"TRACK", b"DELETE", b"PUT", b"PATCH", b"QUERY", b"get"]
)
def test_other_methods_are_not_allowed(live: Live, method: bytes) -> None:
    answer = live.talk(method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert only_status(answer) == 405
    assert b"\r\nallow: GET, HEAD, OPTIONS, POST\r\n" in answer


def test_tunnel_is_not_opened(live: Live) -> None:
    assert live.status(b"CONNECT t:1 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED, SMUGGLED) == 405


@pytest.mark.parametrize("version", [b"9.9", b"1.2", b"0.9", b"2.0", b"1", b"1.1.1", b"x.y"])
def test_other_versions_are_refused(live: Live, version: bytes) -> None:
    assert live.status(b"GET / HTTP/" + version + b"\r\n" + HOST + b"\r\n") == 400


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 64,
    ],
)
def test_other_protocols_get_a_client_error(live: Live, bytes_: bytes) -> None:
    assert 400 <= live.status(bytes_) < 500


def test_target_that_is_no_path_is_refused(live: Live) -> None:
    assert live.status(b"GET \xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n") == 400


@pytest.mark.parametrize("length", [4_200, 30_000, 300_000])
def test_long_target_is_refused(live: Live, length: int) -> None:
    assert live.status(b"GET /" + b"a" * length + b" HTTP/1.1\r\n" + HOST + b"\r\n") == 414


@pytest.mark.parametrize("length", [17_000, 128_000, 2_000_000])
def test_long_header_is_refused(live: Live, length: int) -> None:
    assert live.status(b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * length + b"\r\n\r\n") == 431


@pytest.mark.parametrize("count", [64, 5_000])
def test_too_many_headers_are_refused(live: Live, count: int) -> None:
    lines = b"".join(b"X%d: a\r\n" % i for i in range(count))
    assert live.status(b"GET / HTTP/1.1\r\n" + HOST + lines + b"\r\n") == 431


def test_largest_allowed_head_is_served(live: Live) -> None:
    lines = b"".join(b"X%02d: %b\r\n" % (i, b"a" * 250) for i in range(62))
    assert live.status(b"GET /?" + b"a" * 4_090 + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n") == 200


def test_refusals_carry_no_server_name_and_the_security_headers(live: Live) -> None:
    answer = live.talk(b"broken\r\n\r\n").lower()
    assert b"server:" not in answer
    assert b"x-content-type-options: nosniff" in answer
    assert b"content-type: application/problem+json" in answer


def test_refusal_repeats_nothing_of_the_request(live: Live) -> None:
    assert b"canary" not in live.talk(b"GET /canary HTTP/1.1\r\nX-canary: canary\r\n\r\n")


def test_error_answer_can_be_read_by_an_allowed_page(live: Live) -> None:
    answer = live.talk(post(b"[", f"Origin: {ORIGIN}"))
    assert only_status(answer) == 400
    assert b"access-control-allow-origin: " + ORIGIN.encode() in answer


# Bodies


def _peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("header", [(), ("Content-Encoding: gzip",)])
def test_bomb_is_refused_within_bounded_memory(live: Live, header: tuple[str, ...]) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    million = b" " * 1_000_000
    bomb = b"".join(packer.compress(million) for _ in range(128)) + packer.flush()
    before = _peak_kilobytes()
    assert live.status(post(bomb, *header)) == 413
    assert _peak_kilobytes() - before < 64_000


def test_declared_oversize_is_refused_before_it_is_sent(live: Live) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1048577\r\n\r\n"
    assert live.status(head) == 413


def test_oversize_in_chunks_is_refused(live: Live) -> None:
    chunks = [b"10000\r\n" + b"a" * 65_536 + b"\r\n"] * 40
    assert live.status(_framed(b"Transfer-Encoding: chunked"), *chunks) == 413


def test_body_cut_short_gets_no_server_error(live: Live) -> None:
    with live.connect() as sock:
        sock.sendall(post(b"{}").replace(b"Length: 2", b"Length: 200"))
        sock.shutdown(socket.SHUT_WR)
        assert all(400 <= status < 500 for status in statuses(listen(sock, 0.3)))


def test_reset_in_the_middle_leaves_the_server_serving(live: Live) -> None:
    with live.connect() as sock:
        sock.sendall(post(b"{}").replace(b"Length: 2", b"Length: 200"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert live.status(post()) == 200


def test_no_text_that_is_not_json_is_accepted_or_breaks_the_server(live: Live) -> None:
    for case in json.loads(VECTORS.read_text("utf-8"))["reject"]:
        raw = bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode()
        if raw:
            assert live.status(post(raw, "Connection: close")) == 400, case["name"]


def test_text_nested_a_hundred_thousand_deep_is_refused(live: Live) -> None:
    assert live.status(post(b"[" * 100_000 + b"]" * 100_000)) == 400


def test_packed_body_is_read(live: Live) -> None:
    assert live.status(post(gzip.compress(b"{}"), "Content-Encoding: gzip")) == 200


# Time


def test_slow_head_is_cut_without_an_answer(hurried: Live) -> None:
    with hurried.connect() as sock:
        start = time.monotonic()
        sock.sendall(b"GET / HTTP/1.1\r\n")
        assert listen(sock, 5) == b""
        assert 0.2 < seconds_since(start) < 2


def test_head_that_trickles_is_cut_at_the_same_instant(hurried: Live) -> None:
    start = time.monotonic()
    with hurried.connect() as sock:
        _trickle(sock, b"\r\n", 5)
        _trickle(sock, b"X", 100)
    assert seconds_since(start) < 1.5


def test_slow_body_is_told_so(hurried: Live) -> None:
    with hurried.connect() as sock:
        start = time.monotonic()
        sock.sendall(post(b"{}").replace(b"Length: 2", b"Length: 200"))
        assert only_status(listen(sock, 5)) == 408
        assert 0.4 < seconds_since(start) < 2


def test_body_that_trickles_in_chunks_is_cut(hurried: Live) -> None:
    with hurried.connect() as sock:
        start = time.monotonic()
        sock.sendall(_framed(b"Transfer-Encoding: chunked"))
        trickle = threading.Thread(target=_trickle, args=(sock, b"1\r\n \r\n", 100))
        trickle.start()
        assert only_status(listen(sock, 5)) == 408
        trickle.join()
        assert seconds_since(start) < 3


def _trickle(sock: socket.socket, piece: bytes, count: int) -> None:
    try:
        for _ in range(count):
            sock.sendall(piece)
            time.sleep(0.02)
    except OSError:
        return


def test_idle_connection_is_closed(hurried: Live) -> None:
    with hurried.connect() as sock:
        sock.sendall(post())
        start = time.monotonic()
        assert only_status(listen(sock, 5)) == 200
        assert 0.2 < seconds_since(start) < 2


def test_request_in_pieces_within_the_time_is_served(hurried: Live) -> None:
    request = post(b"{}", "Connection: close")
    with hurried.connect() as sock:
        for place in range(0, len(request), 20):
            sock.sendall(request[place : place + 20])
            time.sleep(0.005)
        assert only_status(listen(sock, 5)) == 200


def test_body_that_ends_after_its_answer_leaves_the_connection_in_step(hurried: Live) -> None:
    oversize = 1_048_577
    with hurried.connect() as sock:
        sock.sendall(post(b"").replace(b"Length: 0", b"Length: %d" % oversize))
        assert sock.recv(10_000).startswith(b"HTTP/1.1 413 ")
        sock.sendall(b" " * oversize + post(b"{}", "Connection: close"))
        assert only_status(listen(sock, 5)) == 200


def test_body_that_never_ends_after_its_answer_is_dropped_in_silence(hurried: Live) -> None:
    with hurried.connect() as sock:
        sock.sendall(post(b"").replace(b"Length: 0", b"Length: 1048577"))
        assert only_status(listen(sock, 5)) == 413


# Crowds


def test_full_server_turns_away_but_hears_withdrawals() -> None:
    with running(bounds=WireBounds(connections=8)) as live:
        waiting = [live.connect() for _ in range(8)]
        try:
            turned_away = live.talk(post())
            withdrawal = live.status(post(path="/v1/consent/withdraw"))
        finally:
            for sock in waiting:
                sock.close()
    assert only_status(turned_away) == 503
    assert b"\r\nretry-after: " in turned_away
    assert withdrawal == 200


def test_more_than_full_server_turns_away_before_it_reads() -> None:
    with running(bounds=WireBounds(connections=8)) as live:
        waiting = [live.connect() for _ in range(9)]
        try:
            assert live.status(b"") == 503
        finally:
            for sock in waiting:
                sock.close()


def test_server_answers_others_while_many_dawdle(hurried: Live) -> None:
    slow = [hurried.connect() for _ in range(50)]
    for sock in slow:
        sock.sendall(b"POST /")
    start = time.monotonic()
    assert hurried.status(post(b"{}", "Connection: close")) == 200
    assert seconds_since(start) < 2
    for sock in slow:
        sock.close()
