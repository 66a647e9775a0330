"""Driving a flow, preparing and splitting batches; transport faults as reliability rows F15."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.destination import (
    DestinationSpec,
    Fate,
    Flow,
    Member,
    Operation,
    SyncJob,
    SyncReport,
)
from segments.errors import DestinationRejectedError
from segments.export import (
    Send,
    batches,
    drive,
    may_have_effect,
    prepare,
    retry_after_seconds,
    split,
)

SPEC = DestinationSpec(
    kind="x",
    title="X",
    identifiers={"email": "E1", "phone": "P2"},
    max_members=10,
    requests_per_minute=60,
    hosts=("x.example",),
)
POST = httpx.Request("POST", "https://x.example/", content=b"{}")
GET = httpx.Request("GET", "https://x.example/")


def a_job(size: int) -> SyncJob:
    members = [Member(row, {"email": f"{row:064x}"}) for row in range(size)]
    return SyncJob(
        id="j",
        audience="a",
        operation=Operation.ADD,
        members=members,
        options={},
        token="t",
        purposes=frozenset(),
    )


def one_request(request: httpx.Request) -> Flow:
    answer = yield request
    return SyncReport(fate=Fate.ACCEPTED, code=str(answer.status_code))


def answering(answer: httpx.Response | Exception) -> Send:
    async def send(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send


def driven(flow: Flow, send: Send) -> SyncReport:
    return asyncio.run(drive(flow, send, now=lambda: 0.0))


def test_flow_is_sent_the_answers_in_order() -> None:
    def two() -> Flow:
        first = yield POST
        second = yield GET
        return SyncReport(fate=Fate.CONFIRMED, code=f"{first.text}{second.text}")

    answers = iter(["a", "b"])

    async def send(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=next(answers))

    assert driven(two(), send).code == "ab"


def test_flow_without_a_request_reports_at_once() -> None:
    def none() -> Flow:
        yield from ()
        return SyncReport(fate=Fate.BLOCKED)

    assert driven(none(), answering(AssertionError())).fate is Fate.BLOCKED


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (httpx.ConnectError(""), Fate.RETRY),
        (httpx.ConnectTimeout(""), Fate.RETRY),
        (httpx.PoolTimeout(""), Fate.RETRY),
        (httpx.WriteError(""), Fate.IN_DOUBT),
        (httpx.WriteTimeout(""), Fate.IN_DOUBT),
        (httpx.ReadError(""), Fate.IN_DOUBT),
        (httpx.ReadTimeout(""), Fate.IN_DOUBT),
        (httpx.RemoteProtocolError(""), Fate.IN_DOUBT),
        (httpx.DecodingError(""), Fate.IN_DOUBT),
        (httpx.LocalProtocolError(""), Fate.BLOCKED),
        (httpx.UnsupportedProtocol(""), Fate.BLOCKED),
        (httpx.InvalidURL(""), Fate.BLOCKED),
        (DestinationRejectedError("", "address_refused"), Fate.BLOCKED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_transport_error_is_a_retry_only_where_nothing_was_written(
    error: Exception, fate: Fate
) -> None:
    assert driven(one_request(POST), answering(error)).fate is fate


def test_question_without_an_answer_can_always_be_asked_again() -> None:
    assert driven(one_request(GET), answering(httpx.ReadTimeout(""))).fate is Fate.RETRY


def test_refused_address_keeps_its_code() -> None:
    error = DestinationRejectedError("", "address_refused")
    assert driven(one_request(POST), answering(error)).code == "address_refused"


def test_retry_after_of_the_answer_is_added_to_the_report() -> None:
    answer = httpx.Response(503, headers={"Retry-After": "12"})
    assert driven(one_request(POST), answering(answer)).retry_after_seconds == 12


def test_retry_after_does_not_replace_what_the_flow_read() -> None:
    def reading() -> Flow:
        yield POST
        return SyncReport(fate=Fate.RETRY, retry_after_seconds=3.0)

    answer = httpx.Response(429, headers={"Retry-After": "12"})
    assert driven(reading(), answering(answer)).retry_after_seconds == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("99999999999999999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=1000.0) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_raises_and_never_exceeds_a_day(value: str) -> None:
    seconds = retry_after_seconds(value, now=0.0)
    assert seconds is None or 0 <= seconds <= 86_400


def cut_while(send: Send, *, before: bool = False) -> SyncReport:
    async def run() -> SyncReport:
        cut = asyncio.Event()
        if before:
            cut.set()
        driving = asyncio.ensure_future(drive(one_request(POST), send, now=lambda: 0.0, cut=cut))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cut.set()
        return await driving

    return asyncio.run(run())


def hanging(ended: list[str]) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    async def send(_request: httpx.Request) -> httpx.Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("closed")
        raise AssertionError

    return send


def test_cut_ends_a_running_request_in_doubt_and_closes_it() -> None:
    ended: list[str] = []
    report = cut_while(hanging(ended))
    assert (report.fate, report.code, ended) == (Fate.IN_DOUBT, "cut", ["closed"])


def test_cut_before_the_first_byte_sends_nothing() -> None:
    ended: list[str] = []
    assert cut_while(hanging(ended), before=True).fate is Fate.RETRY
    assert ended == []


def test_answer_that_came_before_the_cut_counts() -> None:
    assert cut_while(answering(httpx.Response(200))).code == "200"


def test_prepare_hashes_each_kind_in_the_platforms_form() -> None:
    prepared = prepare(SPEC, [(7, {"email": "Jane@Example.de", "phone": "+491712345678"})])
    assert prepared.members[0].row == 7
    assert prepared.members[0].digests.keys() == {"email", "phone"}


def test_two_spellings_of_one_person_are_one_member_and_share_a_fate() -> None:
    prepared = prepare(SPEC, [(1, {"email": "JANE@x.de"}), (2, {"email": " jane@x.de"})])
    assert [member.row for member in prepared.members] == [1]
    assert prepared.settle(SyncReport(fate=Fate.CONFIRMED)) == {
        1: Fate.CONFIRMED,
        2: Fate.CONFIRMED,
    }


def test_rejected_identifiers_are_counted_by_reason_and_dropped() -> None:
    prepared = prepare(
        SPEC,
        [(1, {"email": "jane@x.de", "phone": "0171"}), (2, {"email": "a b@c.de"}), (3, {})],
    )
    assert [member.digests.keys() for member in prepared.members] == [{"email"}]
    assert prepared.rejected == {"not_a_number": 1, "not_an_address": 1}
    assert prepared.unusable == [2, 3]


def test_every_row_gets_exactly_one_fate() -> None:
    prepared = prepare(SPEC, [(1, {"email": "a@x.de"}), (2, {"email": "b@x.de"}), (3, {})])
    report = SyncReport(fate=Fate.SPLIT, rows={2: Fate.REJECTED})
    assert prepared.settle(report) == {1: Fate.SPLIT, 2: Fate.REJECTED, 3: Fate.REJECTED}


@given(st.integers(0, 60), st.integers(1, 25))
def test_batches_keep_every_member_once_and_in_order(count: int, size: int) -> None:
    members = a_job(count).members
    parts = list(batches(members, size))
    assert [member for part in parts for member in part] == list(members)
    assert all(0 < len(part) <= size for part in parts)


@given(st.integers(2, 40))
def test_split_halves_and_keeps_row_numbers(count: int) -> None:
    job = a_job(count)
    first, second = split(job, SyncReport(fate=Fate.SPLIT))
    assert [*first.members, *second.members] == list(job.members)
    assert len(first.members) - len(second.members) in {0, 1}
    assert {first.id, second.id} == {"j.0", "j.1"}


def test_split_drops_the_rows_that_the_report_settled() -> None:
    (rest,) = split(a_job(4), SyncReport(fate=Fate.SPLIT, rows={1: Fate.REJECTED}))
    assert [member.row for member in rest.members] == [0, 2, 3]


def test_split_of_nothing_left_is_nothing() -> None:
    assert split(a_job(1), SyncReport(fate=Fate.SPLIT, rows={0: Fate.REJECTED})) == ()


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=6))
def test_halving_finds_exactly_the_bad_rows(count: int, bad: set[int]) -> None:
    """A platform that only counts bad rows: what is left refused are the bad ones, none else."""
    accepted: set[int] = set()
    refused: set[int] = set()
    waiting = [a_job(count)]
    while waiting:
        job = waiting.pop()
        rows = {member.row for member in job.members}
        if not rows & bad:
            accepted |= rows
        elif len(rows) == 1:
            refused |= rows
        else:
            waiting += split(job, SyncReport(fate=Fate.SPLIT))
    assert refused == bad & set(range(count))
    assert accepted | refused == set(range(count))


@pytest.mark.parametrize("fate", list(Fate))
def test_only_a_plain_no_is_without_effect(fate: Fate) -> None:
    surely_nothing = {Fate.RETRY, Fate.REFRESH, Fate.BLOCKED, Fate.REJECTED}
    assert may_have_effect(SyncReport(fate=fate)) is (fate not in surely_nothing)


def test_preparing_and_settling_is_faster_than_the_export_budget() -> None:
    contacts = [
        (row, {"email": f"jane.{row}@example.de", "phone": f"+49171{row:07d}"})
        for row in range(20_000)
    ]
    best = float("inf")
    for _ in itertools.repeat(None, 3):
        start = time.process_time()
        prepared = prepare(SPEC, contacts)
        prepared.settle(SyncReport(fate=Fate.CONFIRMED))
        best = min(best, time.process_time() - start)
    assert len(contacts) / best > 20_000
