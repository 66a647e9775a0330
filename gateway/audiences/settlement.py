"""Records what is about to be sent and what came of it, one member at a time.

The intent is durable before the call; an answer that cannot be read settles nothing. Decides how
long a path waits after a failure. Sends nothing and opens no contact value.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from gateway.audiences.platform import Means
from gateway.backrecords import Job, Lane
from gateway.backstore import BackTransaction
from segments.audiences.membership import (
    Held,
    Membership,
    Settlement,
    Step,
    fence_ended,
    recover,
    settle,
    undo,
)
from segments.destination import Fate, Operation, SyncReport
from segments.export import may_have_effect

__all__ = ["CUT", "Settler", "chunk_digest"]

CUT = "cut"
"""Code of a send that a withdrawal ended; no fault of the platform."""

_SETTLED = frozenset({Fate.CONFIRMED, Fate.ACCEPTED, Fate.SPLIT, Fate.REJECTED})
_SECOND = 1_000
_PARK_SECONDS = {Operation.ADD: 900.0, Operation.REMOVE: 30.0}
_LANE_CAP_SECONDS = {Operation.ADD: 300.0, Operation.REMOVE: 3.0}
"""A path of removals never stays closed for longer than a few seconds."""
_TRIED_AGAIN = frozenset({Fate.RETRY, Fate.IN_DOUBT, Fate.REJECTED})
_MEMBER_ASKED_SECONDS = 30.0
_PATIENT_AFTER = 8
_PATIENT_SECONDS = 300.0
_FIRST_QUESTION_MS = 500
_QUESTION_CAP_SECONDS = 60.0
_GIVE_UP_ASKING_MS = 48 * 3_600 * _SECOND

_log = structlog.get_logger()


def chunk_digest(operation: Operation, audience: str, slots: Iterable[int]) -> str:
    """Name a set of members without naming anyone: slots are random numbers of ours."""
    text = f"{operation} {audience} {sorted(slots)}"
    return hashlib.sha256(text.encode()).hexdigest()


class Settler:
    """Books of one destination."""

    def __init__(self, means: Means, destination: str, *, asynchronous: bool) -> None:
        self._means = means
        self._destination = destination
        self._asynchronous = asynchronous

    def waits(self, operation: Operation) -> bool:
        """Say whether a path is closed for now."""
        with self._means.store.read() as back:
            lane = back.lanes(self._destination).get(operation, Lane())
        return lane.next_at > self._means.clock()

    def reopen(self) -> None:
        """Open parked paths again: the process starts anew, perhaps with other credentials."""
        with self._means.store.write() as back:
            for operation in back.lanes(self._destination):
                back.set_lane(self._destination, operation, Lane())

    def recover(self, operation: Operation | None = None) -> int:
        """Put jobs that nobody carries any more in doubt; return how many there were."""
        now = self._means.clock()
        with self._means.store.write() as back:
            jobs = [
                job
                for job in back.jobs(self._destination, "running")
                if operation in {None, job.operation}
            ]
            for job in jobs:
                steps = [recover(row, now) for row in back.of_job(job.id)]
                back.apply(job.destination, job.audience, steps)
                back.put_job(replace(job, state="done", fate=Fate.IN_DOUBT, code="interrupted"))
        return len(jobs)

    def settle(
        self, job: Job, fates: Mapping[int, Fate], before: Mapping[int, Held], report: SyncReport
    ) -> None:
        """Settle a job with each slot's fate; ``before`` is what was held before it."""
        now = self._means.clock()
        effects = {
            fate: may_have_effect(replace(report, fate=fate)) for fate in set(fates.values())
        }
        polled = self._asynchronous and report.fate is Fate.ACCEPTED and bool(report.reference)
        with self._means.store.write() as back:
            self._note_lane(back, job.operation, report, now)
            rows = back.of_job(job.id)
            unfinished = back.unfinished({row.fence for row in rows})
            steps = [
                settle(
                    row,
                    Settlement(
                        job=job.id,
                        fate=fates[row.slot],
                        before=before.get(row.slot, Held.MAYBE),
                        effect=effects[fates[row.slot]],
                        final=not polled,
                        fence_open=row.fence in unfinished,
                        due=self._due(row, fates[row.slot], report, now),
                        batch=job.members,
                    ),
                    now,
                )
                for row in rows
            ]
            self._write(back, job, steps, rows, fates)
            state = "accepted" if polled else "done"
            back.put_job(
                replace(
                    job,
                    state=state,
                    fate=report.fate,
                    code=report.code,
                    reference=report.reference,
                    next_at=now + _FIRST_QUESTION_MS,
                )
            )
        _log.info(
            "job_settled",
            destination=self._destination,
            operation=job.operation,
            fate=report.fate,
            code=report.code,
            count=len(rows),
        )

    def undo(self, job: Job, before: Mapping[int, Held], leaving: int) -> None:
        """Take back a job of additions of which no byte was written."""
        now = self._means.clock()
        with self._means.store.write() as back:
            rows = back.of_job(job.id)
            steps = [undo(row, job.id, before[row.slot], now) for row in rows]
            self._write(back, job, steps, rows, {})
            back.set_leaving(job.destination, job.audience, leaving)
            back.put_job(replace(job, state="done", fate=Fate.RETRY, code=CUT))

    def answer(self, job: Job, report: SyncReport) -> None:
        """Note what a platform says about a job it accepted; settle the job once it has ended."""
        now = self._means.clock()
        asked = replace(job, attempts=job.attempts + 1, code=report.code)
        expired = now - job.opened_at > _GIVE_UP_ASKING_MS
        if report.fate in {Fate.ACCEPTED, Fate.RETRY, Fate.REFRESH, Fate.BLOCKED} and not expired:
            wait = self._means.backoff(asked.attempts, _QUESTION_CAP_SECONDS)
            wait = max(wait, report.retry_after_seconds or 0.0)
            with self._means.store.write() as back:
                back.put_job(replace(asked, next_at=now + int(wait * _SECOND)))
            return
        known = report.fate in {Fate.CONFIRMED, Fate.REJECTED, Fate.SPLIT} and not report.rows
        fate = report.fate if known else Fate.IN_DOUBT
        self._end(replace(asked, state="done", fate=fate), now)

    def _end(self, job: Job, now: int) -> None:
        fate = Fate(job.fate)
        with self._means.store.write() as back:
            rows = back.of_job(job.id)
            back.put_job(job)
            unfinished = back.unfinished({row.fence for row in rows})
            steps = [
                settle(
                    row,
                    Settlement(
                        job=job.id,
                        fate=fate,
                        before=Held.MAYBE,
                        fence_open=row.fence in unfinished,
                        due=self._due(row, fate, SyncReport(fate=fate), now),
                        batch=job.members,
                    ),
                    now,
                )
                for row in rows
            ]
            self._write(back, job, steps, rows, dict.fromkeys((row.slot for row in rows), fate))
            repeats = [fence_ended(row, job.id, now) for row in back.fenced_by(job.id)]
            back.apply(job.destination, job.audience, repeats)

    def _write(
        self,
        back: BackTransaction,
        job: Job,
        steps: Sequence[Step],
        rows: Sequence[Membership],
        fates: Mapping[int, Fate],
    ) -> None:
        back.apply(job.destination, job.audience, steps)
        gone = [step.row.slot for step in steps if step.row.held is Held.NO]
        back.forget(job.destination, job.audience, gone)
        receipts = Counter(fates.get(row.slot) for row in rows)
        for fate in (Fate.ACCEPTED, Fate.CONFIRMED):
            if receipts[fate]:
                back.count_receipt(
                    job.destination, job.audience, job.operation, fate, receipts[fate]
                )

    def _note_lane(
        self, back: BackTransaction, operation: Operation, report: SyncReport, now: int
    ) -> None:
        old = back.lanes(self._destination).get(operation, Lane())
        new = self._lane_after(old, operation, report, now)
        if new != old:
            back.set_lane(self._destination, operation, new)

    def _lane_after(self, old: Lane, operation: Operation, report: SyncReport, now: int) -> Lane:
        if report.code == CUT:
            return old
        if report.fate in _SETTLED:
            return Lane()
        attempts = old.attempts + 1
        again = old.code == report.code and old.attempts > 0
        if report.fate is Fate.BLOCKED or (report.fate is Fate.REFRESH and again):
            wait = _PARK_SECONDS[operation]
            _log.error(
                "destination_parked",
                destination=self._destination,
                operation=operation,
                code=report.code,
            )
            return Lane(report.code, attempts, now + int(wait * _SECOND), parked=True)
        if report.fate is Fate.REFRESH:
            return Lane(report.code, attempts, now)
        wait = report.retry_after_seconds or 0.0
        if operation is Operation.REMOVE:
            wait = min(wait, _LANE_CAP_SECONDS[operation])
        wait = max(wait, self._means.backoff(attempts, _LANE_CAP_SECONDS[operation]))
        return Lane(report.code, attempts, now + int(wait * _SECOND))

    def _due(self, row: Membership, fate: Fate, report: SyncReport, now: int) -> int:
        if fate not in _TRIED_AGAIN:
            # Done, or the path as a whole waits.
            return now
        cap = _PATIENT_SECONDS if row.tries > _PATIENT_AFTER else _LANE_CAP_SECONDS[_kind(row)]
        wait = self._means.backoff(row.tries, cap)
        asked = min(report.retry_after_seconds or 0.0, _MEMBER_ASKED_SECONDS)
        return now + int(max(wait, asked) * _SECOND)


def _kind(row: Membership) -> Operation:
    return row.operation or Operation.ADD
