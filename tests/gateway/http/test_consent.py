"""The consent API: record, withdraw, read; who may do which, and what the answers say."""

import base64
import fcntl
import hashlib
import json
from typing import Any

import pytest

from consent.ledger.entry import canonical
from tests.gateway.http.front import (
    GRANTED,
    REFUSED,
    SERVER,
    Front,
    at_the_front,
    choice,
    proof,
)

USER: dict[str, Any] = {"user_id": "u1", "anonymous_id": None}

# -- recording ------------------------------------------------------------------------------------


@at_the_front
async def test_the_first_choice_is_answered_with_index_position_receipt_and_secret(
    front: Front,
) -> None:
    found = await front.choose(choice())
    assert found.status_code == 201
    body = found.json()
    assert set(body) == {"index", "effective_seq", "receipt", "device_secret"}
    assert (body["index"], body["effective_seq"]) == (1, 1)
    assert len(body["device_secret"]) >= 43


@at_the_front
async def test_the_receipt_holds_the_record_and_opens_its_commitment(front: Front) -> None:
    receipt = (await front.choose(choice(layer=2, ui_hash="sha256:" + "0" * 64))).json()["receipt"]
    record = receipt["record"]
    assert (record["kind"], record["source"], record["site"]) == ("own", "web", "shop")
    assert record["answers"]["audience_sync"] is True
    assert record["evidence"] == {
        "language": "de", "layer": 2, "method": "banner", "notice": "web",
        "ui_hash": "sha256:" + "0" * 64, "version": "3",
    }  # fmt: skip
    opened = hashlib.sha256(base64.b64decode(receipt["nonce"]) + canonical(record)).digest()
    assert base64.b64decode(receipt["commitment"]) == opened


@at_the_front
async def test_version_and_language_of_no_notice_are_not_kept(front: Front) -> None:
    words = {"notice": "", "version": "anna", "language": "anna"}
    record = (await front.choose(choice(REFUSED, **words))).json()["receipt"]["record"]
    assert record["evidence"] == {"layer": 1, "method": "banner"}


@at_the_front
async def test_answers_to_everything_offered_are_stored_refusals_too(front: Front) -> None:
    record = (await front.choose(choice({**GRANTED, "marketing": False}))).json()["receipt"][
        "record"
    ]
    assert record["answers"]["analytics"] is True
    assert record["answers"]["audience_sync"] is False
    assert "audience_sync" not in record["granted"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"answers": {"functional": True, "analytics": True}}, "answers"),
        ({"answers": {}}, "answers"),
        ({"answers": {**GRANTED, "unheard_of": True}}, "answers"),
        ({"answers": {**GRANTED, "functional": "yes"}}, "answers"),
        ({"answers": None}, "answers"),
        ({"version": "2"}, "version"),
        ({"version": None}, "version"),
        ({"language": "fr"}, "language"),
        ({"notice": "app"}, "notice"),
        ({"notice": None}, "notice"),
        ({"anonymous_id": None}, "anonymous_id"),
        ({"anonymous_id": ""}, "anonymous_id"),
        ({"anonymous_id": 5}, "anonymous_id"),
        ({"method": "by word, of mouth"}, "method"),
        ({"method": "203.0.113.77"}, "method"),
        ({"method": "4917612345678"}, "method"),
        ({"ui_hash": "0" * 64}, "ui_hash"),
        ({"layer": 100}, "layer"),
        ({"layer": 4917612345678}, "layer"),
        ({"layer": -1}, "layer"),
        ({"signals": {"gpc": "1"}}, "signals.gpc"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else "",
)
@at_the_front
async def test_what_cannot_be_followed_is_a_422_that_names_the_field(
    front: Front, changes: dict[str, Any], field: str
) -> None:
    body = {**choice(), **changes}
    found = await front.choose({name: value for name, value in body.items() if value is not None})
    assert (found.status_code, found.json()["code"]) == (422, "unprocessable")
    assert found.json()["field"].startswith(field)
    assert front.rows("SELECT * FROM records") == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"answers":{},"answers":{}}'])
@at_the_front
async def test_what_is_no_json_is_a_400(front: Front, body: bytes) -> None:
    assert (await front.choose(body)).status_code == 400


@pytest.mark.parametrize("key", ["", "wk_other", "é"])
@at_the_front
async def test_an_unknown_key_is_a_401(front: Front, key: str) -> None:
    for call in (
        front.client.post("/v1/consent", params={"key": key}, json=choice()),
        front.client.post("/v1/consent/withdraw", params={"key": key}, json={}),
        front.client.get("/v1/consent", params={"key": key}),
    ):
        assert (await call).status_code == 401


@at_the_front
async def test_the_key_may_stand_in_the_query(front: Front) -> None:
    found = await front.client.post("/v1/consent", params={"key": "wk_public"}, json=choice())
    assert found.status_code == 201


@at_the_front
async def test_no_answer_repeats_what_was_sent(front: Front) -> None:
    canary = "anna@example.org"
    bodies = [
        choice({canary: True}),
        choice(method=canary),
        choice(notice=canary),
        choice(anonymous_id=canary + "\x00"),
        {**choice(), canary: canary, "answers": canary},
    ]
    for body in bodies:
        found = await front.choose(body)
        assert found.status_code == 422
        assert "anna" not in found.text


# -- who may grant --------------------------------------------------------------------------------


@at_the_front
async def test_widening_needs_the_device_secret(front: Front) -> None:
    first = (await front.choose(choice({**GRANTED, "marketing": False}))).json()
    assert (await front.choose(choice())).status_code == 403
    assert (await front.choose(choice(), secret="wrong")).status_code == 403
    assert (await front.choose(choice(), secret=first["device_secret"])).status_code == 201


@at_the_front
async def test_taking_back_needs_none(front: Front) -> None:
    await front.choose(choice())
    found = await front.choose(choice(REFUSED))
    assert found.status_code == 201
    assert "device_secret" not in found.json()


@pytest.mark.parametrize("more", [{}, {"anonymous_id": "d1"}, {"identity_proof": proof("other")}])
@at_the_front
async def test_a_public_key_cannot_grant_for_a_user(front: Front, more: dict[str, str]) -> None:
    found = await front.choose(choice(**{**USER, **more}))
    assert (found.status_code, found.json()["field"]) == (403, "identity_proof")
    assert front.rows("SELECT * FROM records") == []


@at_the_front
async def test_a_server_key_or_a_proof_grants_for_a_user(front: Front) -> None:
    by_proof = await front.choose(choice(**USER, identity_proof=proof("u1")))
    by_key = await front.choose(choice(user_id="u2", anonymous_id=None), key=SERVER)
    assert (by_proof.status_code, by_key.status_code) == (201, 201)
    assert "device_secret" not in {**by_proof.json(), **by_key.json()}


@at_the_front
async def test_a_public_refusal_beside_a_device_acts_on_the_device_alone(front: Front) -> None:
    await front.choose(choice(**USER), key=SERVER)
    await front.choose(choice(REFUSED, user_id="u1", anonymous_id="d1"))
    found = (await front.read(key=SERVER, user_id="u1")).json()
    assert found["answers"]["analytics"] is True


@at_the_front
async def test_a_public_key_gets_no_secret_for_a_user(front: Front) -> None:
    await front.choose(choice(**USER), key=SERVER)
    found = await front.choose(choice(REFUSED, **USER))
    assert "device_secret" not in found.json()
    assert (await front.read(user_id="u1", secret="x")).status_code == 403


# -- withdrawal -----------------------------------------------------------------------------------


@at_the_front
async def test_a_withdrawal_needs_key_and_id_only(front: Front) -> None:
    secret = (await front.choose(choice())).json()["device_secret"]
    found = await front.post(
        "/v1/consent/withdraw", {"anonymous_id": "d1", "purposes": ["marketing"]}
    )
    assert found.status_code == 200
    assert set(found.json()) >= {"effective_seq", "receipt"}
    answers = (await front.read(anonymous_id="d1", secret=secret)).json()["answers"]
    assert (answers["audience_sync"], answers["analytics"]) == (False, True)


@at_the_front
async def test_everything_can_be_withdrawn(front: Front) -> None:
    secret = (await front.choose(choice())).json()["device_secret"]
    await front.post("/v1/consent/withdraw", {"anonymous_id": "d1", "purposes": "all"})
    answers = (await front.read(anonymous_id="d1", secret=secret)).json()["answers"]
    assert not any(answers.values())


@pytest.mark.parametrize(
    "body",
    [
        {"purposes": "all"},
        {"anonymous_id": "d1"},
        {"anonymous_id": "d1", "purposes": []},
        {"anonymous_id": "d1", "purposes": "analytics"},
        {"anonymous_id": "d1", "purposes": ["unheard_of"]},
        {"anonymous_id": "d1", "purposes": 5},
    ],
)
@at_the_front
async def test_a_withdrawal_that_names_nobody_or_nothing_is_a_422(
    front: Front, body: dict[str, Any]
) -> None:
    assert (await front.post("/v1/consent/withdraw", body)).status_code == 422


@at_the_front
async def test_withdrawing_for_an_unknown_id_is_kept_and_makes_nobody(front: Front) -> None:
    found = await front.post("/v1/consent/withdraw", {"user_id": "u9", "purposes": "all"})
    assert found.status_code == 200
    assert front.rows("SELECT * FROM people") == []
    assert front.rows("SELECT count(*) FROM refusals") == [(1,)]


@pytest.mark.parametrize("taking_back", ["/v1/consent", "/v1/consent/withdraw"])
@at_the_front
async def test_while_the_courier_cannot_tell_a_withdrawal_is_pending(
    front: Front, taking_back: str
) -> None:
    await front.choose(choice())
    # A courier that lives and does not answer: its lock is held, its socket is not there.
    with (front.database.parent / "courier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        body = choice(REFUSED) if taking_back == "/v1/consent" else {
            "anonymous_id": "d1", "purposes": "all",
        }  # fmt: skip
        found = await front.post(taking_back, body)
    assert (found.status_code, found.json()["effective"]) == (202, "pending")


@at_the_front
async def test_a_choice_that_takes_nothing_back_waits_for_nobody(front: Front) -> None:
    with (front.database.parent / "courier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert (await front.choose(choice())).status_code == 201


# -- refusals without an id -----------------------------------------------------------------------


@at_the_front
async def test_a_refusal_without_an_id_sets_a_cookie_that_identifies_nobody(front: Front) -> None:
    found = await front.choose({"answers": REFUSED})
    assert found.status_code == 201
    cookie = found.headers["set-cookie"]
    assert cookie.startswith("einlass_refused=1;")
    assert {"HttpOnly", "Secure"} <= {part.strip() for part in cookie.split(";")}
    assert front.rows("SELECT * FROM people") == front.rows("SELECT * FROM refusals") == []


@at_the_front
async def test_with_an_id_no_cookie_is_set(front: Front) -> None:
    assert "set-cookie" not in (await front.choose(choice(REFUSED))).headers


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"signals": {"gpc": True}}, {"headers": {"sec-gpc": "1"}}])
@at_the_front
async def test_gpc_is_recorded_with_the_choice(front: Front, how: dict[str, Any]) -> None:
    headers = how.get("headers", {})
    body = choice(signals=how.get("signals"))
    record = (await front.choose(body, headers=headers)).json()["receipt"]["record"]
    assert record["gpc"] is True


@at_the_front
async def test_unknown_fields_change_nothing(front: Front) -> None:
    body = choice(signals={"tcf": "CP…", "gpp": "DB…"}, trusted=True, source="backend")
    record = (await front.choose(body)).json()["receipt"]["record"]
    assert (record["source"], record["gpc"]) == ("web", False)


# -- retries --------------------------------------------------------------------------------------

RETRY = "7b1f0a52-9c1e-4a53-8a53-0d3c0a4f7d11"


@at_the_front
async def test_a_retried_first_choice_gets_the_same_secret(front: Front) -> None:
    first, again = [(await front.choose(choice(retry_id=RETRY))).json() for _ in range(2)]
    assert first["device_secret"] == again["device_secret"]


@at_the_front
async def test_another_call_does_not_get_the_secret(front: Front) -> None:
    await front.choose(choice(retry_id=RETRY))
    other = (await front.choose(choice(retry_id=RETRY.replace("7", "8")))).json()
    assert "device_secret" not in other


@at_the_front
async def test_a_retry_id_that_could_be_guessed_is_refused(front: Front) -> None:
    answer = await front.choose(choice(retry_id="x"))
    assert (answer.status_code, answer.json()["field"]) == (422, "retry_id")


# -- reading --------------------------------------------------------------------------------------


@at_the_front
async def test_reading_needs_the_secret_or_a_server_key(front: Front) -> None:
    secret = (await front.choose(choice())).json()["device_secret"]
    assert (await front.read(anonymous_id="d1", secret=secret)).status_code == 200
    assert (await front.read(anonymous_id="d1", key=SERVER)).status_code == 200
    assert (await front.read(anonymous_id="d1", secret="x")).status_code == 403
    assert (await front.read(anonymous_id="d1")).status_code == 403


@at_the_front
async def test_the_answer_to_others_does_not_tell_whether_an_id_is_known(front: Front) -> None:
    await front.choose(choice())
    await front.choose(choice(REFUSED, anonymous_id="refused"))
    known, refused, unknown = [
        (await front.read(anonymous_id=one, secret="x")).json() for one in ("d1", "refused", "d9")
    ]
    for answer in (known, refused, unknown):
        answer.pop("trace")
    assert known == refused == unknown


@at_the_front
async def test_history_names_the_ledger_index_of_every_record(front: Front) -> None:
    secret = (await front.choose(choice())).json()["device_secret"]
    await front.choose(choice(REFUSED))
    history = (await front.read(anonymous_id="d1", secret=secret)).json()["history"]
    assert [one["index"] for one in history] == [2, 1]
    assert "d1" not in json.dumps(history)


@at_the_front
async def test_reading_needs_an_id(front: Front) -> None:
    assert (await front.read(key=SERVER)).status_code == 422


@at_the_front
async def test_a_user_is_read_with_a_proof(front: Front) -> None:
    await front.choose(choice(**USER), key=SERVER)
    found = await front.read(user_id="u1", identity_proof=proof("u1"))
    assert found.json()["answers"]["analytics"] is True


@at_the_front
async def test_a_device_beside_a_user_reads_its_own(front: Front) -> None:
    secret = (await front.choose(choice({**GRANTED, "marketing": False}))).json()["device_secret"]
    await front.choose(choice(**USER), key=SERVER)
    found = await front.read(anonymous_id="d1", user_id="u1", secret=secret)
    assert found.json()["answers"]["ads_basic"] is False
