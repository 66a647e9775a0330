"""The one HTTP port to the outside: sends a request only to an address that was checked.

Resolves once, refuses unless every address is public, connects to the checked address and keeps
Host and SNI. No redirects, no proxy from the environment, bounded answer and time. Cancelling
``send`` closes the connection. Source: OWASP ASVS 5.0.0 1.3.6, 13.2.4, 13.2.5 and 15.3.2.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpx

from gateway.errors import DestinationError
from segments.errors import DestinationRejectedError

__all__ = ["Endpoint", "Outbound", "OutboundLimits", "Resolve", "endpoint", "is_public"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) → addresses as text; raises ``OSError`` where the name does not resolve."""

_PORTS: Final = frozenset({443, 8443})
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "home.arpa")
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays, deprecated (RFC 7526)
        "64:ff9b::/96",  # NAT64: an IPv4 address in disguise (RFC 6052)
        "64:ff9b:1::/48",  # local NAT64 (RFC 8215)
        "2001::/23",  # Teredo and other protocol assignments (RFC 2928)
        "2002::/16",  # 6to4: an IPv4 address in disguise (RFC 3056)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundLimits:
    """Seconds and bytes. ``total_seconds`` bounds one exchange, whatever the other end drips."""

    connect_seconds: float = 5.0
    write_seconds: float = 15.0
    read_seconds: float = 15.0
    total_seconds: float = 30.0
    max_answer_bytes: int = 1_048_576
    max_connections: int = 4


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a destination lives. ``private`` is True only where the operator said so."""

    url: str
    private: bool = False


def endpoint(
    configured: str, host: str, sandbox_port: int, *, allow_private: bool = False
) -> Endpoint:
    """Turn the ``endpoint`` setting into a base address: ``sandbox``, empty, or a URL.

    Raises:
        DestinationError: a private or plain-text address without ``allow_private``, or no URL.
    """
    if configured == "sandbox":
        return Endpoint(f"http://127.0.0.1:{sandbox_port}", private=True)
    if not configured:
        return Endpoint(f"https://{host}")
    try:
        url = httpx.URL(configured)
        if not allow_private:
            _check_form(url)
    except (httpx.InvalidURL, DestinationRejectedError) as error:
        raise DestinationError("endpoint: not a public https address") from error
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
        raise DestinationError("endpoint: not a plain http or https address")
    return Endpoint(str(url), private=allow_private)


def is_public(text: str) -> bool:
    """Say whether an address may be connected to; a form that hides an address may not."""
    try:
        address: _Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is not None:
            return is_public(str(mapped))
        if address.is_site_local or address.scope_id is not None:
            return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(
        address in network for network in _NOT_PUBLIC if network.version == address.version
    )


async def _system_resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _check_form(url: httpx.URL) -> None:
    """Refuse a URL by its form alone.

    Raises:
        DestinationRejectedError: not https, another port, user info, or a local name.
    """
    name = url.host.rstrip(".").lower()
    if url.scheme != "https" or not name:
        raise DestinationRejectedError("not an https address", "address_scheme")
    if url.userinfo:
        raise DestinationRejectedError("user info in the address", "address_userinfo")
    if (url.port or 443) not in _PORTS:
        raise DestinationRejectedError("port not allowed", "address_port")
    if any(name == local or name.endswith(f".{local}") for local in _LOCAL_NAMES):
        raise DestinationRejectedError("a local name", "address_local")


class _Checked(httpx.AsyncBaseTransport):
    """Pins each request to a checked address of the one host it is made for.

    One host only: a connection pool finds connections by address, and two names on one address
    must not share a connection whose certificate was checked for the other.
    """

    def __init__(self, target: Endpoint, resolve: Resolve, wire: httpx.AsyncBaseTransport) -> None:
        self._target = httpx.URL(target.url)
        self._private = target.private
        self._resolve = resolve
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if _origin(url) != _origin(self._target):
            raise DestinationRejectedError("not the destination's address", "address_host")
        if self._private:
            return await self._wire.handle_async_request(request)
        _check_form(url)
        host = url.raw_host.decode("ascii")
        addresses = await self._addresses(host, url.port or 443)
        return await self._first_reachable(request, host, addresses)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except OSError as error:
            raise httpx.ConnectError("the name does not resolve") from error
        if not addresses or not all(is_public(address) for address in addresses):
            raise DestinationRejectedError("not a public address", "address_refused")
        return addresses

    async def _first_reachable(
        self, request: httpx.Request, host: str, addresses: list[str]
    ) -> httpx.Response:
        failed: httpx.TransportError = httpx.ConnectError("no address")
        for address in addresses:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._wire.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed

    async def aclose(self) -> None:
        await self._wire.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _pool(limits: OutboundLimits) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        trust_env=False,
        limits=httpx.Limits(max_connections=limits.max_connections, keepalive_expiry=20.0),
    )


class Outbound:
    """Sends to one destination. ``send`` has the shape that ``segments.export.drive`` takes."""

    def __init__(
        self,
        target: Endpoint,
        limits: OutboundLimits | None = None,
        *,
        resolve: Resolve = _system_resolve,
        wire: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or OutboundLimits()
        self._client = httpx.AsyncClient(
            transport=_Checked(target, resolve, wire or _pool(self._limits)),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(
                connect=self._limits.connect_seconds,
                write=self._limits.write_seconds,
                read=self._limits.read_seconds,
                pool=self._limits.total_seconds,
            ),
        )

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return the answer with its body read.

        Raises:
            DestinationRejectedError: the address is not one we connect to; nothing was sent.
            httpx.HTTPError: transport failed, or the answer is over a limit.
        """
        request.headers["Accept-Encoding"] = "identity"
        request.headers.setdefault("User-Agent", "einlass")
        request.extensions = {**request.extensions, "timeout": self._client.timeout.as_dict()}
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise httpx.ReadTimeout("no whole answer in time", request=request) from error
        return httpx.Response(
            response.status_code, headers=response.headers, content=body, request=request
        )

    async def _body(self, response: httpx.Response) -> bytes:
        # A compressed answer was not asked for; inflating it could pass the limit in one step.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx.DecodingError("compressed answer", request=response.request)
        body = bytearray()
        chunks: AsyncIterator[bytes] = response.aiter_raw()
        async for chunk in chunks:
            body += chunk
            if len(body) > self._limits.max_answer_bytes:
                raise httpx.DecodingError("answer over the limit", request=response.request)
        return bytes(body)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
