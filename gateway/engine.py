"""What the engine does when asked: evaluate, explain, sync, balance, why.

Synchronous and single-threaded; the process around it gives it one worker thread, and the command
line uses it directly when no server runs. Knows people by slot and prints them as pseudonyms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.outcome import Outcome
from consent.pseudonym import Domain, References
from gateway.audiences.desired import DesiredMembers
from gateway.audiences.status import balance, status
from gateway.backstore import BackStore
from gateway.clock import Clock
from gateway.errors import EngineError
from gateway.eventlogs.view import EmbeddedView
from gateway.settings import Settings
from segments.ports import LoggedEvent, PseudonymOf
from segments.rules.parse import read_yaml
from segments.rules.tree import Definition
from segments.segmenter import Segmenter

__all__ = ["Engine", "Names", "Stores", "printed", "read_definitions"]

_Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Stores:
    """The front store as a reader sees it, and the back store."""

    view: EmbeddedView
    back: BackStore


@dataclass(frozen=True, slots=True)
class Names:
    """How people are printed and how printed event ids are found again."""

    pseudonym: Domain
    references: References


class Engine:
    """One engine over the stores of one data directory."""

    def __init__(
        self,
        settings: Settings,
        segmenter: Segmenter,
        stores: Stores,
        names: Names,
        desired: DesiredMembers,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._segmenter = segmenter
        self.view = stores.view
        self._back = stores.back
        self._names = names
        self._desired = desired
        self._clock = clock

    def close(self) -> None:
        """Close what the engine holds."""
        self._segmenter.close()
        self._back.close()
        self.view.close()

    def catch_up(self, progress: _Progress | None = None) -> int:
        """Load what the log has beyond the warehouse; return the number of events."""
        return self._segmenter.catch_up(progress)

    def evaluate(
        self, text: str, at: int | None = None, engine: str = "duckdb"
    ) -> dict[str, dict[str, object]]:
        """Evaluate definitions given as YAML; members are printed as sorted pseudonyms."""
        definitions = read_yaml(text)
        self.catch_up()
        return self._segmenter.evaluate(definitions, at or self._clock(), engine)

    def sizes(self, at: int | None = None) -> dict[str, str]:
        """Return the size of every configured segment, protected against small numbers."""
        self.catch_up()
        return self._segmenter.sizes(read_definitions(self._settings), at or self._clock())

    def explain(
        self, text: str, name: str, subject: str, at: int | None = None
    ) -> dict[str, object]:
        """Explain one definition for one person, given by pseudonym."""
        definitions = {one.name: one for one in read_yaml(text)}
        if name not in definitions:
            raise EngineError("no definition of this name in the file", "unknown_segment")
        self.catch_up()
        person = self._find(subject)
        return self._segmenter.explain(definitions[name], person, at or self._clock())

    def _find(self, subject: str) -> int:
        for slot in self.view.slots():
            if self._names.pseudonym(slot) == subject:
                return slot
        raise EngineError("nobody has this pseudonym", "unknown_subject")

    def sync(self, audience: str, progress: _Progress | None = None) -> dict[str, Any]:
        """Evaluate an audience now and hand what it wants to the courier."""
        configured = self._settings.audiences.get(audience)
        if configured is None:
            raise EngineError("no such audience in the configuration", "unknown_audience")
        wanted = [one for one in read_definitions(self._settings) if one.name == configured.segment]
        if not wanted:
            raise EngineError("the audience's segment is in no configured file", "unknown_segment")
        position, now = self.view.head(), self._clock()
        self.catch_up(progress)
        membership = self._segmenter.members(wanted, now)[configured.segment]
        changes = self._desired.set_desired(
            audience,
            membership.persons,
            version=membership.version,
            at=now,
            position=position,
            now=now,
        )
        return {
            name: {"entering": entering, "leaving": leaving}
            for name, (entering, leaving) in changes.items()
        }

    def retire(self) -> int:
        """Empty audiences that the configuration does not name any more; return how many leave."""
        return self._desired.retire(self._clock())

    def status(self) -> list[dict[str, Any]]:
        """Return how every audience stands at every destination."""
        return status(self._back, self._settings.limits.min_audience, self._clock())

    def balance(self) -> dict[str, Any]:
        """Return the equation of everything that entered and everything that left.

        ``residue`` compares the door's counter of accepted events with the log's own rows, and
        adds what destinations cannot account for; anything but 0 means a loss or a double count.
        """
        sources: dict[str, dict[str, int]] = {}
        for source, outcome, _, count in self.view.counters():
            outcomes = sources.setdefault(source, dict.fromkeys(map(str, Outcome), 0))
            outcomes[outcome] += count
        accepted = sum(outcomes[Outcome.ACCEPTED] for outcomes in sources.values())
        destinations = balance(self._back)
        residue = accepted - self.view.logged()
        return {
            "position": self.view.head(),
            "residue": residue + sum(abs(one["residue"]) for one in destinations.values()),
            "sources": sources,
            "destinations": destinations,
        }

    def reasons(self) -> dict[str, int]:
        """Return outcomes with their reasons, over all sources."""
        found: dict[str, int] = {}
        for _, outcome, reason, count in self.view.counters():
            name = f"{outcome}: {reason}" if reason else outcome
            found[name] = found.get(name, 0) + count
        return found

    def why(self, event_id: str) -> list[dict[str, Any]]:
        """Return every decision about the events with this id (one per source at most)."""
        persons = self.view.persons()
        keys = [
            self._names.references.dedup(source.site, source.name, event_id)
            for source in self._settings.policy.sources.values()
        ]
        return [
            self._explained(logged, persons)
            for position in self.view.positions(keys)
            for logged in self.view.events(position - 1, 1)
            if logged.position == position
        ]

    def _explained(self, logged: LoggedEvent, persons: Mapping[int, int]) -> dict[str, Any]:
        event = logged.event
        index = event.consent_index
        declared = self._settings.policy.declared_for(event.name) - {"necessary"}
        now = self.view.current([logged.slot]).get(logged.slot, frozenset())
        return {
            "event": printed(logged, persons, self._names.pseudonym),
            "decision": {
                "outcome": "accepted",
                "purposes": list(event.purposes),
                "declared": sorted(declared),
                "policy": event.policy,
                "policy_in_force": event.policy == self._settings.policy.version,
            },
            "consent": None if index is None else self.view.record(index),
            "still_granted": sorted(now & set(event.purposes)),
            "deliveries": [],
        }


def read_definitions(settings: Settings) -> tuple[Definition, ...]:
    """Return the definitions of all configured segment files."""
    found: list[Definition] = []
    for path in settings.segment_files:
        found += read_yaml(path.read_text(encoding="utf-8"))
    return tuple(found)


def printed(
    logged: LoggedEvent, persons: Mapping[int, int], pseudonym: PseudonymOf
) -> dict[str, Any]:
    """Return an event as it is printed (contracts: canonical event)."""
    event = logged.event
    return {
        "id": event.id,
        "position": logged.position,
        "name": event.name,
        "t": event.t,
        "received": event.received,
        "local_date": event.local_date,
        "site": event.site,
        "source": event.source,
        "subject": pseudonym(persons.get(logged.slot, logged.slot)),
        "session": event.session,
        "purposes": list(event.purposes),
        "consent_index": event.consent_index,
        "policy": event.policy,
        "properties": event.properties,
        "page": event.page,
        "campaign": event.campaign,
        "device": event.device,
        "geo": event.geo,
    }
