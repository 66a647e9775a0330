"""Brings rows through the door as its work: consent first, then what happened.

An imported grant may be a person's first record and never lifts or widens a recorded one; an
imported refusal is recorded. Nothing is recorded twice: what changes nothing makes no record.
"""

import msgspec

from consent.gate import Refusal
from consent.identifiers import Identifier
from consent.outcome import Outcome, Reason
from consent.policy import SourcePolicy
from consent.state import Act, Kind, State
from gateway.collector.choices import Choices, Stated
from gateway.collector.prepare import Preparer
from gateway.eventlogs.group import Group, NewEvent
from gateway.importing.rows import Imported

__all__ = ["Admission", "Result", "fate"]

Result = NewEvent | Refusal
"""What became of a row; an event's outcome is known after its commit."""

_MALFORMED = Refusal(Outcome.INVALID, Reason.MALFORMED)
_RECORDED = Refusal(Outcome.ACCEPTED, Reason.NONE)
_KNOWN = Refusal(Outcome.DUPLICATE, Reason.NONE)
_MAX_SETTLED = 16_384
_HELD_BACK = Refusal(Outcome.REFUSED, Reason.CONSENT_CONFLICT)


def fate(result: Result) -> tuple[Outcome, Reason]:
    """Return outcome and reason of a row whose commit has returned."""
    reason = result.reason if isinstance(result, Refusal) else Reason.NONE
    return result.outcome, reason


class Admission:
    """Admits rows of one source."""

    def __init__(self, preparer: Preparer, choices: Choices, source: SourcePolicy) -> None:
        self._preparer = preparer
        self._choices = choices
        self._source = source
        self._settled: dict[int, tuple[bytes, dict[str, bool], Refusal]] = {}

    def admit(self, rows: list[Imported | None], group: Group) -> list[Result]:
        """Prepare rows in order, one result each; None stands for one that cannot be read."""
        return [self._admit(row, group) for row in rows]

    def _admit(self, row: Imported | None, group: Group) -> Result:
        if row is None:
            group.count(self._source.name, Outcome.INVALID, Reason.MALFORMED)
            return _MALFORMED
        decided = _KNOWN
        if row.act is not None:
            decided = self._agree(row.identifiers, row.act, group)
        if row.observation is None:
            return decided
        return self._preparer.observe(group, row.observation)

    def _agree(self, identifiers: tuple[Identifier, ...], act: Act, group: Group) -> Refusal:
        """Record what an act changes; a refusal holds for each id of the row."""
        mac = self._preparer.people.mac(self._source.site, identifiers[0])
        person = self._preparer.find(group, mac)
        if person is not None and len(identifiers) == 1 and act.kind is Kind.IMPORT:
            settled = self._settled.get(person.slot)
            if settled is not None and settled[:2] == (person.packed, act.answers):
                return settled[2]  # most rows repeat what the person's row before said
        decided = self._change(identifiers, act, group)
        if person is not None and decided is not _RECORDED:
            if len(self._settled) >= _MAX_SETTLED:
                self._settled.clear()
            self._settled[person.slot] = (person.packed, act.answers, decided)
        return decided

    def _change(self, identifiers: tuple[Identifier, ...], act: Act, group: Group) -> Refusal:
        state = self._state(group, identifiers[0])
        if act.kind is not Kind.IMPORT or not state.index:
            self._record(self._concerned(identifiers, act, group), act, group)
            return _RECORDED
        recorded = False
        for identifier in identifiers:
            refused = _refusals(self._state(group, identifier), act)
            if refused:
                narrowed = msgspec.structs.replace(act, answers=refused)
                self._record((identifier,), narrowed, group)
                recorded = True
        if recorded:
            return _RECORDED
        widens = any(granted and not _grants(state, leaf) for leaf, granted in act.answers.items())
        return _HELD_BACK if widens else _KNOWN

    def _record(self, identifiers: tuple[Identifier, ...], act: Act, group: Group) -> None:
        stated = Stated(source=self._source, identifiers=identifiers, act=act, trusted=True)
        self._choices.record(stated, group)

    def _concerned(
        self, identifiers: tuple[Identifier, ...], act: Act, group: Group
    ) -> tuple[Identifier, ...]:
        """Leave out further ids of whom everything that the act refuses is refused already."""
        if all(act.answers.values()):
            return identifiers
        further = (one for one in identifiers[1:] if _refusals(self._state(group, one), act))
        return (identifiers[0], *further)

    def _state(self, group: Group, identifier: Identifier) -> State:
        people = self._preparer.people
        mac = people.mac(self._source.site, identifier)
        person = self._preparer.find(group, mac)
        if person is not None:
            return person.state
        refusal = people.refusal(mac)
        if refusal is None:
            return State()
        group.macs.discard(mac)
        group.refused.add(mac)
        return refusal


def _refusals(state: State, act: Act) -> dict[str, bool]:
    """Return the refusals of an act that a state does not hold yet."""
    return {
        leaf: False
        for leaf, granted in act.answers.items()
        if not granted and ((own := state.own.get(leaf)) is None or own.granted)
    }


def _grants(state: State, leaf: str) -> bool:
    """Say whether a state grants a leaf: by an answer, and refused by none."""
    answers = [one for one in (state.own.get(leaf), state.carried.get(leaf)) if one is not None]
    return bool(answers) and all(one.granted for one in answers)
