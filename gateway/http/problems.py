"""Turns every error into a problem document, and says with which status: the only such table.

It must never show a value: messages come from our own error classes or from this table, and a
field that could be a value is not repeated. Specification: RFC 9457; the members ``success`` and
``error`` are there for SDKs that read nothing else (Segment, RudderStack).
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Send

from consent.errors import (
    ConsentError,
    KeyDestroyedError,
    MalformedIdentifierError,
    MalformedSignalError,
    UnknownPurposeError,
)
from gateway.errors import (
    EngineError,
    ForbiddenError,
    GatewayError,
    IncompleteBodyError,
    MalformedPayloadError,
    NotRunningError,
    OverloadedError,
    PayloadTooLargeError,
    StoreError,
    UnknownSourceError,
    UnprocessableError,
    UnsupportedEncodingError,
)

__all__ = [
    "Headers",
    "Problem",
    "headers_of",
    "new_trace",
    "problem_of",
    "render",
    "respond",
    "response_of",
    "send_problem",
    "wire_answer",
]

Headers = list[tuple[bytes, bytes]]

_INTERNAL = "internal_error"
_MAX_RETRY_SECONDS = 5  # jitter: those turned away together shall not come back together

# code → (status, message if the error has none of its own)
_TABLE: Mapping[str, tuple[int, str]] = {
    "malformed_request": (400, "The request is not valid HTTP/1.1."),
    "malformed_payload": (400, "The body cannot be read."),
    "malformed_signal": (400, "A consent signal cannot be read."),
    "malformed_identifier": (400, "An identifier has no valid form."),
    "incomplete_body": (400, "The body ended too early."),
    "invalid_host": (400, "Exactly one valid Host header is needed."),
    "ambiguous_length": (400, "The length of the body is stated in more than one way."),
    "upgrade_refused": (400, "A request with a body cannot change the protocol here."),
    "invalid_write_key": (401, "No source has this write key."),
    "unauthorized": (401, "This needs a key."),
    "forbidden": (403, "This key may not do that."),
    "not_found": (404, "There is nothing at this address."),
    "method_not_allowed": (405, "This method is not allowed here."),
    "request_timeout": (408, "The request took too long to arrive."),
    "conflict": (409, "The request contradicts what is stored."),
    "key_destroyed": (410, "What the request names has been erased."),
    "payload_too_large": (413, "The request is over a limit."),
    "target_too_long": (414, "Path and query are too long."),
    "unsupported_encoding": (415, "The content encoding is not supported."),
    "misdirected": (421, "This host is not served here."),
    "unprocessable": (422, "The request is readable but cannot be followed."),
    "unknown_purpose": (422, "A purpose is not declared."),
    "limited": (429, "Too many requests."),
    "headers_too_large": (431, "The headers are too large or too many."),
    _INTERNAL: (500, "The request could not be processed."),
    "engine_unavailable": (503, "The engine does not answer."),
    "overloaded": (503, "There is no room for this request now."),
    "store_unavailable": (503, "The store cannot be used now."),
}

_CODE_OF_ERROR: Mapping[type[Exception], str] = {
    MalformedPayloadError: "malformed_payload",
    UnprocessableError: "unprocessable",
    ForbiddenError: "forbidden",
    PayloadTooLargeError: "payload_too_large",
    UnsupportedEncodingError: "unsupported_encoding",
    IncompleteBodyError: "incomplete_body",
    OverloadedError: "overloaded",
    UnknownSourceError: "invalid_write_key",
    StoreError: "store_unavailable",
    NotRunningError: "engine_unavailable",
    EngineError: "engine_unavailable",
    ClientDisconnect: "incomplete_body",
    MalformedSignalError: "malformed_signal",
    MalformedIdentifierError: "malformed_identifier",
    UnknownPurposeError: "unknown_purpose",
    KeyDestroyedError: "key_destroyed",
}

_CODE_OF_STATUS: Mapping[int, str] = {
    400: "malformed_payload",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_encoding",
    422: "unprocessable",
    429: "limited",
    503: "overloaded",
}

# A path of short names and indices. A name taken from the payload may itself be an address or a
# number, so signs of either make the field unfit for repetition.
_PLAIN_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}(?:\.[A-Za-z_][A-Za-z0-9_]{0,31}|\[\d+\])*")
_MANY_DIGITS = re.compile(r"\d{5}")
_MAX_FIELD = 128


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong: a stable code of the table, a message and a field without values."""

    code: str
    message: str = ""
    field: str = ""

    @property
    def status(self) -> int:
        """Return the HTTP status of this code."""
        return _TABLE[self.code][0]


def new_trace() -> str:
    """Return a fresh name that joins an answer with its log line."""
    return secrets.token_hex(8)


def problem_of(error: BaseException) -> Problem:
    """Find the problem of an error; unknown ones are internal and say nothing of themselves."""
    if isinstance(error, HTTPException):
        return Problem(_CODE_OF_STATUS.get(error.status_code, _fallback(error.status_code)))
    for kind in type(error).__mro__:
        code = _CODE_OF_ERROR.get(kind)
        if code is not None:
            message = str(error) if isinstance(error, GatewayError | ConsentError) else ""
            return Problem(code, message, getattr(error, "field", ""))
    return Problem(_INTERNAL)


def render(problem: Problem, trace: str) -> bytes:
    """Return the JSON body of a problem."""
    status, default = _TABLE[problem.code]
    message = problem.message or default
    return msgspec.json.encode(
        {
            "type": f"urn:einlass:problem:{problem.code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": problem.code,
            "message": message,
            "field": _shown(problem.field),
            "trace": trace,
            "success": False,
            "error": message,
        }
    )


def headers_of(problem: Problem, length: int) -> Headers:
    """Return the headers that belong to a problem with a body of ``length`` bytes."""
    headers: Headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % length),
    ]
    if problem.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        # whole seconds: SDKs parse no dates here
        headers.append((b"retry-after", b"%d" % (1 + secrets.randbelow(_MAX_RETRY_SECONDS))))
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"GET, HEAD, OPTIONS, POST"))
    return headers


async def send_problem(
    send: Send, problem: Problem, trace: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer one ASGI request with a problem."""
    body = render(problem, trace)
    both = [*headers_of(problem, len(body)), *headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": both})
    await send({"type": "http.response.body", "body": body})


def response_of(problem: Problem, trace: str | None = None) -> Response:
    """Return a problem as a Starlette response."""
    body = render(problem, trace or new_trace())
    response = Response(body, status_code=problem.status)
    response.raw_headers = headers_of(problem, len(body))
    return response


def respond(_request: Request, error: Exception) -> Response:
    """Answer any error; fits Starlette's ``exception_handlers``."""
    response = response_of(problem_of(error))
    allow = (error.headers or {}).get("Allow") if isinstance(error, HTTPException) else None
    if allow:
        response.headers["allow"] = allow
    return response


def wire_answer(problem: Problem, trace: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a whole HTTP/1.1 answer that ends its connection, for a request with no cycle."""
    body = render(problem, trace)
    line = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode()
    fields = [*headers_of(problem, len(body)), *headers, (b"connection", b"close")]
    return b"".join([line, *(b"%b: %b\r\n" % pair for pair in fields), b"\r\n", body])


def _fallback(status: int) -> str:
    server_side = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _INTERNAL if server_side else "malformed_payload"


def _shown(field: str) -> str:
    fits = len(field) <= _MAX_FIELD and _PLAIN_FIELD.fullmatch(field)
    return field if fits and not _MANY_DIGITS.search(field) else ""
