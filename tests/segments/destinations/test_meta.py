"""Meta payloads against code we did not write: the package facebook-business."""

import hashlib
import hmac

import httpx
import pytest
from facebook_business.adobjects.customaudience import CustomAudience

from segments.destination import Operation, SyncJob
from segments.destinations.meta import MetaAudiences
from segments.export import prepare

PEOPLE = [
    ("Jane.Doe+Shop@Example.de", "+491712345678"),
    ("o_brien-k@example.org", "+16505551212"),
    ("john_smith@gmail.com", "+448444124653"),
]
SCHEMA = [
    CustomAudience.Schema.MultiKeySchema.email,
    CustomAudience.Schema.MultiKeySchema.phone,
]


def _payload(people: list[dict[str, str]]) -> object:
    members = prepare(MetaAudiences.spec, enumerate(people)).members
    job = SyncJob(
        id="j",
        audience="a",
        operation=Operation.ADD,
        members=members,
        options={"audience": "1", "app_secret": "s3cret"},
        token="token",
        purposes=frozenset({"audience_sync"}),
    )
    return _sent(job)["payload"]


def _request(job: SyncJob) -> httpx.Request:
    return next(MetaAudiences().flow(job))


def _sent(job: SyncJob) -> dict[str, object]:
    body: dict[str, object] = httpx.Response(200, content=_request(job).content).json()
    return body


def test_payload_equals_what_the_official_package_builds_from_the_same_people() -> None:
    theirs = CustomAudience.format_params(SCHEMA, [list(row) for row in PEOPLE], is_raw=True)
    ours = _payload([{"email": email, "phone": phone} for email, phone in PEOPLE])
    assert ours == theirs["payload"]


def test_missing_identifier_is_left_blank_as_the_official_package_takes_it() -> None:
    email, phone = PEOPLE[0]
    rows = [
        [hashlib.sha256(email.lower().encode()).hexdigest(), ""],
        ["", hashlib.sha256(phone.removeprefix("+").encode()).hexdigest()],
    ]
    theirs = CustomAudience.format_params(SCHEMA, rows, is_raw=True, pre_hashed=True)
    assert _payload([{"email": email}, {"phone": phone}]) == theirs["payload"]


@pytest.mark.parametrize(("email", "phone"), PEOPLE)
def test_single_key_digest_equals_the_official_one(email: str, phone: str) -> None:
    theirs = CustomAudience.format_params(CustomAudience.Schema.email_hash, [email])
    members = prepare(MetaAudiences.spec, [(0, {"email": email, "phone": phone})]).members
    assert [members[0].digests["email"]] == theirs["payload"]["data"]


def test_app_secret_proof_is_the_keyed_hash_of_the_token() -> None:
    job = SyncJob(
        id="j",
        audience="a",
        operation=Operation.REMOVE,
        members=prepare(MetaAudiences.spec, [(0, {"email": "a@b.de"})]).members,
        options={"audience": "1", "app_secret": "s3cret"},
        token="token",
        purposes=frozenset(),
    )
    wanted = hmac.new(b"s3cret", b"token", hashlib.sha256).hexdigest()
    assert _request(job).url.params["appsecret_proof"] == wanted


def test_session_number_fits_64_bits_and_differs_between_jobs() -> None:
    members = prepare(MetaAudiences.spec, [(0, {"email": "a@b.de"})]).members
    numbers = set()
    for name in map(str, range(50)):
        job = SyncJob(
            id=name,
            audience="a",
            operation=Operation.REMOVE,
            members=members,
            options={"audience": "1"},
            token="token",
            purposes=frozenset(),
        )
        session = _sent(job)["session"]
        assert isinstance(session, dict)
        numbers.add(session["session_id"])
    assert len(numbers) == 50
    assert max(numbers) < 2**63
