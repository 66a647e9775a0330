"""Takes members back out of an audience, from what the platform was shown of them.

Needs no consent, no contact data and no person's key, so it works after an erasure. Waits for
nothing but the platform's rate, which keeps a share for it.
"""

import structlog

from consent.errors import SealBrokenError
from gateway.audiences.platform import Means, Platform
from gateway.audiences.settlement import Settler, chunk_digest
from gateway.audiences.wire import Wire
from gateway.backrecords import Disclosure, Job
from segments.audiences.membership import Membership, Phase, Step, start
from segments.destination import Fate, Operation, SyncReport
from segments.export import Prepared, prepare

__all__ = ["Removals"]

_READY = (Phase.QUEUED, Phase.RELEASED, Phase.DOUBT)
_WORST_FIRST = (
    Fate.IN_DOUBT,
    Fate.SPLIT,
    Fate.RETRY,
    Fate.REFRESH,
    Fate.BLOCKED,
    Fate.REJECTED,
    Fate.ACCEPTED,
    Fate.CONFIRMED,
)

_log = structlog.get_logger()


class Removals:
    """The path of removals at one destination."""

    def __init__(self, means: Means, platform: Platform, settler: Settler, wire: Wire) -> None:
        self._means = means
        self._platform = platform
        self._settler = settler
        self._wire = wire

    async def step(self) -> bool:
        """Send one job of removals; return whether there was one."""
        now = self._means.clock()
        name = self._platform.name
        if not self._means.store.has_work(name, Operation.REMOVE, _READY, now):
            return False
        if self._settler.waits(Operation.REMOVE):
            return False
        limit = self._platform.destination.spec.max_members
        with self._means.store.read() as back:
            audience, rows = back.work(name, Operation.REMOVE, _READY, now, limit)
            shown = back.disclosed(name, audience, [row.slot for row in rows])
        if not rows or self._platform.pace.take(Operation.REMOVE) > 0:
            return False
        versions = [version for row in rows for version in shown.get(row.slot, ())]
        await self._send(audience, rows, versions[: max(limit, len(rows))])
        return True

    async def _send(
        self, audience: str, rows: list[Membership], versions: list[Disclosure]
    ) -> None:
        prepared, broken = self._prepare(versions)
        job = self._intend(audience, rows)
        report = SyncReport(fate=Fate.CONFIRMED, code="nothing_shown")
        if prepared.members:
            report = await self._wire.carry(job, tuple(prepared.members), self._platform.send)
        fates = dict.fromkeys((row.slot for row in rows), Fate.CONFIRMED)
        # What has no form for this platform was never sent to it.
        settled = prepared.settle(report) | dict.fromkeys(prepared.unusable, Fate.CONFIRMED)
        settled |= dict.fromkeys(broken, Fate.REJECTED)
        for number, version in enumerate(versions):
            worst = min(fates[version.slot], settled[number], key=_WORST_FIRST.index)
            fates[version.slot] = worst
        self._settler.settle(job, fates, {row.slot: row.held for row in rows}, report)

    def _prepare(self, versions: list[Disclosure]) -> tuple[Prepared, list[int]]:
        values: list[tuple[int, dict[str, str]]] = []
        broken: list[int] = []
        for number, version in enumerate(versions):
            try:
                values.append((number, self._means.disclosures.open(version)))
            except SealBrokenError:
                broken.append(number)
        if broken:
            # Held back and shown in status: the key ring that wrapped it must come back.
            _log.error("disclosure_broken", destination=self._platform.name, count=len(broken))
        return prepare(self._platform.destination.spec, values), broken

    def _intend(self, audience: str, rows: list[Membership]) -> Job:
        slots = [row.slot for row in rows]
        job = Job(
            id=self._means.new_id(),
            audience=audience,
            destination=self._platform.name,
            operation=Operation.REMOVE,
            purposes=frozenset(),
            chunk=chunk_digest(Operation.REMOVE, audience, slots),
            members=len(rows),
            position=self._means.view.head(),
            opened_at=self._means.clock(),
        )
        with self._means.store.write() as back:
            found = back.members(self._platform.name, audience, slots)
            # Nothing cancels an open removal, so these are still what was read.
            steps = [Step(start(row, job.id)) for row in found.values()]
            back.apply(self._platform.name, audience, steps)
            back.put_job(job)
        return job
