"""Takes the observations of one request in, as one piece of work of the door.

The only place above the gate that handles raw observations: the HTTP side passes bytes in and gets
outcomes back.
"""

from collections.abc import Sequence
from functools import partial

from consent.gate import Refusal
from consent.identifiers import IdentifierType
from consent.observation import Observation
from consent.outcome import Outcome, Reason
from consent.policy import SourcePolicy
from gateway.collector.access import Access
from gateway.collector.door import Door
from gateway.collector.prepare import Preparer
from gateway.eventlogs.group import Group, NewEvent

__all__ = ["Intake"]

_Fates = Sequence[tuple[Outcome, Reason]]


class Intake:
    """Admits whole requests. ``access`` checks identity proofs."""

    def __init__(self, door: Door, preparer: Preparer, access: Access) -> None:
        self.clock = door.clock
        self._door = door
        self._preparer = preparer
        self._access = access
        self._sites = preparer.gate.policy.sites

    def region(self, source: SourcePolicy) -> str:
        """Return the region that a source's national phone numbers belong to."""
        return self._sites[source.site].region

    async def take(
        self, observations: Sequence[Observation], source: SourcePolicy, *, refused: bool
    ) -> _Fates:
        """Admit observations in order; return what became of each, after the commit.

        ``refused``: the request brought the cookie of an own refusal.
        """
        if refused:
            for observation in observations:
                observation.refused = True
        work = partial(self._observe, observations, source)
        results = await self._door.admit(work, len(observations))
        return [
            (result.outcome, result.reason if isinstance(result, Refusal) else Reason.NONE)
            for result in results
        ]

    async def count_unreadable(self, source: SourcePolicy) -> None:
        """Count a request of which nothing could be read."""
        await self._door.admit(partial(_count_invalid, source.name))

    def _observe(
        self, observations: Sequence[Observation], source: SourcePolicy, group: Group
    ) -> list[NewEvent | Refusal]:
        observe = self._preparer.observe
        return [
            observe(group, one, proven=one.proof is not None and self._proven(one, source))
            for one in observations
        ]

    def _proven(self, observation: Observation, source: SourcePolicy) -> bool:
        return any(
            self._access.proves(source.site, identifier.value, observation.proof)
            for identifier in observation.identifiers
            if identifier.type is IdentifierType.USER_ID
        )


def _count_invalid(source: str, group: Group) -> None:
    group.count(source, Outcome.INVALID, Reason.MALFORMED)
