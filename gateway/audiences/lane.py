"""One destination's way out: removals, additions and questions, each on a path of its own.

A path never waits for another, so throttled additions do not delay removals. Order inside a path
is the oldest due first. Specification: docs/design/audiences.md.
"""

from gateway.audiences.additions import Additions
from gateway.audiences.platform import Means, Platform
from gateway.audiences.removals import Removals
from gateway.audiences.settlement import Settler
from gateway.audiences.wire import Wire
from segments.destination import Operation

__all__ = ["AudienceLane"]


class AudienceLane:
    """The three paths of one destination."""

    def __init__(self, means: Means, platform: Platform) -> None:
        spec = platform.destination.spec
        self.name = platform.name
        self._means = means
        self._pace = platform.pace
        self._wire = Wire(platform, means.clock)
        self._settler = Settler(means, platform.name, asynchronous=spec.asynchronous)
        self._removals = Removals(means, platform, self._settler, self._wire)
        self._additions = Additions(means, platform, self._settler, self._wire)

    def recover(self) -> int:
        """Put in doubt what was in flight when the process died, and open parked paths."""
        self._settler.reopen()
        return self._settler.recover()

    def mend(self, operation: Operation) -> None:
        """Put in doubt what a step that failed left in flight on its path."""
        self._settler.recover(operation)

    def reconsider(self) -> None:
        """Look again at what waits: another process changed the store."""
        self._additions.reconsider()

    async def remove(self) -> bool:
        """Send one job of removals; return whether there was one."""
        return await self._removals.step()

    async def add(self) -> bool:
        """Screen, release or send additions once; return whether there was anything to do."""
        return await self._additions.step()

    async def ask(self) -> bool:
        """Ask what came of one accepted job; return whether one was due."""
        now = self._means.clock()
        if not self._means.store.has_question(self.name, now):
            return False
        if self._pace.take(Operation.ADD) > 0:
            return False
        with self._means.store.read() as back:
            due = back.jobs(self.name, "accepted", due=now)
        self._settler.answer(due[0], await self._wire.ask(due[0]))
        return True
