"""The control surface of the sandbox, and faults that happen on the wire (no socket here)."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from gateway.sandbox.app import build
from gateway.sandbox.state import SandboxSettings

GOOD = hashlib.sha256(b"jane@example.de").hexdigest()
USERS = "/v26.0/77/users"
UPLOAD = {"payload": {"schema": ["EMAIL"], "data": [[GOOD]]}}
Call = tuple[str, str, object]


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def answers(*calls: Call, settings: SandboxSettings | None = None) -> Sequence[httpx.Response]:
    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(build(settings, Clock()))
        headers = {"Authorization": "Bearer t"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://sandbox", headers=headers
        ) as client:
            return [await client.request(method, url, json=body) for method, url, body in calls]

    return asyncio.run(run())


def fault(name: str, **more: object) -> Call:
    return ("POST", "/_sandbox/faults", {"platform": "meta", "fault": name, **more})


def shown(answer: httpx.Response) -> Any:  # noqa: ANN401 - whatever the answer holds
    return answer.json()


def test_upload_shows_in_audiences_members_and_journal() -> None:
    *_, audiences, members, journal = answers(
        ("POST", USERS, UPLOAD),
        ("GET", "/_sandbox/audiences", None),
        ("GET", "/_sandbox/members?platform=meta&audience=77", None),
        ("GET", f"/_sandbox/journal?digest={GOOD}&digests=1&platform=meta", None),
    )
    assert shown(audiences) == {"meta": {"77": 1}, "google": {}}
    assert shown(members) == {"people": 1, "digests": [GOOD]}
    (entry,) = shown(journal)["requests"]
    assert (entry["kind"], entry["audience"], entry["rows"]) == ("add", "77", 1)
    assert entry["arrived"] < entry["received"] < shown(journal)["now"]
    assert entry["digests"] == [GOOD]


def test_journal_can_be_narrowed() -> None:
    *_, since, other, missing = answers(
        ("POST", USERS, UPLOAD),
        ("DELETE", USERS, UPLOAD),
        ("GET", "/_sandbox/journal?since=1", None),
        ("GET", "/_sandbox/journal?platform=google", None),
        ("GET", f"/_sandbox/journal?digest={'0' * 64}", None),
    )
    assert [entry["kind"] for entry in shown(since)["requests"]] == ["remove"]
    assert shown(other)["requests"] == shown(missing)["requests"] == []


def test_refused_upload_is_in_the_journal_with_its_digests() -> None:
    body = {"payload": {"schema": ["NAME"], "data": [[GOOD]]}}
    _, journal = answers(("POST", USERS, body), ("GET", f"/_sandbox/journal?digest={GOOD}", None))
    assert [entry["code"] for entry in shown(journal)["requests"]] == ["100/0"]


def test_reset_forgets_everything_and_takes_settings() -> None:
    *_, reset, audiences, journal, unproven = answers(
        ("POST", USERS, UPLOAD),
        fault("throttle"),
        ("POST", "/_sandbox/reset", {"app_secret": "s3cret"}),
        ("GET", "/_sandbox/audiences", None),
        ("GET", "/_sandbox/journal", None),
        ("POST", USERS, UPLOAD),
    )
    assert reset.status_code == 200
    assert shown(audiences)["meta"] == {}
    assert shown(journal)["requests"] == []
    assert "appsecret_proof" in unproven.text


def test_google_routes_lead_to_google() -> None:
    ingest, remove, status = answers(
        ("POST", "/v1/audienceMembers:ingest", {}),
        ("POST", "/v1/audienceMembers:remove", {}),
        ("GET", "/v1/requestStatus:retrieve?requestId=no", None),
    )
    for answer in (ingest, remove, status):
        assert shown(answer)["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("path", ["reset", "faults"])
def test_script_that_cannot_be_read_is_refused(path: str) -> None:
    (answer,) = answers(("POST", f"/_sandbox/{path}", [1]))
    assert answer.status_code == 400


def test_faults_may_come_as_a_list_and_are_used_up() -> None:
    script = [{"platform": "meta", "fault": "throttle"}, {"platform": "meta", "fault": "expired"}]
    _, first, second, third = answers(
        ("POST", "/_sandbox/faults", script),
        *[("POST", USERS, UPLOAD)] * 3,
    )
    assert [shown(answer)["error"]["code"] for answer in (first, second)] == [80003, 190]
    assert third.status_code == 200


@pytest.mark.parametrize(("name", "status"), [("garbage", 200), ("redirect", 302), ("huge", 200)])
def test_stray_answer_changes_nothing(name: str, status: int) -> None:
    _, answer, audiences = answers(
        fault(name), ("POST", USERS, UPLOAD), ("GET", "/_sandbox/audiences", None)
    )
    assert answer.status_code == status
    assert shown(audiences)["meta"] == {}


@pytest.mark.parametrize(
    ("name", "held"), [("late_200", 1), ("lost_200", 1), ("reset", 0), ("hang", 0)]
)
def test_fault_says_whether_the_platform_acted(name: str, held: int) -> None:
    *_, audiences = answers(
        fault(name, delay_ms=10),
        ("POST", USERS, UPLOAD),
        ("GET", "/_sandbox/audiences", None),
    )
    assert shown(audiences)["meta"].get("77", 0) == held


def test_body_over_the_bound_is_not_read_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sandbox.app._MAX_BODY", 10)
    upload, journal = answers(("POST", USERS, UPLOAD), ("GET", "/_sandbox/journal", None))
    assert upload.status_code == 400
    assert not shown(journal)["requests"][0]["complete"]
