"""Collecting: the answer says nothing of consent, the header what happened, to servers also why."""

import json
from typing import Any

import pytest

from tests.gateway.http.front import PUBLIC, REFUSED, SERVER, Front, at_the_front, proof

YES = {
    "consent": {"categoryPreferences": {"functional": True, "analytics": True, "marketing": True}}
}
NO = {"consent": {"categoryPreferences": REFUSED}}


def click(**more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    return {"type": "track", "event": "Clicked", "messageId": "m1", "anonymousId": "d1", **more}


async def tracked(front: Front, key: str = PUBLIC, **more: Any) -> tuple[int, str, str]:  # noqa: ANN401 - any field
    """Send one event; return status, outcome and reason."""
    headers = more.pop("headers", {})
    found = await front.post("/v1/track", click(**more), key=key, headers=headers)
    told = found.headers
    return found.status_code, told.get("einlass-outcome", ""), told.get("einlass-reason", "")


@pytest.mark.parametrize("context", [YES, NO, {}, {"consent": "yes"}])
@at_the_front
async def test_the_answer_does_not_depend_on_consent(front: Front, context: dict[str, Any]) -> None:
    found = await front.post("/v1/track", click(context=context))
    assert (found.status_code, found.json()) == (200, {"success": True})


@at_the_front
async def test_a_public_source_is_told_the_outcome_and_no_reason(front: Front) -> None:
    assert await tracked(front, context=YES) == (200, "accepted", "")
    assert await tracked(front, messageId="m2", context=NO) == (200, "refused", "")


@at_the_front
async def test_a_server_source_is_told_the_reason(front: Front) -> None:
    assert await tracked(front, SERVER) == (200, "refused", "consent_unknown")
    assert await tracked(front, SERVER, context=YES) == (200, "accepted", "")


@at_the_front
async def test_a_batch_is_told_no_single_outcome(front: Front) -> None:
    batch = {"batch": [click(context=YES), click(messageId="m2", context=YES)]}
    found = await front.post("/v1/batch", batch)
    assert (found.status_code, "einlass-outcome" in found.headers) == (200, False)
    assert front.rows("SELECT sum(count) FROM log") == [(2,)]


@at_the_front
async def test_an_empty_batch_and_the_sdks_own_counters_are_no_events(front: Front) -> None:
    for path, body in (("/v1/batch", b'{"batch":[]}'), ("/v1/m", b'{"series":[]}')):
        assert (await front.post(path, body)).status_code == 200
    assert front.rows("SELECT * FROM counters") == []


@at_the_front
async def test_a_trailing_slash_makes_no_difference(front: Front) -> None:
    assert (await front.post("/v1/track/", click(context=YES))).status_code == 200
    assert front.rows("SELECT sum(count) FROM log") == [(1,)]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"userId":"a","userId":"b"}', b"\xff"])
@at_the_front
async def test_what_nobody_can_read_is_a_400_and_counted(front: Front, body: bytes) -> None:
    assert (await front.post("/v1/track", body)).status_code == 400
    assert front.rows("SELECT outcome, count FROM counters") == [("invalid", 1)]


@at_the_front
async def test_a_batch_of_too_many_is_refused_whole(front: Front) -> None:
    batch: dict[str, Any] = {"batch": [{}] * 2_001}
    assert (await front.post("/v1/batch", batch)).status_code == 400
    assert front.rows("SELECT outcome, count FROM counters") == [("invalid", 1)]


@pytest.mark.parametrize("key", ["wk_other", ""])
@at_the_front
async def test_an_unknown_key_is_a_401_that_repeats_nothing(front: Front, key: str) -> None:
    found = await front.post("/v1/track", click(), key=key)
    assert (found.status_code, found.json()["code"]) == (401, "invalid_write_key")
    assert not key or key not in found.text


@at_the_front
async def test_the_refusal_cookie_refuses_a_stranger(front: Front) -> None:
    await front.choose({"answers": REFUSED})
    cookie = {"cookie": "a=b; einlass_refused=1"}
    front.client.cookies.clear()
    assert (await tracked(front, context=YES, headers=cookie))[1] == "refused"
    assert (await tracked(front, context=YES))[1] == "accepted"


@at_the_front
async def test_sec_gpc_counts(front: Front) -> None:
    await tracked(front, context=YES, headers={"sec-gpc": "1"})
    ((granted,),) = front.rows("SELECT granted FROM records ORDER BY record DESC LIMIT 1")
    assert "audience_sync" not in json.loads(granted)


@pytest.mark.parametrize(("given", "accepted"), [(proof("u1"), True), (proof("u2"), False)])
@at_the_front
async def test_a_browser_speaks_for_a_user_with_a_proof_only(
    front: Front,
    given: str,
    accepted: bool,  # noqa: FBT001 - a table
) -> None:
    context = {**YES, "identity_proof": given}
    await tracked(front, userId="u1", context=context)
    # With the proof both ids are known, without it the device alone.
    assert front.rows("SELECT count(*) FROM identifiers") == [(2 if accepted else 1,)]


@at_the_front
async def test_health_answers_without_a_key(front: Front) -> None:
    for path, status in (("/health/live", "live"), ("/health/ready", "ready")):
        found = await front.client.get(path)
        assert (found.status_code, found.json()) == (200, {"status": status})


@at_the_front
async def test_an_unknown_path_is_a_problem(front: Front) -> None:
    found = await front.client.get("/anna@example.org")
    assert (found.status_code, found.json()["code"]) == (404, "not_found")
    assert "anna" not in found.text
