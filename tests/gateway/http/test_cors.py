import pytest
from starlette.types import Scope

from gateway.http.cors import Cors, name_source

ALLOWED = b"https://shop.example"
CORS = Cors({"web": ["https://shop.example"], "app": ["https://app.example:8443", "null", "*"]})

LOOK_ALIKES = [
    "null",
    "*",
    "",
    "http://shop.example",
    "https://shop.example.",
    "https://shop.example:443",
    "https://shop.example:8443",
    "https://shop.example/",
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://evil.example/shop.example",
    "https://shop.example@evil.example",
    "https://evil.example#shop.example",
    "https://sub.shop.example",
    "https://shopxexample",
    "https://SHOP.example",
    "HTTPS://shop.example",
    "https://shop.example ",
    "https://shop.example, https://evil.example",
    "https://\u0455hop.example",
    "shop.example",
    "file://",
    "https://app.example",
]


def _scope(method: str = "POST", **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "headers": pairs}


def test_allowed_origin_is_echoed_with_credentials() -> None:
    answer = dict(CORS.answer(_scope(), ALLOWED))
    assert answer[b"access-control-allow-origin"] == ALLOWED
    assert answer[b"access-control-allow-credentials"] == b"true"
    assert b"Retry-After" in answer[b"access-control-expose-headers"]


@pytest.mark.parametrize("origin", LOOK_ALIKES)
def test_look_alike_gets_no_header(origin: str) -> None:
    assert CORS.answer(_scope(), origin.encode()) == []


def test_origin_of_another_source_gets_no_header_once_the_source_is_known() -> None:
    scope = _scope()
    name_source(scope, "app")
    assert CORS.answer(scope, ALLOWED) == []


def test_origin_of_the_named_source_is_echoed() -> None:
    scope = _scope()
    name_source(scope, "web")
    assert CORS.answer(scope, ALLOWED) != []


def test_source_without_origins_answers_no_page() -> None:
    scope = _scope()
    name_source(scope, "backend")
    assert CORS.answer(scope, ALLOWED) == []


def test_preflight_allows_the_known_headers_that_were_asked_for() -> None:
    scope = _scope(
        "OPTIONS",
        access_control_request_method="POST",
        access_control_request_headers="Authorization, content-type,x-evil",
    )
    answer = CORS.preflight(scope, ALLOWED)
    assert answer is not None
    assert dict(answer)[b"access-control-allow-headers"] == b"authorization, content-type"


def test_preflight_of_a_stranger_allows_nothing() -> None:
    scope = _scope("OPTIONS", access_control_request_method="POST")
    assert CORS.preflight(scope, b"https://evil.example") == []


@pytest.mark.parametrize(
    "scope", [_scope("OPTIONS"), _scope("POST", access_control_request_method="POST")]
)
def test_what_is_no_preflight_goes_on(scope: Scope) -> None:
    assert CORS.preflight(scope, ALLOWED) is None


def test_no_sources_means_no_origins() -> None:
    assert Cors({}).answer(_scope(), ALLOWED) == []
