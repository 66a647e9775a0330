"""One suite for every destination: its example files, and the rules that hold for all of them.

The examples are folders in tests/vectors/destinations/<kind>; a new destination adds a folder.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import msgspec
import pytest

from segments.destination import (
    Destination,
    Fate,
    Flow,
    Member,
    Operation,
    SyncJob,
    SyncReport,
    load_destination,
)
from segments.errors import UnsupportedEngineError
from segments.export import drive
from segments.hashing import EMAIL_FAMILIES, PHONE_FAMILIES

VECTORS = Path(__file__).parents[1] / "vectors" / "destinations"
KINDS = sorted({entry.name for entry in entry_points(group="einlass.destinations")})
CASES = sorted(path.parent for path in VECTORS.glob("*/*/job.json"))
NEEDED = {"add", "garbage", "partial_failure", "rate_limited", "rejected_credentials", "remove"}
NOW = 1_795_262_400.0
"""2026-11-21 12:00:00 UTC, in seconds."""


class JobFile(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    audience: str
    operation: Operation
    members: list[Member]
    options: dict[str, str]
    token: str
    purposes: frozenset[str]
    poll: str = ""

    def job(self) -> SyncJob:
        return SyncJob(
            id=self.id,
            audience=self.audience,
            operation=self.operation,
            members=self.members,
            options=self.options,
            token=self.token,
            purposes=self.purposes,
        )


class RequestFile(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    url: str
    headers: dict[str, str]
    body: msgspec.Raw = msgspec.Raw(b"null")


class ResponseFile(msgspec.Struct, forbid_unknown_fields=True):
    status: int
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"")
    text: str = ""

    def response(self) -> httpx.Response:
        content = bytes(self.body) or self.text.encode()
        return httpx.Response(self.status, headers=self.headers, content=content)


def _read(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.json").read_bytes()


def _job(folder: Path) -> JobFile:
    return msgspec.json.decode(_read(folder, "job"), type=JobFile)


def _flow(folder: Path) -> Flow:
    found = _job(folder)
    destination = load_destination(folder.parent.name)
    return (
        destination.poll(found.job(), found.poll) if found.poll else destination.flow(found.job())
    )


def _replay(flow: Flow, answers: Sequence[ResponseFile]) -> tuple[list[httpx.Request], SyncReport]:
    sent: list[httpx.Request] = []
    scripted: Iterator[ResponseFile] = iter(answers)

    async def send(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return next(scripted).response()

    return sent, asyncio.run(drive(flow, send, now=lambda: NOW))


def _replayed(folder: Path) -> tuple[list[httpx.Request], SyncReport]:
    answers = msgspec.json.decode(_read(folder, "responses"), type=list[ResponseFile])
    return _replay(_flow(folder), answers)


def _id(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


@pytest.mark.parametrize("folder", CASES, ids=_id)
def test_case_makes_exactly_these_requests(folder: Path) -> None:
    sent, _ = _replayed(folder)
    wanted = msgspec.json.decode(_read(folder, "requests"), type=list[RequestFile])
    assert [(r.method, str(r.url)) for r in sent] == [(r.method, r.url) for r in wanted]
    for made, expected in zip(sent, wanted, strict=True):
        assert json.loads(made.content or b"null") == json.loads(bytes(expected.body))
        assert expected.headers.items() <= dict(made.headers).items()


@pytest.mark.parametrize("folder", CASES, ids=_id)
def test_case_reports_what_came_of_it(folder: Path) -> None:
    _, report = _replayed(folder)
    assert report == msgspec.json.decode(_read(folder, "report"), type=SyncReport)


@pytest.mark.parametrize("kind", KINDS)
def test_every_destination_has_the_needed_cases(kind: str) -> None:
    assert {folder.name for folder in CASES if folder.parent.name == kind} >= NEEDED


@pytest.fixture(params=KINDS)
def destination(request: pytest.FixtureRequest) -> Destination:
    return load_destination(request.param)


def _example(destination: Destination, name: str) -> SyncJob:
    return _job(VECTORS / destination.spec.kind / name).job()


def _first(flow: Flow) -> httpx.Request | SyncReport:
    try:
        return next(flow)
    except StopIteration as done:
        report: SyncReport = done.value
        return report


def test_spec_names_families_that_exist(destination: Destination) -> None:
    families = {"email": EMAIL_FAMILIES, "phone": PHONE_FAMILIES}
    for kind, family in destination.spec.identifiers.items():
        assert family in families[kind]


def test_registered_name_is_the_kind(destination: Destination) -> None:
    assert destination.spec.kind in KINDS
    assert (Path(__file__).parents[2] / destination.spec.docs).is_file()


def test_addition_without_a_needed_purpose_sends_nothing(destination: Destination) -> None:
    job = _example(destination, "add")
    for missing in destination.spec.purposes:
        refused = _first(destination.flow(replace(job, purposes=job.purposes - {missing})))
        assert isinstance(refused, SyncReport)
        assert refused.fate is Fate.REJECTED


def test_removal_needs_no_consent(destination: Destination) -> None:
    job = replace(_example(destination, "remove"), purposes=frozenset())
    assert isinstance(_first(destination.flow(job)), httpx.Request)


def test_requests_go_to_the_platforms_own_host_by_default(destination: Destination) -> None:
    job = _example(destination, "add")
    options = {name: value for name, value in job.options.items() if name != "endpoint"}
    request = _first(destination.flow(replace(job, options=options)))
    assert isinstance(request, httpx.Request)
    assert request.url.scheme == "https"
    assert request.url.host in destination.spec.hosts


def test_neither_token_nor_digest_is_in_the_address(destination: Destination) -> None:
    for name in ("add", "remove"):
        job = _example(destination, name)
        request = _first(destination.flow(job))
        assert isinstance(request, httpx.Request)
        secrets = [job.token, *(d for member in job.members for d in member.digests.values())]
        assert not any(secret in str(request.url) for secret in secrets)


def test_sending_again_sends_the_same_bytes(destination: Destination) -> None:
    job = _example(destination, "add")
    once, again = _first(destination.flow(job)), _first(destination.flow(job))
    assert isinstance(once, httpx.Request)
    assert isinstance(again, httpx.Request)
    assert once.content == again.content


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"1", b'{"error":1}', b"{", b"\xff\xfe", b'{"error":{}}']
)
@pytest.mark.parametrize("status", [200, 204, 400, 404, 500])
def test_answer_that_cannot_be_read_settles_nobody(
    destination: Destination, status: int, content: bytes
) -> None:
    answer = ResponseFile(status, text=content.decode("latin-1"))
    for name in ("add", "remove"):
        _, report = _replay(destination.flow(_example(destination, name)), [answer])
        assert report.fate in {Fate.IN_DOUBT, Fate.BLOCKED}
        assert not report.rows


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UnsupportedEngineError):
        load_destination("no_such_platform")
