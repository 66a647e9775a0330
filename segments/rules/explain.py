"""Says for one person and one definition why: the gate, then every condition with its evidence.

Runs the same plan on the same relations as a batch, and reads its booleans; it decides nothing by
itself. Shows event ids, counts and record numbers, never a trait's or a property's value. Who
does not pass the person gate gets no conditions: nothing behind the gate is read for them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from consent.purposes import PurposeSet
from segments.engine import Engine
from segments.ports import PseudonymOf
from segments.rules.compile import Plan, measured
from segments.rules.gate import Sources
from segments.rules.opening import Question, open_plans
from segments.rules.tree import Definition, Node, Trait, node_json, walk
from segments.schema import EVENTS, HIDDEN, LINKED, NOW, RECORDS
from segments.warehouse import Warehouse

if TYPE_CHECKING:
    import ibis

__all__ = ["MAX_EVIDENCE", "Condition", "Explanation", "GateEvidence", "explain"]

MAX_EVIDENCE = 20
"""Event ids shown per condition, oldest place in the log first."""


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """What the person gate and the event gate saw.

    ``records`` are the newest consent records at T, by number, one per slot of the person;
    ``lacking`` the purposes that some of them lack, ``lacking_now`` those missing today.
    ``closed_by`` is the newest record that lacks a purpose: events up to it stay unreadable.
    """

    passed: bool
    slots: int
    hidden_slots: int
    records: tuple[int, ...]
    lacking: tuple[str, ...]
    lacking_now: tuple[str, ...]
    closed_by: int | None


@dataclass(frozen=True, slots=True)
class Condition:
    """One node: where it stands, what it is, whether it holds, and what it rests on.

    ``value`` is a measure's number, None where there was nothing to measure.
    """

    path: str
    kind: str
    holds: bool
    value: int | None = None
    count: int | None = None
    events: tuple[str, ...] = ()
    trait: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a person is, or is not, a member at T."""

    name: str
    version: str
    at: int
    person: int
    member: bool
    gate: GateEvidence
    conditions: tuple[Condition, ...]

    def to_json(self, pseudonym: PseudonymOf) -> dict[str, object]:
        """Return plain values; the person is named by pseudonym."""
        found: dict[str, object] = asdict(self)
        del found["person"]
        return {"subject": pseudonym(self.person), **found}


def explain(
    definition: Definition, warehouse: Warehouse, question: Question, slot: int
) -> Explanation:
    """Explain one definition for the person that a slot belongs to.

    Raises:
        UnsupportedEngineError: the engine is not there, or cannot run the plan.
        WarehouseError: the warehouse failed.
    """
    person = question.feed.persons().get(slot, slot)
    bits = warehouse.purpose_bits(definition.purposes)
    named = {1 << bits[purpose]: purpose for purpose in definition.purposes}
    with open_plans([definition], warehouse, question) as plans:
        _, opened, plan, engine = next(plans)
        people = opened.people.filter(opened.people.person == person)
        passed = engine.fetch(people).num_rows > 0
        gate = _gate_evidence(engine, person, question.clock.at, named, passed=passed)
        conditions = _conditions(definition, plan, engine, person) if passed else ()
    return Explanation(
        name=definition.name,
        version=definition.version,
        at=question.clock.at,
        person=person,
        member=passed and conditions[0].holds,
        gate=gate,
        conditions=conditions,
    )


def _conditions(
    definition: Definition, plan: Plan, engine: Engine, person: int
) -> tuple[Condition, ...]:
    nodes = list(dict.fromkeys(node for _, node in walk(definition.where)))
    columns: dict[str, ibis.Value] = {}
    for number, node in enumerate(nodes):
        columns[f"holds_{number}"] = plan.truth[node]
        for measure in measured(node):
            value, known = plan.numbers[measure]
            columns[f"value_{number}"] = value.cast("int64")
            columns[f"known_{number}"] = known
    mine = plan.relation.filter(plan.relation.person == person)
    row = engine.fetch(mine.select(**columns)).to_pylist()[0]
    found: dict[Node, Condition] = {}
    for number, node in enumerate(nodes):
        positions, ids = _evidence(plan, engine, node, person)
        found[node] = Condition(
            path="",
            kind=next(iter(node_json(node))),
            holds=bool(row[f"holds_{number}"]),
            value=row[f"value_{number}"] if row.get(f"known_{number}") else None,
            count=positions,
            events=ids,
            trait=node.name if isinstance(node, Trait) else None,
        )
    return tuple(replace(found[node], path=path) for path, node in walk(definition.where))


def _evidence(
    plan: Plan, engine: Engine, node: Node, person: int
) -> tuple[int | None, tuple[str, ...]]:
    """Return how many events a condition rests on, and the ids of the first ones."""
    rows = plan.evidence(node)
    if rows is None:
        return None, ()
    mine = rows.filter(rows.person == person)
    positions = sorted(engine.fetch(mine.select("position")).column("position").to_pylist())
    events = Sources.named()[EVENTS]
    shown = events.filter(events.position.isin(positions[:MAX_EVIDENCE] or [-1]))
    ids = engine.fetch(shown.select("position", "id")).to_pylist()
    return len(positions), tuple(row["id"] for row in sorted(ids, key=lambda r: r["position"]))


def _gate_evidence(
    engine: Engine, person: int, at: int, named: Mapping[int, str], *, passed: bool
) -> GateEvidence:
    sources = Sources.named()
    linked, hidden = sources[LINKED], sources[HIDDEN]
    slots = engine.fetch(linked.filter(linked.person == person)).column("slot").to_pylist()
    cluster = sorted({person, *slots})
    records = sources[RECORDS]
    rows = engine.fetch(records.filter(records.slot.isin(cluster))).to_pylist()
    rows.sort(key=lambda row: row["position"])
    newest = {row["slot"]: row for row in rows if row["received"] <= at}
    present = sources[NOW]
    now = engine.fetch(present.filter(present.slot.isin(cluster))).column("granted").to_pylist()
    closing = [row for row in rows if _lacking(row["granted"], named)]
    last = max(closing, key=lambda row: (row["received"], row["position"]), default=None)
    everything = frozenset(named.values())
    return GateEvidence(
        passed=passed,
        slots=len(cluster),
        hidden_slots=engine.fetch(hidden.filter(hidden.slot.isin(cluster))).num_rows,
        records=tuple(sorted(row["number"] for row in newest.values())),
        lacking=_union([row["granted"] for row in newest.values()], named, everything),
        lacking_now=_union(now, named, everything),
        closed_by=last["number"] if last else None,
    )


def _lacking(granted: int, named: Mapping[int, str]) -> PurposeSet:
    return frozenset(purpose for bit, purpose in named.items() if not granted & bit)


def _union(
    masks: list[int], named: Mapping[int, str], without_record: PurposeSet
) -> tuple[str, ...]:
    """Return the purposes that any record lacks; without a record, all of them."""
    if not masks:
        return tuple(sorted(without_record))
    return tuple(sorted(frozenset().union(*(_lacking(mask, named) for mask in masks))))
