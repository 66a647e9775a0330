"""Data Manager bodies against code we did not write: the package google-ads-datamanager."""

import json
from pathlib import Path

import httpx
import pytest
from google.ads.datamanager_v1 import (
    IngestAudienceMembersRequest,
    RemoveAudienceMembersRequest,
    RetrieveRequestStatusResponse,
)
from google.ads.datamanager_v1.types import ConsentStatus, Encoding, ErrorReason

from segments.destination import Operation, SyncJob
from segments.destinations import google_data_manager
from segments.destinations.google_data_manager import GoogleDataManager
from segments.export import prepare

VECTORS = Path(__file__).parents[2] / "vectors" / "destinations" / "google_data_manager"
PEOPLE = [
    {"email": "Jane.Doe+Shop@gmail.com", "phone": "+491712345678"},
    {"email": "o_brien-k@example.org"},
    {"phone": "+16505551212"},
]


def _request(operation: Operation) -> httpx.Request:
    job = SyncJob(
        id="j",
        audience="a",
        operation=operation,
        members=prepare(GoogleDataManager.spec, enumerate(PEOPLE)).members,
        options={
            "account": "123-456-7890",
            "audience": "6667",
            "login_account": "1112223333",
            "terms_accepted": "true",
        },
        token="token",
        purposes=frozenset({"audience_sync", "ads_personalised"}),
    )
    return next(GoogleDataManager().flow(job))


def _parsed(operation: Operation) -> IngestAudienceMembersRequest | RemoveAudienceMembersRequest:
    kind = (
        IngestAudienceMembersRequest if operation is Operation.ADD else RemoveAudienceMembersRequest
    )
    message: IngestAudienceMembersRequest | RemoveAudienceMembersRequest = kind.from_json(
        _request(operation).content, ignore_unknown_fields=False
    )
    return message


@pytest.mark.parametrize("operation", list(Operation))
def test_body_parses_into_the_official_message_and_back(operation: Operation) -> None:
    message = _parsed(operation)
    printed = type(message).to_json(
        message, use_integers_for_enums=False, always_print_fields_with_no_presence=False
    )
    assert json.loads(printed) == json.loads(_request(operation).content)


def test_addition_says_consent_terms_and_encoding() -> None:
    message = _parsed(Operation.ADD)
    assert isinstance(message, IngestAudienceMembersRequest)
    assert message.consent.ad_user_data == ConsentStatus.CONSENT_GRANTED
    assert message.consent.ad_personalization == ConsentStatus.CONSENT_GRANTED
    assert message.terms_of_service.customer_match_terms_of_service_status == 1
    assert message.encoding == Encoding.HEX


def test_removal_says_neither_consent_nor_terms() -> None:
    body = json.loads(_request(Operation.REMOVE).content)
    assert body.keys() == {"destinations", "audienceMembers", "encoding"}


def test_each_member_has_its_own_identifiers() -> None:
    members = _parsed(Operation.ADD).audience_members
    found = [
        [len(i.email_address or i.phone_number) for i in member.user_data.user_identifiers]
        for member in members
    ]
    assert found == [[64, 64], [64], [64]]


def test_reasons_we_classify_are_googles() -> None:
    known = set(ErrorReason.__members__)
    ours = google_data_manager._ROW_REASONS | google_data_manager._CONTRACT_REASONS
    assert ours <= known


@pytest.mark.parametrize("path", sorted(VECTORS.glob("poll_*/responses.json")), ids=str)
def test_status_examples_are_messages_of_the_official_package(path: Path) -> None:
    for answer in json.loads(path.read_text()):
        if answer["status"] == httpx.codes.OK and "body" in answer:
            text = json.dumps(answer["body"])
            RetrieveRequestStatusResponse.from_json(text, ignore_unknown_fields=False)


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_request_examples_are_messages_of_the_official_package(verb: str) -> None:
    kind = IngestAudienceMembersRequest if verb == "add" else RemoveAudienceMembersRequest
    for request in json.loads((VECTORS / verb / "requests.json").read_text()):
        kind.from_json(json.dumps(request["body"]), ignore_unknown_fields=False)
