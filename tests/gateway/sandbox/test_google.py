"""The simulated Data Manager refuses what Google refuses; answers are Google's messages."""

import base64
import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from google.ads.datamanager_v1 import (
    IngestAudienceMembersResponse,
    RetrieveRequestStatusResponse,
)

from gateway.sandbox.google import GooglePlatform
from gateway.sandbox.state import Answer, Call, Kind, SandboxSettings

GOOD = hashlib.sha256(b"jane@example.de").hexdigest()
OTHER = hashlib.sha256(b"+491712345678").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
GRANTED = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
DESTINATION = {
    "reference": "a",
    "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "123"},
    "productDestinationId": "6667",
}
MEMBER = {
    "destinationReferences": ["a"],
    "userData": {"userIdentifiers": [{"emailAddress": GOOD}, {"phoneNumber": OTHER}]},
}
INGEST: dict[str, Any] = {
    "destinations": [DESTINATION],
    "audienceMembers": [MEMBER],
    "consent": GRANTED,
    "encoding": "HEX",
    "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
}
REMOVE = {name: INGEST[name] for name in ("destinations", "audienceMembers", "encoding")}


def members(*identifiers: Mapping[str, object], **more: object) -> list[dict[str, object]]:
    return [{"userData": {"userIdentifiers": list(identifiers)}, **more}]


def asked(platform: GooglePlatform, body: object = INGEST, **more: object) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    version = str(more.pop("version", "v1"))
    call: dict[str, Any] = {
        "kind": Kind.ADD,
        "audience": "",
        "headers": {"authorization": "Bearer t"},
        "query": {},
        "body": content,
        "now": 0.0,
        **more,
    }
    return platform.handle(Call(**call), version)


def status(platform: GooglePlatform, answer: Answer, now: float) -> dict[str, Any]:
    reference = parsed(answer)["requestId"]
    found = asked(platform, b"", kind=Kind.STATUS, query={"requestId": reference}, now=now)
    text = json.dumps(found.body)
    RetrieveRequestStatusResponse.from_json(text, ignore_unknown_fields=False)
    entry: dict[str, Any] = json.loads(text)["requestStatusPerDestination"][0]
    return entry


def parsed(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(answer.body))
    return found


def reasons(answer: Answer) -> set[str]:
    assert answer.status >= 400
    details = parsed(answer)["error"]["details"]
    violations = [v for detail in details for v in detail.get("fieldViolations", [])]
    return {entry["reason"] for entry in [*details, *violations] if "reason" in entry}


@pytest.fixture
def platform() -> GooglePlatform:
    return GooglePlatform(SandboxSettings())


def test_good_upload_is_accepted_then_processed(platform: GooglePlatform) -> None:
    answer = asked(platform)
    IngestAudienceMembersResponse.from_json(json.dumps(answer.body), ignore_unknown_fields=False)
    assert status(platform, answer, 0.5)["requestStatus"] == "PROCESSING"
    assert not platform.audiences
    done = status(platform, answer, 1.0)
    assert done["requestStatus"] == "SUCCESS"
    assert done["audienceMembersIngestionStatus"]["userDataIngestionStatus"] == {
        "recordCount": "1",
        "userIdentifierCount": "2",
    }
    assert platform.audiences["6667"].digests() == sorted([GOOD, OTHER])


def test_jobs_take_effect_in_their_order(platform: GooglePlatform) -> None:
    asked(platform)
    removal = asked(platform, REMOVE, kind=Kind.REMOVE, now=0.1)
    assert "audienceMembersRemovalStatus" in status(platform, removal, 5.0)
    assert len(platform.audiences["6667"]) == 0


def changed(**change: object) -> dict[str, Any]:
    body = copy.deepcopy(INGEST)
    body.update(change)
    return {name: value for name, value in body.items() if value is not None}


def with_destination(**change: object) -> dict[str, Any]:
    return changed(destinations=[{**DESTINATION, **change}])


def with_email(value: str, encoding: str = "HEX") -> dict[str, Any]:
    return changed(audienceMembers=members({"emailAddress": value}), encoding=encoding)


ACCOUNT = {"accountType": "GOOGLE_ADS", "accountId": "12-3"}
REFUSED = [
    (changed(destinations=[]), "REQUIRED_FIELD_MISSING"),
    (changed(destinations=None), "REQUIRED_FIELD_MISSING"),
    (changed(audienceMembers=[]), "REQUIRED_FIELD_MISSING"),
    (changed(encoding=None), "REQUIRED_FIELD_MISSING"),
    (changed(termsOfService=None), "TERMS_AND_CONDITIONS_NOT_SIGNED"),
    (
        changed(termsOfService={"customerMatchTermsOfServiceStatus": "REJECTED"}),
        "TERMS_AND_CONDITIONS_NOT_SIGNED",
    ),
    (changed(audienceMembers=[MEMBER] * 10_001), "TOO_MANY_AUDIENCE_MEMBERS"),
    (
        changed(destinations=[{**DESTINATION, "reference": str(n)} for n in range(11)]),
        "TOO_MANY_DESTINATIONS",
    ),
    (changed(destinations=[DESTINATION, DESTINATION]), "DUPLICATE_DESTINATION_REFERENCE"),
    (with_destination(productDestinationId="cart"), "INVALID_USER_LIST_ID"),
    (with_destination(operatingAccount=ACCOUNT), "INVALID_DESTINATION"),
    (with_destination(loginAccount=ACCOUNT), "INVALID_DESTINATION"),
    (
        changed(audienceMembers=members({"emailAddress": GOOD}, destinationReferences=["b"])),
        "INVALID_DESTINATION",
    ),
    (changed(audienceMembers=members()), "NO_IDENTIFIERS_PROVIDED"),
    (
        changed(audienceMembers=members(*([{"emailAddress": GOOD}] * 11))),
        "TOO_MANY_USER_IDENTIFIERS",
    ),
    (
        changed(audienceMembers=members({"emailAddress": GOOD, "phoneNumber": OTHER})),
        "INVALID_AUDIENCE_MEMBER",
    ),
    (changed(audienceMembers=members({})), "INVALID_AUDIENCE_MEMBER"),
    (with_email("jane@example.de"), "INVALID_HEX_ENCODING"),
    (with_email(GOOD.upper()), "INVALID_HEX_ENCODING"),
    (with_email(GOOD[:63]), "INVALID_HEX_ENCODING"),
    (with_email(GOOD[:32]), "INVALID_SHA256_FORMAT"),
    (with_email(EMPTY), "INVALID_SHA256_FORMAT"),
    (with_email(base64.b64encode(bytes.fromhex(GOOD)).decode()), "INVALID_HEX_ENCODING"),
    (with_email(GOOD[:-1] + "*", "BASE64"), "INVALID_BASE64_ENCODING"),
    (with_email(base64.b64encode(b"short").decode(), "BASE64"), "INVALID_SHA256_FORMAT"),
    (changed(extra=1), "INVALID_ARGUMENT"),
    (changed(audienceMembers=members({"addressInfo": {}})), "INVALID_ARGUMENT"),
    (changed(consent={"adUserData": "GRANTED"}), "INVALID_ARGUMENT"),
    (changed(encoding="hex"), "INVALID_ARGUMENT"),
    (changed(audienceMembers=members({"address": {"givenName": GOOD}})), "REQUIRED_FIELD_MISSING"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED, ids=lambda value: str(value)[:24])
def test_request_is_refused_as_a_whole(
    platform: GooglePlatform, body: dict[str, Any], reason: str
) -> None:
    answer = asked(platform, body)
    assert reason in reasons(answer)
    assert parsed(answer)["error"]["status"] == "INVALID_ARGUMENT"
    platform.settle(99.0)
    assert not platform.audiences


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]"])
def test_something_else_than_a_request_is_refused(platform: GooglePlatform, body: bytes) -> None:
    assert asked(platform, body).status == 400


@pytest.mark.parametrize("name", ["consent", "termsOfService"])
def test_removal_takes_neither_consent_nor_terms(platform: GooglePlatform, name: str) -> None:
    answer = asked(platform, {**REMOVE, name: INGEST[name]}, kind=Kind.REMOVE)
    assert answer.status == 400


def test_refused_row_is_named_by_its_path(platform: GooglePlatform) -> None:
    bad = members({"emailAddress": "no"})[0]
    answer = asked(platform, changed(audienceMembers=[MEMBER, bad]))
    assert "audience_members[1]" in json.dumps(parsed(answer))


@pytest.mark.parametrize(
    ("request_consent", "member_consent", "outcome"),
    [
        (GRANTED, None, "SUCCESS"),
        (None, GRANTED, "SUCCESS"),
        (None, None, "NO_CONSENT"),
        ({"adUserData": "CONSENT_GRANTED"}, None, "NO_CONSENT"),
        ({**GRANTED, "adPersonalization": "CONSENT_DENIED"}, None, "DENIED_CONSENT"),
        (GRANTED, {"adUserData": "CONSENT_DENIED"}, "DENIED_CONSENT"),
    ],
)
def test_consent_is_judged_in_the_status(
    platform: GooglePlatform,
    request_consent: dict[str, str] | None,
    member_consent: dict[str, str] | None,
    outcome: str,
) -> None:
    member = {**MEMBER, **({"consent": member_consent} if member_consent else {})}
    answer = asked(platform, changed(consent=request_consent, audienceMembers=[member]))
    entry = status(platform, answer, 2.0)
    if outcome == "SUCCESS":
        assert entry["requestStatus"] == "SUCCESS"
        return
    assert entry["requestStatus"] == "FAILED"
    assert entry["errorInfo"]["errorCounts"] == [
        {"recordCount": "1", "reason": f"PROCESSING_ERROR_REASON_{outcome}"}
    ]
    assert not platform.audiences.get("6667")


def test_one_denied_row_is_a_partial_success(platform: GooglePlatform) -> None:
    denied = members({"emailAddress": "ab" * 32}, consent={"adUserData": "CONSENT_DENIED"})[0]
    answer = asked(platform, changed(audienceMembers=[MEMBER, denied]))
    assert status(platform, answer, 2.0)["requestStatus"] == "PARTIAL_SUCCESS"
    assert "ab" * 32 not in platform.audiences["6667"].digests()


def test_base64_and_address_are_taken(platform: GooglePlatform) -> None:
    text = base64.b64encode(bytes.fromhex(GOOD)).decode()
    address = {"givenName": text, "familyName": text, "regionCode": "DE", "postalCode": "10115"}
    body = changed(audienceMembers=members({"address": address}), encoding="BASE64")
    assert asked(platform, body).status == 200


def test_validate_only_holds_nothing_and_has_no_status(platform: GooglePlatform) -> None:
    answer = asked(platform, changed(validateOnly=True))
    reference = parsed(answer)["requestId"]
    later = asked(platform, kind=Kind.STATUS, query={"requestId": reference}, now=9.0)
    assert "INVALID_REQUEST_ID" in reasons(later)
    assert not platform.audiences


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, 401),
        ({"authorization": "Bearer expired"}, 401),
        ({"authorization": "Bearer forbidden"}, 403),
    ],
)
def test_credentials_are_checked(
    platform: GooglePlatform, headers: dict[str, str], wanted: int
) -> None:
    assert asked(platform, headers=headers).status == wanted


def test_unknown_version_is_not_found(platform: GooglePlatform) -> None:
    assert asked(platform, version="v9").status == 404


def test_requests_over_the_quota_of_a_minute_are_throttled() -> None:
    platform = GooglePlatform(SandboxSettings(google_requests_per_minute=2))
    answers = [asked(platform, now=now).status for now in (0.0, 1.0, 2.0, 60.0, 60.5)]
    assert answers == [200, 200, 429, 200, 429]


def test_throttling_says_when_to_come_back(platform: GooglePlatform) -> None:
    details = parsed(asked(platform, fault="throttle"))["error"]["details"]
    assert any(detail.get("retryDelay") == "1s" for detail in details)


@pytest.mark.parametrize(
    ("fault", "wanted"), [("partial", "PARTIAL_SUCCESS"), ("status_failed", "FAILED")]
)
def test_scripted_failure_shows_in_the_status(
    platform: GooglePlatform, fault: str, wanted: str
) -> None:
    body = changed(audienceMembers=[MEMBER, members({"emailAddress": "ab" * 32})[0]])
    assert status(platform, asked(platform, body, fault=fault), 2.0)["requestStatus"] == wanted


def test_old_jobs_are_forgotten(platform: GooglePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sandbox.google._MAX_JOBS", 1)
    first = parsed(asked(platform))["requestId"]
    asked(platform)
    answer = asked(platform, kind=Kind.STATUS, query={"requestId": first})
    assert "INVALID_REQUEST_ID" in reasons(answer)
