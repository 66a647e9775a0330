"""The simulated Meta refuses what Meta refuses, in Meta's words."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from gateway.sandbox.meta import MetaPlatform
from gateway.sandbox.state import Answer, Call, Kind, SandboxSettings

GOOD = hashlib.sha256(b"jane@example.de").hexdigest()
PHONE = hashlib.sha256(b"491712345678").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
BODY = {
    "session": {"session_id": 5, "batch_seq": 1, "last_batch_flag": True},
    "payload": {"schema": ["EMAIL", "PHONE"], "is_raw": True, "data": [[GOOD, PHONE]]},
}


def asked(
    platform: MetaPlatform, body: object = BODY, version: str = "v26.0", **more: object
) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    call: dict[str, Any] = {
        "kind": Kind.ADD,
        "audience": "77",
        "headers": {"authorization": "Bearer t"},
        "query": {},
        "body": content,
        "now": 0.0,
        **more,
    }
    return platform.handle(Call(**call), version)


@pytest.fixture
def platform() -> MetaPlatform:
    return MetaPlatform(SandboxSettings())


def rows(schema: list[str], *data: list[str]) -> dict[str, object]:
    return {"payload": {"schema": schema, "data": list(data)}}


def code(answer: Answer) -> str:
    assert answer.status >= 400
    error: dict[str, Any] = json.loads(json.dumps(answer.body))["error"]
    return f"{error['code']}/{error.get('error_subcode', 0)}"


def test_good_upload_is_counted_and_held(platform: MetaPlatform) -> None:
    answer = asked(platform)
    assert answer.body == {
        "audience_id": "77",
        "session_id": "5",
        "num_received": 1,
        "num_invalid_entries": 0,
        "invalid_entry_samples": {},
    }
    assert platform.audiences["77"].digests() == sorted([GOOD, PHONE])


def test_removal_with_one_of_the_digests_removes(platform: MetaPlatform) -> None:
    asked(platform)
    asked(platform, rows(["EMAIL"], [GOOD]), kind=Kind.REMOVE)
    assert len(platform.audiences["77"]) == 0


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"headers": {}}, "104/0"),
        ({"headers": {"authorization": "Bearer expired-1"}}, "190/463"),
        ({"headers": {"authorization": "Bearer forbidden"}}, "200/0"),
        ({"version": "v1"}, "2500/0"),
        ({"audience": "cart_abandoners"}, "100/33"),
        ({"query": {"appsecret_proof": "no"}}, "100/0"),
        ({"body": b"{"}, "100/0"),
        ({"body": b"\xff"}, "100/0"),
        ({"body": {}}, "100/0"),
        ({"body": {"payload": {"schema": "EMAIL", "data": []}}}, "100/0"),
        ({"body": rows([], [])}, "100/0"),
        ({"body": rows(["EMAIL"])}, "100/0"),
        ({"body": rows(["MAIL"], [GOOD])}, "100/0"),
        ({"body": rows(["EMAIL", "EMAIL"], [GOOD, GOOD])}, "100/0"),
        ({"body": rows(["EMAIL"], [GOOD, PHONE])}, "100/0"),
        ({"body": rows(["EMAIL"], *([GOOD] for _ in range(10_001)))}, "100/0"),
        ({"body": {"payload": {"schema": ["EMAIL"], "data": [[1]]}}}, "100/0"),
        ({"fault": "throttle"}, "80003/2446079"),
        ({"fault": "http500"}, "2/0"),
    ],
)
def test_request_is_refused_and_nothing_is_held(
    platform: MetaPlatform, change: dict[str, Any], wanted: str
) -> None:
    assert code(asked(platform, **change)) == wanted
    assert not platform.audiences.get("77")


@pytest.mark.parametrize(
    "value",
    [
        "jane@example.de",
        EMPTY,
        GOOD.upper(),
        GOOD[:63],
        GOOD + "0",
        "5d41402abc4b2a76b9719d911017c592",
        " ",
    ],
)
def test_value_that_is_no_digest_is_an_invalid_entry(platform: MetaPlatform, value: str) -> None:
    answer = asked(platform, rows(["EMAIL"], [value], [GOOD]))
    assert (answer.rows, answer.refused) == (2, 1)
    assert platform.audiences["77"].digests() == [GOOD]


def test_row_without_any_key_is_an_invalid_entry(platform: MetaPlatform) -> None:
    assert asked(platform, rows(["EMAIL", "PHONE"], ["", ""])).refused == 1


def test_exactly_ten_thousand_rows_are_taken(platform: MetaPlatform) -> None:
    data = [[f"{number:064x}"] for number in range(10_000)]
    assert asked(platform, rows(["EMAIL"], *data)).refused == 0


def test_partial_fault_leaves_the_first_row_out(platform: MetaPlatform) -> None:
    answer = asked(platform, rows(["EMAIL"], [GOOD], [PHONE]), fault="partial")
    assert answer.refused == 1
    assert platform.audiences["77"].digests() == [PHONE]


@pytest.mark.parametrize("secret", ["s3cret", "other"])
def test_app_secret_demands_its_proof(secret: str) -> None:
    platform = MetaPlatform(SandboxSettings(app_secret="s3cret"))
    proof = hmac.new(secret.encode(), b"t", "sha256").hexdigest()
    answer = asked(platform, query={"appsecret_proof": proof})
    assert (answer.status == 200) is (secret == "s3cret")
    assert code(asked(platform)) == "100/0"
