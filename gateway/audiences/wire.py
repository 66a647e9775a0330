"""Carries one job to a platform and brings its report back, with the credential it needs.

The token file is read again when the platform says that the credential expired. Knows no store
and no consent; the caller's ``send`` makes the last check.
"""

import asyncio

from gateway.audiences.platform import Platform
from gateway.backrecords import Job
from gateway.clock import Clock
from segments.destination import Fate, Flow, Member, SyncJob, SyncReport
from segments.export import Send, drive

__all__ = ["Wire"]

_MS_PER_SECOND = 1_000


class Wire:
    """One platform's wire."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = platform
        self._clock = clock
        self._token = platform.read_token()

    async def carry(
        self, job: Job, members: tuple[Member, ...], send: Send, cut: asyncio.Event | None = None
    ) -> SyncReport:
        """Send a job's members; setting ``cut`` ends it at once."""
        flow = self._platform.destination.flow(self._sync_job(job, members))
        return await self._drive(flow, send, cut)

    async def ask(self, job: Job) -> SyncReport:
        """Ask what came of an accepted job; nothing about a member is sent."""
        nameless = tuple(Member(row, {}) for row in range(job.members))
        flow = self._platform.destination.poll(self._sync_job(job, nameless), job.reference)
        return await self._drive(flow, self._platform.send, None)

    async def _drive(self, flow: Flow, send: Send, cut: asyncio.Event | None) -> SyncReport:
        report = await drive(flow, send, now=self._seconds, cut=cut)
        if report.fate is Fate.REFRESH:
            self._token = self._platform.read_token()
        return report

    def _sync_job(self, job: Job, members: tuple[Member, ...]) -> SyncJob:
        return SyncJob(
            id=f"{job.id:016x}",
            audience=job.audience,
            operation=job.operation,
            members=members,
            options=self._platform.options,
            token=self._token,
            purposes=job.purposes,
        )

    def _seconds(self) -> float:
        return self._clock() / _MS_PER_SECOND
