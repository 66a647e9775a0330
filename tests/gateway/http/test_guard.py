import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import StoreBrokenError
from gateway.http.cors import Cors, name_source
from gateway.http.guard import OVERLOADED, Guard

ORIGIN = "https://shop.example"


@dataclass
class Answered:
    """What an application sent."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def _scope(method: str = "POST", host: str = "t.shop.example", **more: Any) -> Scope:  # noqa: ANN401 - ASGI's scope
    headers = [(name.encode(), value.encode()) for name, value in more.pop("headers", ())]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "raw_path": b"/v1/track",
        "query_string": b"",
        "headers": [(b"host", host.encode()), *headers],
        **more,
    }


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _ask(guard: ASGIApp, scope: Scope) -> Answered:
    answered = Answered()
    asyncio.run(_call(guard, scope, answered))
    return answered


async def _call(guard: ASGIApp, scope: Scope, answered: Answered) -> None:
    await guard(scope, _nothing, answered.send)


def _app(*headers: tuple[bytes, bytes], error: Exception | None = None) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if error is not None:
            raise error
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def test_sound_request_is_passed_on() -> None:
    assert _ask(Guard(_app()), _scope()).status == 200


def test_answers_carry_the_security_headers() -> None:
    headers = _ask(Guard(_app()), _scope("GET")).headers
    assert headers == {
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"cache-control": b"no-store",
    }


def test_an_answer_to_a_program_that_posts_carries_only_what_can_matter_to_it() -> None:
    headers = _ask(Guard(_app()), _scope("POST")).headers
    assert headers == {b"x-content-type-options": b"nosniff"}


def test_an_answer_to_a_page_that_posts_carries_all_security_headers() -> None:
    scope = _scope("POST", headers=[("origin", ORIGIN)])
    headers = _ask(_guard_with_cors(_app()), scope).headers
    assert headers.keys() >= {
        b"x-content-type-options",
        b"referrer-policy",
        b"cache-control",
        b"vary",
    }


def test_application_may_say_how_long_to_keep_its_answer() -> None:
    app = _app((b"cache-control", b"max-age=300"))
    assert _ask(Guard(app), _scope()).headers[b"cache-control"] == b"max-age=300"


def test_answer_headers_that_are_shared_stay_as_they_are() -> None:
    shared = ((b"content-type", b"application/json"),)
    _ask(Guard(_app(*shared)), _scope())
    assert shared == ((b"content-type", b"application/json"),)


@pytest.mark.parametrize(
    ("host", "status"),
    [("t.shop.example", 200), ("T.Shop.Example.:8080", 200), ("evil.example", 421), ("", 400)],
)
def test_only_trusted_hosts_are_served_if_there_are_any(host: str, status: int) -> None:
    guard = Guard(_app(), trusted_hosts=["t.shop.example"])
    assert [_ask(guard, _scope(host=host)).status for _ in range(2)] == [status, status]


def test_hosts_beyond_the_remembered_ones_are_still_judged() -> None:
    guard = Guard(_app())
    assert {_ask(guard, _scope(host=f"h{i}.example")).status for i in range(300)} == {200}


@pytest.mark.parametrize(
    ("scope", "status", "code"),
    [
        (_scope(headers=[("host", "t.shop.example")]), 400, b"invalid_host"),
        (_scope(headers=[("x", "a" * 16_400)]), 431, b"headers_too_large"),
        (_scope(headers=[("x", "a")] * 64), 431, b"headers_too_large"),
        (_scope(query_string=b"a" * 4_100), 414, b"target_too_long"),
        (
            _scope(headers=[("content-length", "2"), ("transfer-encoding", "chunked")]),
            400,
            b"ambiguous_length",
        ),
        (_scope(headers=[("content-length", "2")] * 2), 400, b"ambiguous_length"),
        (_scope(headers=[("transfer-encoding", "gzip")]), 400, b"ambiguous_length"),
        (
            _scope(headers=[("transfer-encoding", "chunked")], http_version="1.0"),
            400,
            b"ambiguous_length",
        ),
        (_scope(http_version="0.9"), 400, b"malformed_request"),
        (_scope("DELETE"), 405, b"method_not_allowed"),
        ({**_scope(), OVERLOADED: True}, 503, b"overloaded"),
    ],
)
def test_unsound_request_is_refused(scope: Scope, status: int, code: bytes) -> None:
    answered = _ask(Guard(_app()), scope)
    assert (answered.status, code in answered.body) == (status, True)


def test_other_methods_can_be_allowed() -> None:
    assert _ask(Guard(_app(), methods={"DELETE"}), _scope("DELETE")).status == 200


def test_error_is_answered_without_its_text_and_logged_by_code() -> None:
    with structlog.testing.capture_logs() as logs:
        answered = _ask(Guard(_app(error=ValueError("canary")), trace=lambda: "t1"), _scope())
    assert answered.status == 500
    assert b"canary" not in answered.body
    assert "canary" not in str(logs)
    assert (logs[0]["event"], logs[0]["error"], logs[0]["trace"]) == (
        "request_failed",
        "ValueError",
        "t1",
    )


def test_known_error_is_answered_as_its_problem() -> None:
    answered = _ask(Guard(_app(error=StoreBrokenError("stopped"))), _scope())
    assert answered.status == 503
    assert b"retry-after" in answered.headers


def test_answer_begun_before_an_error_is_never_completed() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    assert [message["type"] for message in _ask(Guard(app), _scope()).messages] == [
        "http.response.start"
    ]


def test_stop_of_the_server_is_not_an_error_of_the_application() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        _ask(Guard(app), _scope())


def test_lifespan_is_passed_on() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    _ask(Guard(app), {"type": "lifespan"})
    assert seen == ["lifespan"]


def test_websocket_is_closed() -> None:
    assert _ask(Guard(_app()), {"type": "websocket"}).messages == [{"type": "websocket.close"}]


def _guard_with_cors(app: ASGIApp) -> Guard:
    return Guard(app, cors=Cors({"web": [ORIGIN], "app": ["https://app.example"]}))


def _naming(source: str) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name_source(scope, source)
        await _app()(scope, receive, send)

    return app


@pytest.mark.parametrize(("source", "allowed"), [("web", 1), ("app", 0)])
def test_page_may_read_only_what_its_source_answers(source: str, allowed: int) -> None:
    answered = _ask(_guard_with_cors(_naming(source)), _scope(headers=[("origin", ORIGIN)]))
    assert list(answered.headers).count(b"access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    "change",
    [
        lambda scope: scope.update(method="DELETE"),
        lambda scope: scope["headers"].append((b"host", b"other.example")),
        lambda scope: scope.update({OVERLOADED: True}),
    ],
)
def test_page_may_read_refusals(change: Callable[[Scope], None]) -> None:
    scope = _scope(headers=[("origin", ORIGIN)])
    change(scope)
    answered = _ask(_guard_with_cors(_app()), scope)
    assert answered.status >= 400
    assert answered.headers[b"access-control-allow-origin"] == ORIGIN.encode()


def test_page_may_read_errors() -> None:
    guard = _guard_with_cors(_app(error=ValueError()))
    answered = _ask(guard, _scope(headers=[("origin", ORIGIN)]))
    assert answered.headers[b"access-control-allow-origin"] == ORIGIN.encode()


def test_two_origins_count_as_none() -> None:
    scope = _scope(headers=[("origin", ORIGIN), ("origin", "https://evil.example")])
    assert b"access-control-allow-origin" not in _ask(_guard_with_cors(_app()), scope).headers


def test_answers_differ_by_origin_for_caches() -> None:
    assert _ask(_guard_with_cors(_app()), _scope("GET")).headers[b"vary"] == b"Origin"


def test_preflight_is_answered_before_the_application() -> None:
    headers = [("origin", ORIGIN), ("access-control-request-method", "POST")]
    answered = _ask(_guard_with_cors(_app()), _scope("OPTIONS", headers=headers))
    assert answered.status == 204
    assert answered.headers[b"access-control-allow-methods"] == b"GET, POST, OPTIONS"


def test_options_that_is_no_preflight_is_passed_on() -> None:
    answered = _ask(_guard_with_cors(_app()), _scope("OPTIONS", headers=[("origin", ORIGIN)]))
    assert answered.status == 200
