"""Drives a destination's flow over a send function; prepares, batches, splits and settles members.

Knows no store, no key and no platform. ``drive`` alone awaits, the rest is pure. A transport
error is RETRY only where no byte of the body was written; otherwise the platform may have acted
and nobody knows: IN_DOUBT.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

import httpx

from segments.destination import DestinationSpec, Fate, Flow, Member, SyncJob, SyncReport
from segments.errors import DestinationRejectedError, IdentifierRejectedError
from segments.hashing import digest

__all__ = [
    "Prepared",
    "Send",
    "batches",
    "drive",
    "may_have_effect",
    "prepare",
    "retry_after_seconds",
    "split",
]

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
"""Sends one request and returns its whole answer; raises ``httpx.HTTPError`` on transport errors,
``DestinationRejectedError`` where the address itself is refused."""

_NOTHING_WRITTEN: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_SENT: Final = (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL)
_NO_EFFECT: Final = frozenset({Fate.RETRY, Fate.REFRESH, Fate.BLOCKED, Fate.REJECTED})
_MAX_RETRY_AFTER: Final = 86_400.0
_TRANSPORT: Final = "transport_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Members of one batch with their digests, and what became of the other rows.

    ``twins`` maps a row that is sent to the rows with the very same digests; ``unusable`` are rows
    without any identifier for this platform; ``rejected`` counts identifiers by reason.
    """

    members: Sequence[Member]
    twins: Mapping[int, Sequence[int]] = field(default_factory=lambda: MappingProxyType({}))
    unusable: Sequence[int] = ()
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def settle(self, report: SyncReport) -> dict[int, Fate]:
        """Return the fate of every row that was handed in."""
        special = report.rows or {}
        fates = {member.row: special.get(member.row, report.fate) for member in self.members}
        for row, others in self.twins.items():
            fates.update(dict.fromkeys(others, fates[row]))
        fates.update(dict.fromkeys(self.unusable, Fate.REJECTED))
        return fates


def prepare(spec: DestinationSpec, contacts: Iterable[tuple[int, Mapping[str, str]]]) -> Prepared:
    """Normalise and hash contact data for one platform; one spelling of a person is one member.

    ``contacts`` are (row, identifier kind → canonical value). A value that the platform cannot
    take is dropped and counted; a row without any value left is unusable.
    """
    first: dict[tuple[str, ...], Member] = {}
    twins: dict[int, list[int]] = {}
    unusable: list[int] = []
    rejected: Counter[str] = Counter()
    for row, values in contacts:
        digests = _digests(spec, values, rejected)
        if not digests:
            unusable.append(row)
            continue
        key = tuple(digests.get(kind, "") for kind in spec.identifiers)
        kept = first.setdefault(key, Member(row, digests))
        if kept.row != row:
            twins.setdefault(kept.row, []).append(row)
    return Prepared(
        members=tuple(first.values()), twins=twins, unusable=unusable, rejected=rejected
    )


def _digests(
    spec: DestinationSpec, values: Mapping[str, str], rejected: Counter[str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, family in spec.identifiers.items():
        if kind not in values:
            continue
        try:
            found[kind] = digest(kind, family, values[kind], encoding=spec.encoding)
        except IdentifierRejectedError as error:
            rejected[error.reason] += 1
    return found


def batches(members: Sequence[Member], size: int) -> Iterator[Sequence[Member]]:
    """Cut members into runs of at most ``size``."""
    for start in range(0, len(members), size):
        yield members[start : start + size]


def split(job: SyncJob, report: SyncReport) -> tuple[SyncJob, ...]:
    """Return what to send after SPLIT: the rest if the report names rows, else two halves.

    Rows keep their numbers; each part gets an id of its own, made from the job's.
    """
    rest = [member for member in job.members if member.row not in (report.rows or {})]
    size = len(rest) if len(rest) < len(job.members) else max(1, (len(rest) + 1) // 2)
    parts = batches(rest, size) if rest else ()
    return tuple(
        replace(job, id=f"{job.id}.{number}", members=part) for number, part in enumerate(parts)
    )


def may_have_effect(report: SyncReport) -> bool:
    """Say whether the platform may hold, or have dropped, members of the job.

    False only where it surely did nothing. A SPLIT batch may have been taken in part.
    """
    return report.fate not in _NO_EFFECT


def retry_after_seconds(value: str, now: float) -> float | None:
    """Read ``Retry-After``: seconds or an HTTP date (RFC 9110 10.2.3); ``now`` is Unix seconds.

    Returns at most a day, None where the value is neither.
    """
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, at - now), _MAX_RETRY_AFTER)


async def drive(
    flow: Flow, send: Send, *, now: Callable[[], float], cut: asyncio.Event | None = None
) -> SyncReport:
    """Run a flow to its report; never raises for what the network or the platform does.

    ``now`` gives Unix seconds. Setting ``cut`` closes the connection in flight and ends the flow:
    RETRY if nothing was sent yet, else IN_DOUBT.
    """
    answer: httpx.Response | None = None
    try:
        request = next(flow)
        while True:
            outcome = await _outcome(send, request, cut)
            if isinstance(outcome, SyncReport):
                return outcome
            answer = outcome
            request = flow.send(answer)
    except StopIteration as done:
        report: SyncReport = done.value
        return _with_retry_after(report, answer, now())
    finally:
        flow.close()


def _with_retry_after(report: SyncReport, answer: httpx.Response | None, now: float) -> SyncReport:
    header = answer.headers.get("retry-after", "") if answer is not None else ""
    if not header or report.retry_after_seconds is not None or report.fate is Fate.CONFIRMED:
        return report
    return replace(report, retry_after_seconds=retry_after_seconds(header, now))


async def _outcome(
    send: Send, request: httpx.Request, cut: asyncio.Event | None
) -> httpx.Response | SyncReport:
    # A question changes nothing at the platform, so it can always be asked again.
    unknown = Fate.RETRY if request.method == "GET" else Fate.IN_DOUBT
    try:
        if cut is None:
            return await send(request)
        return await _unless_cut(send, request, cut) or SyncReport(fate=unknown, code="cut")
    except DestinationRejectedError as error:
        return SyncReport(fate=Fate.BLOCKED, code=error.code or "address_refused")
    except _NEVER_SENT:
        return SyncReport(fate=Fate.BLOCKED, code="request_malformed")
    except _NOTHING_WRITTEN as error:
        return SyncReport(fate=Fate.RETRY, code=f"{_TRANSPORT}{type(error).__name__}")
    except httpx.HTTPError as error:
        return SyncReport(fate=unknown, code=f"{_TRANSPORT}{type(error).__name__}")


async def _unless_cut(
    send: Send, request: httpx.Request, cut: asyncio.Event
) -> httpx.Response | SyncReport | None:
    """Send, or return None once cut; the connection is closed by then."""
    if cut.is_set():
        return SyncReport(fate=Fate.RETRY, code="cut")
    sending = asyncio.ensure_future(send(request))
    cutting = asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait({sending, cutting}, return_when=asyncio.FIRST_COMPLETED)
        return sending.result() if sending.done() else None
    finally:
        cutting.cancel()
        sending.cancel()
        await asyncio.gather(sending, cutting, return_exceptions=True)
