"""Decides whether a request may reach the application at all, and what every answer carries.

It reads the request line and headers in one pass, no body, no value of the payload. It is pure
ASGI: it holds with any server. Specification: RFC 9110 sections 7.2 and 9.1, RFC 9112 sections
3.2 and 6.1, ASVS 5.0 4.1.4, 4.2.1, 13.4.4, 15.2.2.
"""

import re
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.cors import Cors
from gateway.http.problems import Problem, new_trace, problem_of, send_problem

__all__ = [
    "COLLECTOR_METHODS",
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_TARGET_BYTES",
    "OVERLOADED",
    "SECURITY_HEADERS",
    "Guard",
    "Headers",
]

Headers = list[tuple[bytes, bytes]]

COLLECTOR_METHODS = frozenset({"GET", "POST", "OPTIONS", "HEAD"})
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16_384
MAX_TARGET_BYTES = 4_096
# The server sets this in the scope of a request that it wants turned away.
OVERLOADED = "einlass.overloaded"

_VERSIONS = ("1.1", "1.0", "2", "3")
_NO_STORE = (b"cache-control", b"no-store")
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_CLOSE = ((b"connection", b"close"),)
_POSTED: list[tuple[bytes, bytes]] = [(b"x-content-type-options", b"nosniff")]
_VARY = (b"vary", b"Origin")
_HOST = re.compile(
    rb"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?)"
    rb"(?::[0-9]{1,5})?"
)
_MAX_KNOWN_HOSTS = 256

_log = structlog.get_logger()


class Guard:
    """ASGI application around another one.

    ``trusted_hosts`` are names without a port; if there are none, any valid Host will do.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        trusted_hosts: Collection[str] = (),
        methods: Collection[str] = COLLECTOR_METHODS,
        cors: Cors | None = None,
        trace: Callable[[], str] = new_trace,
    ) -> None:
        self._app = app
        self._trusted = frozenset(host.lower().rstrip(".").encode() for host in trusted_hosts)
        self._methods = frozenset(methods)
        self._cors = cors
        self._trace = trace
        self._known_hosts: set[bytes] = set()
        self._headers = [*SECURITY_HEADERS] if cors is None else [*SECURITY_HEADERS, _VARY]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, answer a preflight, or pass on; answer 500 to what the application raises."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        problem, origin = self._judge(scope)
        # What a program posts is in no browser and no cache stores the answer (RFC 9110 9.3.3).
        posted = origin is None and scope["method"] == "POST"
        answer = _Answer(send, _posted_headers if posted else self._dress(scope, origin))
        if problem is not None:
            # What is unsound in itself leaves in doubt where the next request begins.
            extra = _CLOSE if problem.status == HTTPStatus.BAD_REQUEST else ()
            await send_problem(answer.send, problem, self._trace(), extra)
            return
        if origin is not None and self._cors is not None:
            preflight = self._cors.preflight(scope, origin)
            if preflight is not None:
                await _send_no_content(answer.send, preflight)
                return
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - the ASGI boundary
            await self._answer_error(error, answer)

    def _dress(self, scope: Scope, origin: bytes | None) -> Callable[[], Headers]:
        """Return what gives an answer its headers; asked late, when the source is known."""
        cors = self._cors
        if cors is None or origin is None:
            return self._plain_headers
        return lambda: [*self._headers, *cors.answer(scope, origin)]

    def _plain_headers(self) -> Headers:
        return self._headers

    async def _answer_error(self, error: Exception, answer: "_Answer") -> None:
        """Answer what the application left unanswered; an answer begun is cut, not completed."""
        problem = problem_of(error)
        trace = self._trace()
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = type(error).__name__
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{last.filename}:{last.lineno}"
            _log.error("request_failed", code=problem.code, error=kind, where=where, trace=trace)
        if not answer.started:
            await send_problem(answer.send, problem, trace)

    def _judge(self, scope: Scope) -> tuple[Problem | None, bytes | None]:
        """Return the problem, if there is one, and the Origin, if there is one."""
        size = hosts = origins = framings = 0
        host = b""
        origin: bytes | None = None
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"host":
                hosts += 1
                host = value
            elif name == b"origin":
                origins += 1
                origin = value
            elif name == b"content-length":
                framings += 1
            elif name == b"transfer-encoding":
                framings += (
                    1 if value.lower() == b"chunked" and scope["http_version"] != "1.0" else 2
                )
        if hosts != 1:
            host = b""
        return self._problem(scope, size, framings, host), origin if origins == 1 else None

    def _problem(self, scope: Scope, size: int, framings: int, host: bytes) -> Problem | None:
        problem: Problem | None = None
        if size > MAX_HEADER_BYTES or len(scope["headers"]) > MAX_HEADERS:
            problem = Problem("headers_too_large")
        elif scope["http_version"] not in _VERSIONS:
            problem = Problem("malformed_request")
        elif len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET_BYTES:
            problem = Problem("target_too_long")
        elif framings > 1:
            problem = Problem("ambiguous_length", field="transfer_encoding")
        elif host not in self._known_hosts and not self._is_known(host):
            problem = Problem("misdirected" if _HOST.fullmatch(host) else "invalid_host")
        elif scope["method"] not in self._methods:
            problem = Problem("method_not_allowed")
        elif OVERLOADED in scope:
            problem = Problem("overloaded")
        return problem

    def _is_known(self, host: bytes) -> bool:
        matched = _HOST.fullmatch(host)
        if matched is None or (self._trusted and _plain(matched["name"]) not in self._trusted):
            return False
        if len(self._known_hosts) < _MAX_KNOWN_HOSTS:
            self._known_hosts.add(host)
        return True


class _Answer:
    """One answer on its way out: adds the headers, and remembers that it has begun."""

    __slots__ = ("_headers", "_send", "started")

    def __init__(self, send: Send, headers: Callable[[], Headers]) -> None:
        self._send = send
        self._headers = headers
        self.started = False

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.started = True
            own = message.get("headers", ())
            headers = [*own, *self._headers()]
            if self._headers is not _posted_headers and not _names_cache(own):
                headers.append(_NO_STORE)
            message["headers"] = headers
        return self._send(message)


def _posted_headers() -> Headers:
    return _POSTED


def _names_cache(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"cache-control" for name, _ in headers)


async def _send_no_content(send: Send, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _plain(name: bytes) -> bytes:
    return name.lower().rstrip(b".")
