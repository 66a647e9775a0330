"""Both connectors against the running simulated platforms, over real connections (F15, R6)."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from gateway.outbound import Endpoint, Outbound, OutboundLimits
from segments.destination import (
    Destination,
    Fate,
    Operation,
    SyncJob,
    SyncReport,
    load_destination,
)
from segments.export import drive, prepare, split
from tests.sandbox_server import RunningSandbox, sandbox

PURPOSES = frozenset({"audience_sync", "ads_personalised"})
LIMITS = OutboundLimits(read_seconds=0.5, total_seconds=1.0)
PLATFORMS = {"meta": "meta_audiences", "google": "google_data_manager"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with sandbox() as found:
        yield found


@pytest.fixture(params=sorted(PLATFORMS))
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(running: RunningSandbox) -> RunningSandbox:
    running.reset(processing_seconds=0.0)
    return running


def a_job(place: RunningSandbox, destination: Destination, people: int = 3) -> SyncJob:
    contacts: list[tuple[int, Mapping[str, str]]] = [
        (row, {"email": f"jane.{row}@example.de", "phone": f"+4917123{row:05d}"})
        for row in range(people)
    ]
    return SyncJob(
        id="job-1",
        audience="a",
        operation=Operation.ADD,
        members=prepare(destination.spec, contacts).members,
        options={
            "endpoint": place.url,
            "audience": "77",
            "account": "123",
            "terms_accepted": "2026-11-21",
        },
        token="t",
        purposes=PURPOSES,
    )


def run(destination: Destination, *jobs: SyncJob, cut_after: float = 0.0) -> list[SyncReport]:
    """Run jobs one after the other, and poll what was only accepted."""

    async def driven() -> list[SyncReport]:
        reports = []
        endpoint = Endpoint(jobs[0].options["endpoint"], private=True)
        async with Outbound(endpoint, LIMITS) as outbound:
            for job in jobs:
                cut = asyncio.Event()
                if cut_after:
                    asyncio.get_running_loop().call_later(cut_after, cut.set)
                flow = destination.flow(job)
                report = await drive(flow, outbound.send, now=time.monotonic, cut=cut)
                if report.fate is Fate.ACCEPTED:
                    flow = destination.poll(job, report.reference)
                    report = await drive(flow, outbound.send, now=time.monotonic)
                reports.append(report)
        return reports

    return asyncio.run(driven())


def test_members_are_added_and_removed(place: RunningSandbox, platform: str) -> None:
    destination = load_destination(PLATFORMS[platform])
    job = a_job(place, destination)
    (added,) = run(destination, job)
    assert added.fate is Fate.CONFIRMED
    wanted = {digest for member in job.members for digest in member.digests.values()}
    assert place.digests(platform, "77") == wanted
    removal = replace(job, operation=Operation.REMOVE, members=job.members[:2])
    (removed,) = run(destination, replace(removal, purposes=frozenset()))
    assert removed.fate is Fate.CONFIRMED
    assert place.audiences()[platform]["77"] == 1


def test_nothing_but_digests_ever_arrives(place: RunningSandbox, platform: str) -> None:
    destination = load_destination(PLATFORMS[platform])
    run(destination, a_job(place, destination))
    assert sum(entry.plaintext for entry in place.journal()) == 0


def test_adding_twice_is_adding_once(place: RunningSandbox, platform: str) -> None:
    destination = load_destination(PLATFORMS[platform])
    job = a_job(place, destination)
    run(destination, job, job)
    assert place.audiences()[platform]["77"] == 3


@pytest.mark.parametrize(
    ("fault", "fate"),
    [
        ("throttle", Fate.RETRY),
        ("http500", Fate.IN_DOUBT),
        ("reset", Fate.IN_DOUBT),
        ("lost_200", Fate.IN_DOUBT),
        ("garbage", Fate.IN_DOUBT),
        ("huge", Fate.IN_DOUBT),
        ("hang", Fate.IN_DOUBT),
        ("expired", Fate.REFRESH),
        ("redirect", Fate.BLOCKED),
        ("forbidden", Fate.BLOCKED),
        ("unknown_audience", Fate.BLOCKED),
    ],
)
def test_fault_has_its_fate_and_the_next_try_heals(
    place: RunningSandbox, platform: str, fault: str, fate: Fate
) -> None:
    destination = load_destination(PLATFORMS[platform])
    job = a_job(place, destination)
    place.fault(platform, fault)
    first, second = run(destination, job, job)
    assert (first.fate, second.fate) == (fate, Fate.CONFIRMED)
    assert place.audiences()[platform]["77"] == 3


def test_late_answer_is_in_doubt_although_the_platform_acted(
    place: RunningSandbox, platform: str
) -> None:
    destination = load_destination(PLATFORMS[platform])
    place.fault(platform, "late_200", delay_ms=2_000)
    (report,) = run(destination, a_job(place, destination))
    assert report.fate is Fate.IN_DOUBT
    assert place.audiences()[platform]["77"] == 3


def test_partial_failure_is_split_until_everyone_is_in(
    place: RunningSandbox, platform: str
) -> None:
    destination = load_destination(PLATFORMS[platform])
    job = a_job(place, destination, people=5)
    place.fault(platform, "partial")
    (report,) = run(destination, job)
    assert report.fate is Fate.SPLIT
    assert {part.fate for part in run(destination, *split(job, report))} == {Fate.CONFIRMED}
    assert place.audiences()[platform]["77"] == 5


def test_cut_request_ends_at_once_and_is_in_doubt(place: RunningSandbox, platform: str) -> None:
    destination = load_destination(PLATFORMS[platform])
    place.fault(platform, "hang")
    start = time.monotonic()
    (report,) = run(destination, a_job(place, destination), cut_after=0.05)
    assert (report.fate, report.code) == (Fate.IN_DOUBT, "cut")
    assert time.monotonic() - start < LIMITS.read_seconds


def test_times_of_arrival_compare_with_this_process(place: RunningSandbox, platform: str) -> None:
    destination = load_destination(PLATFORMS[platform])
    before = time.monotonic()
    run(destination, a_job(place, destination))
    after = time.monotonic()
    assert all(before < entry.arrived <= entry.received < after for entry in place.journal())


def test_google_works_on_it_before_it_confirms(running: RunningSandbox) -> None:
    running.reset(processing_seconds=60.0)
    destination = load_destination("google_data_manager")
    (report,) = run(destination, a_job(running, destination))
    assert (report.fate, report.code) == (Fate.ACCEPTED, "PROCESSING")
