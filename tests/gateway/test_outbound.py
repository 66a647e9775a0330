"""The outbound port: S14-S17 of the security list, with hostile addresses and hostile servers."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DestinationError
from gateway.outbound import (
    Endpoint,
    Outbound,
    OutboundLimits,
    Resolve,
    _system_resolve,
    endpoint,
    is_public,
)
from segments.errors import DestinationRejectedError

PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


class Wire(httpx.AsyncBaseTransport):
    """Stands where the network is: notes each request and where it would have gone."""

    def __init__(self, *failing: str) -> None:
        self.sent: list[httpx.Request] = []
        self._failing = failing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        if request.url.host in self._failing:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))


def resolving(*addresses: str) -> Resolve:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


def sent(url: str, wire: Wire, resolve: Resolve | None = None, target: str = "") -> httpx.Response:
    async def run() -> httpx.Response:
        asked = resolve or _system_resolve
        async with Outbound(Endpoint(target or url), wire=wire, resolve=asked) as outbound:
            return await outbound.send(httpx.Request("POST", url, content=b"{}"))

    return asyncio.run(run())


HOSTILE = [
    "http://graph.facebook.com/",
    "ftp://graph.facebook.com/",
    "file:///etc/passwd",
    "gopher://graph.facebook.com/",
    "//graph.facebook.com/",
    "https:///path",
    "https://user:secret@graph.facebook.com/",
    "https://graph.facebook.com@127.0.0.1/",
    "https://graph.facebook.com:22/",
    "https://graph.facebook.com:8080/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.8/",
    "https://172.16.4.4/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.0.170/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.8]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://router.home.arpa/",
    "https://app.localhost/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://\uff11\uff12\uff17.0.0.1/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_address_is_refused_before_any_byte(url: str) -> None:
    wire = Wire()
    with pytest.raises((DestinationRejectedError, httpx.InvalidURL, httpx.UnsupportedProtocol)):
        sent(url, wire)
    assert wire.sent == []


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_address_is_no_setting_either(url: str) -> None:
    try:
        found = endpoint(url, "graph.facebook.com", 8089)
    except DestinationError:
        return
    wire = Wire()
    with pytest.raises((DestinationRejectedError, httpx.InvalidURL)):
        sent(found.url, wire)
    assert wire.sent == []


@pytest.mark.parametrize("addresses", [("127.0.0.1",), (PUBLIC, "10.0.0.1"), ("::1", PUBLIC), ()])
def test_name_is_refused_unless_every_address_is_public(addresses: tuple[str, ...]) -> None:
    wire = Wire()
    with pytest.raises(DestinationRejectedError):
        sent("https://api.example/", wire, resolving(*addresses))
    assert wire.sent == []


def test_rebinding_name_is_resolved_once_and_the_checked_address_is_used() -> None:
    turns = iter([(PUBLIC,), ("127.0.0.1",)])
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return next(turns)

    wire = Wire()
    sent("https://api.example/v1", wire, rebinding)
    assert asked == ["api.example"]
    assert [request.url.host for request in wire.sent] == [PUBLIC]


def test_host_header_and_sni_keep_the_name() -> None:
    wire = Wire()
    sent("https://api.example:8443/v1?a=b", wire, resolving(PUBLIC_6))
    (request,) = wire.sent
    assert request.url.host == PUBLIC_6
    assert str(request.url.raw_path, "ascii") == "/v1?a=b"
    assert request.headers["host"] == "api.example:8443"
    assert request.extensions["sni_hostname"] == "api.example"


def test_next_address_is_tried_where_one_does_not_answer() -> None:
    wire = Wire("8.8.8.8")
    assert sent("https://api.example/", wire, resolving("8.8.8.8", PUBLIC)).status_code == 200
    assert [request.url.host for request in wire.sent] == ["8.8.8.8", PUBLIC]


def test_unreachable_everywhere_is_a_connect_error() -> None:
    with pytest.raises(httpx.ConnectError):
        sent("https://api.example/", Wire(PUBLIC), resolving(PUBLIC))


def test_name_that_does_not_resolve_is_a_connect_error() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    with pytest.raises(httpx.ConnectError):
        sent("https://api.example/", Wire(), resolve)


def test_only_the_destinations_own_host_is_reached() -> None:
    wire = Wire()
    with pytest.raises(DestinationRejectedError):
        sent("https://other.example/", wire, resolving(PUBLIC), target="https://api.example/")
    assert wire.sent == []


@pytest.mark.parametrize("text", [PUBLIC, PUBLIC_6, "::ffff:8.8.8.8", "1.1.1.1"])
def test_public_address_may_be_reached(text: str) -> None:
    assert is_public(text)


@given(st.ip_addresses())
def test_private_loopback_and_multicast_are_never_public(address: object) -> None:
    flags = ("is_private", "is_loopback", "is_multicast", "is_link_local", "is_unspecified")
    if any(getattr(address, flag) for flag in flags):
        assert not is_public(str(address)) or "::ffff" in str(address)


def test_something_else_than_an_address_is_not_public() -> None:
    assert not is_public("localhost")


def test_sandbox_means_loopback_and_is_private() -> None:
    assert endpoint("sandbox", "graph.facebook.com", 9) == Endpoint(
        "http://127.0.0.1:9", private=True
    )


def test_no_endpoint_means_the_platforms_own() -> None:
    assert endpoint("", "graph.facebook.com", 9) == Endpoint("https://graph.facebook.com")


def test_private_endpoint_needs_the_operators_word() -> None:
    with pytest.raises(DestinationError):
        endpoint("http://127.0.0.1:9", "graph.facebook.com", 9)
    allowed = endpoint("http://127.0.0.1:9", "graph.facebook.com", 9, allow_private=True)
    assert allowed == Endpoint("http://127.0.0.1:9", private=True)


@pytest.mark.parametrize("url", ["http://u:p@127.0.0.1/", "file:///etc/passwd", "127.0.0.1:9", ":"])
def test_operators_word_does_not_admit_everything(url: str) -> None:
    with pytest.raises(DestinationError):
        endpoint(url, "graph.facebook.com", 9, allow_private=True)


@given(st.sampled_from("\r\n\0"), st.text(max_size=5), st.text(max_size=5))
def test_line_breaks_never_reach_header_or_address(bad: str, left: str, right: str) -> None:
    text = f"{left}{bad}{right}"
    with pytest.raises((httpx.InvalidURL, ValueError)):
        httpx.URL(f"https://api.example/{text}")
    with pytest.raises((httpx.LocalProtocolError, UnicodeEncodeError)):
        asyncio.run(_with_header(text))


async def _with_header(text: str) -> None:
    wire = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    wire._pool = httpcore.AsyncConnectionPool(network_backend=httpcore.AsyncMockBackend([]))
    async with Outbound(Endpoint("http://x.example", private=True), wire=wire) as outbound:
        request = httpx.Request("POST", "http://x.example", headers={"X-Token": text})
        await outbound.send(request)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _answering(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return handler


@contextlib.asynccontextmanager
async def _served(handler: Handler) -> AsyncIterator[int]:
    """Serve on a free port; every connection is closed at the end of the block."""
    running: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.ensure_future(one(reader, writer)))

    async with await asyncio.start_server(accepted, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await asyncio.wait_for(asyncio.gather(*running), 20)


def _exchange(handler: Handler, limits: OutboundLimits | None = None) -> httpx.Response:
    async def run() -> httpx.Response:
        async with _served(handler) as port:
            url = f"http://127.0.0.1:{port}"
            async with Outbound(Endpoint(url, private=True), limits) as outbound:
                return await outbound.send(httpx.Request("POST", url, content=b"{}"))

    return asyncio.run(run())


def test_answer_is_read_whole() -> None:
    answer = _exchange(_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"))
    assert (answer.status_code, answer.text) == (200, "body")


def test_redirect_is_an_answer_and_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert _exchange(_answering(answer)).status_code == 302


def test_answer_over_the_limit_is_not_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    with pytest.raises(httpx.DecodingError):
        _exchange(_answering(head + b"a" * 2_000_000))


def test_compressed_answer_is_not_inflated() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    with pytest.raises(httpx.DecodingError):
        _exchange(_answering(head))


def test_dripping_answer_ends_with_the_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" * 10:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(httpx.ReadTimeout):
        _exchange(drip, limits=OutboundLimits(total_seconds=0.3))


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    answer = _exchange(_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    assert answer.status_code == 200


def test_cancelling_a_request_closes_its_connection() -> None:
    async def run() -> bytes:
        arrived, closed = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"{}")
            arrived.set()
            closed.set_result(await reader.read())

        async with _served(never) as port:
            url = f"http://127.0.0.1:{port}"
            async with Outbound(Endpoint(url, private=True)) as outbound:
                request = httpx.Request("POST", url, content=b"{}")
                sending = asyncio.ensure_future(outbound.send(request))
                await arrived.wait()
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                found: bytes = await asyncio.wait_for(closed, 5)
                return found

    assert asyncio.run(run()) == b""
