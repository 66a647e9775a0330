import json
from http import HTTPStatus

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

import consent.errors
import gateway.errors
from gateway.errors import (
    GatewayError,
    MalformedPayloadError,
    PayloadTooLargeError,
    StoreBrokenError,
    UnknownSourceError,
)
from gateway.http.problems import (
    _TABLE,
    Problem,
    headers_of,
    problem_of,
    render,
    respond,
    response_of,
    wire_answer,
)

REQUEST = Request({"type": "http", "headers": []})


@pytest.mark.parametrize("code", _TABLE)
def test_every_code_renders_with_what_all_sdks_read(code: str) -> None:
    document = json.loads(render(Problem(code), "t1"))
    assert document["code"] == code
    assert document["status"] == _TABLE[code][0]
    assert document["title"] == HTTPStatus(document["status"]).phrase
    assert document["success"] is False
    assert document["message"] == document["error"] != ""
    assert document["trace"] == "t1"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MalformedPayloadError("no"), 400, "malformed_payload"),
        (PayloadTooLargeError("no"), 413, "payload_too_large"),
        (UnknownSourceError("no"), 401, "invalid_write_key"),
        (StoreBrokenError("no"), 503, "store_unavailable"),
        (consent.errors.UnknownPurposeError("no"), 422, "unknown_purpose"),
        (HTTPException(404), 404, "not_found"),
        (HTTPException(418), 400, "malformed_payload"),
        (HTTPException(502), 500, "internal_error"),
        (GatewayError("no"), 500, "internal_error"),
        (KeyError("no"), 500, "internal_error"),
    ],
)
def test_error_becomes_its_problem(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)


def test_every_error_of_the_gateway_has_a_problem() -> None:
    for name in gateway.errors.__all__:
        assert problem_of(getattr(gateway.errors, name)("text")).status >= 400


def test_unknown_error_says_nothing_of_itself() -> None:
    assert b"canary" not in render(problem_of(ValueError("canary")), "t1")


def test_field_is_named() -> None:
    error = MalformedPayloadError("too long", "batch[3].context.page")
    assert json.loads(render(problem_of(error), "t1"))["field"] == "batch[3].context.page"


@pytest.mark.parametrize(
    "field",
    ["properties.jane@shop.example", "properties.491701234567", "a b", "<b>", "x" * 200, "ключ"],
)
def test_field_that_could_be_a_value_is_not_repeated(field: str) -> None:
    error = MalformedPayloadError("too long", field)
    assert json.loads(render(problem_of(error), "t1"))["field"] == ""


@pytest.mark.parametrize("code", ["limited", "overloaded", "store_unavailable"])
def test_who_shall_come_back_is_told_when_in_whole_seconds(code: str) -> None:
    seconds = {int(dict(headers_of(Problem(code), 1))[b"retry-after"]) for _ in range(200)}
    assert seconds == {1, 2, 3, 4, 5}


def test_what_will_never_work_is_not_told_to_come_back() -> None:
    assert b"retry-after" not in dict(headers_of(Problem("malformed_payload"), 1))


def test_response_is_a_problem_document_with_its_length() -> None:
    response = response_of(Problem("limited"), "t1")
    assert response.status_code == 429
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["content-length"]) == len(response.body)


def test_traces_differ_from_answer_to_answer() -> None:
    assert response_of(Problem("limited")).body != response_of(Problem("limited")).body


def test_route_keeps_its_own_list_of_methods() -> None:
    response = respond(REQUEST, HTTPException(405, headers={"Allow": "POST"}))
    assert response.headers.getlist("allow") == ["POST"]


def test_answer_on_the_wire_ends_the_connection() -> None:
    head, body = wire_answer(Problem("request_timeout"), "t1", [(b"x", b"y")]).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert head.endswith(b"x: y\r\nconnection: close")
    assert json.loads(body)["code"] == "request_timeout"
