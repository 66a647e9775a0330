"""The only door: an observation goes in, a ``ConsentedEvent`` or a ``Refusal`` comes out.

Decision, redaction and pseudonymisation happen here and in that order; a refused observation is
read no further than its name. Nothing else in the product builds a ``ConsentedEvent``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from consent.decision import Decision, decide
from consent.event import ConsentedEvent
from consent.observation import Observation
from consent.outcome import Outcome, Reason
from consent.policy import Policy, SourcePolicy
from consent.pseudonym import References
from consent.purposes import PurposeSet
from consent.redact import Redactor
from consent.signals.carried import Carried
from consent.state import Standing, read_answers

__all__ = ["Admitted", "Gate", "Refusal"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_CACHE = 4096
_QUARTER_MS = 900_000
_NO_FIELDS: tuple[str, ...] = ()
_NO_ANSWERS: Mapping[str, bool] = {}
_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()  # noqa: DTZ001 - a calendar date, no instant


class Admitted(msgspec.Struct, frozen=True):
    """An event that may be kept, and the names of properties that no policy declares."""

    event: ConsentedEvent
    undeclared: list[str]


class Refusal(msgspec.Struct, frozen=True):
    """An event that may not be kept. It has no content."""

    outcome: Outcome
    reason: Reason


class Gate:
    """The door under one policy. Caches are bounded and hold names and answers only."""

    def __init__(self, policy: Policy, references: References) -> None:
        self.policy = policy
        self._references = references
        self._redactor = Redactor(policy, references)
        self._zones = {name: ZoneInfo(site.timezone) for name, site in policy.sites.items()}
        self._dates: dict[tuple[str, int], int] = {}
        self._answers: dict[tuple[tuple[str, bool], ...], dict[str, bool]] = {}
        self._decisions: dict[tuple[str, str, PurposeSet], Decision] = {}
        self._refusals: dict[tuple[str, str, int], tuple[Standing, Decision]] = {}
        self._sorted: dict[PurposeSet, tuple[str, ...]] = {}

    def answers(self, carried: Carried) -> Mapping[str, bool]:
        """Return the leaf answers of carried categories; equal categories give one object."""
        if not carried.categories:
            return _NO_ANSWERS
        key = tuple(carried.categories.items())
        found = self._answers.get(key)
        if found is None:
            found = _bounded(self._answers, key, read_answers(self.policy, carried.categories))
        return found

    def decide(
        self, observation: Observation, source: SourcePolicy, standing: Standing
    ) -> Decision:
        """Decide on an observation without keeping anything of it."""
        carried = observation.carried
        if self.policy.fields:
            names = (*observation.properties, *observation.traits)
            return decide(self.policy, source, standing, carried, (observation.name, names))
        if carried.malformed:
            return decide(self.policy, source, standing, carried, (observation.name, _NO_FIELDS))
        key = (source.name, observation.name, standing.granted)
        found = self._decisions.get(key)
        if found is not None:
            return found
        # A refusal's reason depends on more than what is granted: on this very standing.
        place = (source.name, observation.name, id(standing))
        known = self._refusals.get(place)
        if known is not None and known[0] is standing:
            return known[1]
        found = decide(self.policy, source, standing, carried, (observation.name, _NO_FIELDS))
        if found.admitted:
            return _bounded(self._decisions, key, found)
        return _bounded(self._refusals, place, (standing, found))[1]

    def admit(
        self, observation: Observation, source: SourcePolicy, standing: Standing
    ) -> Admitted | Refusal:
        """Return the stripped event, or why there is none."""
        decision = self.decide(observation, source, standing)
        if not decision.admitted:
            return Refusal(Outcome.REFUSED, decision.reason)
        site, redactor = source.site, self._redactor
        kept = decision.fields if self.policy.fields else None
        properties, undeclared = redactor.properties(site, observation.properties, kept)
        if observation.traits:
            raw = observation.traits
            if kept is not None:
                raw = {name: value for name, value in raw.items() if name in kept}
            traits, others = redactor.traits(site, raw)
            undeclared += others
            if traits:
                properties["traits"] = traits
        place, touch, session = observation.place, observation.touch, observation.session
        event = ConsentedEvent(
            id=redactor.reference(site, "message_id", observation.message_id),
            name=observation.name,
            t=observation.t,
            received=observation.received,
            local_date=self._local_date(site, observation.t),
            site=site,
            source=source.name,
            session=self._references.session(site, session) if session else None,
            purposes=self._in_order(decision.purposes),
            consent_index=standing.index,
            policy=decision.policy,
            properties=properties,
            page=redactor.page(site, place) if place.url or place.referrer else {},
            campaign=redactor.campaign(site, touch) if touch.values else {},
            device={},
            geo={},
        )
        return Admitted(event, undeclared)

    def _in_order(self, purposes: PurposeSet) -> tuple[str, ...]:
        found = self._sorted.get(purposes)
        return found or _bounded(self._sorted, purposes, tuple(sorted(purposes)))

    def _local_date(self, site: str, t: int) -> int:
        # Every zone's midnight falls on a quarter of an hour, so a quarter has one date.
        key = (site, t // _QUARTER_MS)
        found = self._dates.get(key)
        if found is None:
            day = datetime.fromtimestamp(t / 1000, self._zones[site]).toordinal() - _EPOCH_ORDINAL
            found = _bounded(self._dates, key, day)
        return found


def _bounded(cache: dict[_K, _V], key: _K, value: _V) -> _V:
    if len(cache) >= _CACHE:
        cache.clear()
    cache[key] = value
    return value
