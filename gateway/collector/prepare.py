"""Turns observations and consent acts into the rows of a commit group.

Runs ahead of the store on ``People``; whoever calls it prepares again when the store has moved.
Every observation leaves here as exactly one sealed event or one refusal, and is counted once.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from consent.detect import identifying
from consent.event import ConsentedEvent, encode
from consent.gate import Gate, Refusal
from consent.identifiers import IdentifierType
from consent.ledger.entry import entry
from consent.observation import Observation
from consent.outcome import Outcome, Reason
from consent.policy import SourcePolicy, Trust
from consent.pseudonym import References
from consent.purposes import CONTACT_PURPOSES
from consent.slots import MAX_CLUSTER, may_link, merged, new_slot
from consent.state import REPEAT_MS, Act, Kind, Standing, State, absorb, claim, fold
from consent.vault import ContactSealer
from gateway.collector.people import People, Person, granted_text, pack
from gateway.eventlogs.group import Group, NewContact, NewEvent, NewPerson, NewRecord
from gateway.keystore import KeyPool

__all__ = ["Mains", "Preparer", "is_same"]

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,39}")
_OFTEN = 20
_BY_MANY = 10
_MAX_NAMES = 1_000


@dataclass(slots=True)
class Mains:
    """Whom a request is about: its main id, further ids, and how far its words carry.

    ``trusted``: a server key or an identity proof. ``stateless``: a claim that covers one event.
    """

    mac: bytes
    person: Person | None
    others: tuple[bytes, ...] = ()
    trusted: bool = False
    stateless: bool = False


class Preparer:
    """Prepares rows. One per process; not thread-safe: the event loop's thread owns it."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        pool: KeyPool,
        sealer: ContactSealer,
        references: References,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.gate = gate
        self.people = people
        self._pool = pool
        self._sealer = sealer
        self.references = references
        self._random = random_bytes
        self._names: dict[tuple[str, str], _Name] = {}
        self._glances: dict[tuple[str, int, bool], tuple[object, Standing]] = {}

    # -- events ---------------------------------------------------------------------------------

    def observe(
        self, group: Group, observation: Observation, *, proven: bool = False
    ) -> NewEvent | Refusal:
        """Prepare one observation; counts it unless it became an event (the store counts those)."""
        source = self.gate.policy.sources[observation.source]
        if observation.invalid is not None:
            return self._refuse(group, source, Refusal(Outcome.INVALID, Reason.MALFORMED))
        mains = self._mains(group, observation, source, proven=proven)
        if mains is None:
            return self._refuse(group, source, Refusal(Outcome.REFUSED, Reason.NO_IDENTIFIER))
        result = self._standing(group, observation, source, mains)
        if isinstance(result, Refusal):
            return self._refuse(group, source, result)
        standing, act, state = result
        admitted = self.gate.admit(observation, source, standing)
        if isinstance(admitted, Refusal):
            return self._refuse(group, source, admitted)
        person = mains.person
        if person is None:
            person = mains.person = self.create(group, source.site, mains.mac, state)
            if act is not None:
                self.record(group, person, act)
        if admitted.undeclared:
            self._note_names(group, source, person.slot, admitted.undeclared)
        event = NewEvent(
            slot=person.slot,
            source=source.name,
            sealed=person.seal(self.people.keys).seal(b"event", encode(admitted.event)),
            dedup=self.references.dedup(source.site, source.name, admitted.event.id),
            body=self.references.content(source.site, _kept(admitted.event)),
            received=observation.received,
        )
        group.rows.append(event)
        if mains.trusted and (mains.others or observation.contact):
            self._link_all(group, observation, source, mains)
        if observation.contact:
            self._keep_contact(group, observation, source, mains)
        return event

    def _refuse(self, group: Group, source: SourcePolicy, refusal: Refusal) -> Refusal:
        group.count(source.name, refusal.outcome, refusal.reason)
        return refusal

    def _mains(
        self, group: Group, observation: Observation, source: SourcePolicy, *, proven: bool
    ) -> Mains | None:
        """Say whom an event is about (design: public write keys are public)."""
        user = device = None
        for identifier in observation.identifiers:
            if identifier.type is IdentifierType.ANONYMOUS_ID:
                device = identifier
            else:
                user = user or identifier
        trusted = source.trust is Trust.SERVER or proven
        if not trusted and device is not None:
            user = None  # a device's word about a user: dropped
        main = user or device
        if main is None:
            return None
        site = source.site
        others: tuple[bytes, ...] = ()
        if trusted and (len(observation.identifiers) > 1 or observation.previous is not None):
            further = (*observation.identifiers, observation.previous)
            others = tuple(
                self.people.mac(site, one) for one in further if one is not None and one != main
            )
        mac = self.people.mac(site, main)
        person = self.find(group, mac)
        return Mains(mac, person, others, trusted, stateless=not trusted and device is None)

    def find(self, group: Group, mac: bytes) -> Person | None:
        """Return who owns an identifier, noting in the group what the answer rests on."""
        person = self.people.find(mac)
        if person is None:
            refused = self.people.refusal(mac) is not None
            (group.refused if refused else group.macs).add(mac)
        else:
            group.slots.add(person.slot)
            if person.cluster:
                group.slots.update(person.cluster)
        return person

    def _standing(
        self, group: Group, observation: Observation, source: SourcePolicy, mains: Mains
    ) -> tuple[Standing, Act | None, State] | Refusal:
        """Absorb what the event carries; return what stands for it then.

        For someone unknown the act and state are handed back: they are kept only with the event.
        """
        if mains.trusted and (mains.others or observation.contact):
            self._restrict_others(group, observation, source, mains)
        if mains.person is None:
            return self._standing_of_nobody(group, observation, source, mains)
        carried, person = observation.carried, mains.person
        answers = self.gate.answers(carried)
        if observation.refused and not person.state.own:
            if not mains.stateless:
                self._absorb(group, observation, source, person, _refusals(answers))
            return Refusal(Outcome.REFUSED, Reason.CONSENT_REFUSED)
        if mains.stateless:
            base = self.people.standing(person)
            standing = claim(base, answers, carried) if answers or carried.gpc else base
            return standing, None, State()
        if carried.gpc or (answers and not person.repeats(answers, observation.t)):
            self._absorb(group, observation, source, person, answers)
        return self.people.standing(person), None, State()

    def _standing_of_nobody(
        self, group: Group, observation: Observation, source: SourcePolicy, mains: Mains
    ) -> tuple[Standing, Act | None, State] | Refusal:
        refusal = self.people.refusal(mains.mac) if mains.mac in group.refused else None
        if refusal is None and observation.refused:
            return Refusal(Outcome.REFUSED, Reason.CONSENT_REFUSED)
        state = refusal or State()
        site, answers = source.site, self.gate.answers(observation.carried)
        if mains.stateless:
            return claim(self.people.nobody(site, state), answers, observation.carried), None, state
        if refusal is None:
            decision = self.gate.decide(observation, source, self._glance(site, observation))
            if not decision.admitted:
                return Refusal(Outcome.REFUSED, decision.reason)
        act = self._carried_act(observation, source, absorb(state, answers, observation.t)[0])
        if act is None:
            return self.people.nobody(site, state), None, state
        after = fold(state, act, group.record + group.records + 1)
        return self.people.nobody(site, after), act, state

    def _glance(self, site: str, observation: Observation) -> Standing:
        """Return what would stand for a stranger who says this; strangers say few things."""
        carried = observation.carried
        answers = self.gate.answers(carried)
        key = (site, id(answers), carried.gpc)
        known = self._glances.get(key)
        if known is not None and known[0] is answers:
            return known[1]
        act = Act(
            kind=Kind.CARRIED, answers=dict(answers), t=0, received=0, source="", gpc=carried.gpc
        )
        standing = self.people.nobody(site, fold(State(), act, 1))
        if len(self._glances) >= _MAX_NAMES:
            self._glances.clear()
        self._glances[key] = (answers, standing)
        return standing

    def _absorb(
        self,
        group: Group,
        observation: Observation,
        source: SourcePolicy,
        person: Person,
        answers: Mapping[str, bool],
    ) -> None:
        state, t = person.state, observation.t
        person.hear(person.settled or {}, person.settled_t)
        changes, held_back = absorb(state, answers, t, person.heard)
        gpc = observation.carried.gpc and not state.gpc
        if changes or gpc:
            act = self._carried_act(observation, source, changes, gpc=gpc)
            if act is not None:
                self.record(group, person, act)
        person.hear(answers, t)
        if not held_back:
            refused = [
                heard.t
                for leaf, heard in person.state.carried.items()
                if not answers.get(leaf, True)
            ]
            person.settle(answers, t, min(refused, default=t) + REPEAT_MS)

    def _carried_act(
        self,
        observation: Observation,
        source: SourcePolicy,
        changes: dict[str, bool],
        *,
        gpc: bool | None = None,
    ) -> Act | None:
        present = observation.carried.gpc if gpc is None else gpc
        if not changes and not present:
            return None
        return Act(
            kind=Kind.CARRIED,
            answers=changes,
            t=observation.t,
            received=observation.received,
            source=source.name,
            gpc=present,
            evidence={"method": "carried"},
        )

    def _restrict_others(
        self, group: Group, observation: Observation, source: SourcePolicy, mains: Mains
    ) -> None:
        """A refusal from a server key holds for every identifier of the request, linked or not."""
        refused = _refusals(self.gate.answers(observation.carried))
        if not refused and not observation.carried.gpc:
            return
        contact = (self.people.mac(source.site, one) for one in observation.contact)
        for mac in (*mains.others, *contact):
            other = self.find(group, mac)
            if other is not None and not (mains.person and is_same(mains.person, other)):
                self._absorb(group, observation, source, other, refused)

    # -- people and records ---------------------------------------------------------------------

    def create(
        self,
        group: Group,
        site: str,
        mac: bytes,
        state: State | None = None,
        device: bytes | None = None,
    ) -> Person:
        """Make a new person who owns one identifier; a refusal known of it comes along."""
        slot = new_slot(self._random)
        key_id, seal = self._pool.take(slot)
        person = Person(slot, key_id, site)
        person.own_seal(seal)
        person.device = device
        if state is not None and state.index:
            person.change(state)
        group.people.append(NewPerson(slot, key_id, site, device, person.packed))
        group.identifiers.append((mac, slot))
        group.slots.add(slot)
        self.people.adopt(person)
        self.people.attach(mac, person)
        return person

    def record(self, group: Group, person: Person, act: Act, other: int | None = None) -> NewRecord:
        """Prepare one consent record and let it take effect for what follows in this group."""
        before, all_before = self.people.own(person), self.people.standing(person)
        number = group.record + group.records + 1
        if act.kind not in (Kind.LINK, Kind.UNLINK):
            person.change(fold(person.state, act, number))
        after = self.people.own(person)
        # A refusal by one of several linked slots takes from all, whatever it granted itself.
        lost = before.granted - after.granted
        lost |= all_before.granted - self.people.standing(person).granted
        site = person.site
        stored = entry(self._statement(act, number, site, after), self._random(32))
        row = NewRecord(
            number=number,
            slot=person.slot,
            other=other,
            kind=act.kind,
            received=act.received,
            granted=granted_text(after.granted),
            withdrawn=tuple(sorted(lost)),
            stored=stored,
            body=person.seal(self.people.keys).seal(b"record", stored.body),
            state=person.packed,
            drop_contacts=bool(before.granted & CONTACT_PURPOSES)
            and not after.granted & CONTACT_PURPOSES,
        )
        if row.drop_contacts:
            group.contacts = [kept for kept in group.contacts if kept.slot != person.slot]
        self._append(group, row)
        return row

    def record_unlinked(self, group: Group, site: str, mac: bytes | None, act: Act) -> NewRecord:
        """Prepare the refusal of someone of whom nothing is held: no person is made."""
        number = group.record + group.records + 1
        state = self.people.refusal(mac) if mac is not None else None
        after = fold(state or State(), act, number)
        stored = entry(
            self._statement(act, number, site, self.people.nobody(site, after)), self._random(32)
        )
        row = NewRecord(
            number=number,
            slot=None,
            kind=act.kind,
            received=act.received,
            granted="[]",
            withdrawn=(),
            stored=stored,
            body=stored.body,
            state=pack(after),
            refusal=mac,
        )
        if mac is not None:
            self.people.remember_refusal(mac, after)
        self._append(group, row)
        return row

    def _append(self, group: Group, row: NewRecord) -> None:
        group.rows.append(row)
        group.records += 1

    def _statement(self, act: Act, number: int, site: str, after: Standing) -> dict[str, object]:
        return {
            "answers": act.answers,
            "evidence": act.evidence,
            "gpc": act.gpc,
            "granted": sorted(after.granted),
            "index": number,
            "kind": str(act.kind),
            "policy": self.gate.policy.version,
            "received": act.received,
            "site": site,
            "source": act.source,
            "t": act.t,
            "version": 1,
        }

    # -- linking and contact data ---------------------------------------------------------------

    def _link_all(
        self, group: Group, observation: Observation, source: SourcePolicy, mains: Mains
    ) -> None:
        person = mains.person
        if person is None or "identity_link" not in self.people.standing(person).granted:
            return
        for mac in mains.others:
            other = self.find(group, mac)
            if other is None:
                if mac in group.refused:
                    continue  # someone who refused is linked to nobody
                other = self.create(group, source.site, mac)
            self.link(group, source, (person, other), observation.received)

    def link(
        self, group: Group, source: SourcePolicy, pair: tuple[Person, Person], received: int
    ) -> bool:
        """Link two people if each side that has a record agreed; say whether they are linked."""
        person, other = pair
        mine = person.cluster or (person.slot,)
        theirs = other.cluster or (other.slot,)
        if set(mine) & set(theirs):
            return True
        sides = (self.people.standing(person), self.people.standing(other))
        if not may_link(sides) or len(mine) + len(theirs) > MAX_CLUSTER:
            return False
        cluster = merged(mine, theirs)
        for slot in cluster:
            self.people.join(self.people.by_slot(slot), cluster)
            group.clusters.append((slot, cluster[0]))
            group.slots.add(slot)
        act = Act(kind=Kind.LINK, answers={}, t=received, received=received, source=source.name)
        self.record(group, person, act, other=other.slot)
        return True

    def _keep_contact(
        self,
        group: Group,
        observation: Observation,
        source: SourcePolicy,
        mains: Mains,
    ) -> None:
        person = mains.person
        if mains.stateless or person is None:
            return  # a claim about someone changes nothing that is kept of them
        if not self.people.standing(person).granted & CONTACT_PURPOSES:
            return
        for identifier in observation.contact:
            kind = str(identifier.type)
            if kind not in self.gate.policy.contact:
                continue
            mac = self.people.mac(source.site, identifier)
            if not self._may_keep(group, source, mac, person):
                continue
            if mains.trusted:
                self._own_contact(group, observation, source, mac, person)
            if not _equal(self.people.contact(person, kind), mac):
                sealed = self._sealer.seal(person.seal(self.people.keys), kind, identifier.value)
                group.contacts.append(NewContact(person.slot, kind, mac, sealed))

    def _may_keep(self, group: Group, source: SourcePolicy, mac: bytes, person: Person) -> bool:
        """Say whether a contact value may be kept: its owner, if known, must not have refused."""
        owner = self.find(group, mac)
        if owner is person:
            return True
        if owner is not None:
            stands = self.people.standing(owner)
        else:
            stands = self.people.nobody(source.site, self.people.refusal(mac))
        return stands.index is None or bool(stands.granted & CONTACT_PURPOSES)

    def _own_contact(
        self,
        group: Group,
        observation: Observation,
        source: SourcePolicy,
        mac: bytes,
        person: Person,
    ) -> None:
        """Take the word of someone trusted that a contact value is this person's."""
        owner = self.find(group, mac)
        if owner is None:
            group.identifiers.append((mac, person.slot))
            self.people.attach(mac, person)
        elif owner is not person:
            self.link(group, source, (person, owner), observation.received)

    def _note_names(
        self, group: Group, source: SourcePolicy, slot: int, names: Sequence[str]
    ) -> None:
        for name in names:
            key = (source.name, name)
            noted = self._names.get(key)
            if noted is None:
                if len(self._names) >= _MAX_NAMES or not _shows(name):
                    continue
                noted = self._names[key] = _Name()
            if noted.sent(slot):
                group.undeclared[key] = group.undeclared.get(key, 0) + noted.taken()


class _Name:
    """An undeclared name in waiting: what only few people send may itself be somebody's."""

    __slots__ = ("_count", "_people")

    def __init__(self) -> None:
        self._count = 0
        self._people: set[int] = set()

    def sent(self, slot: int) -> bool:
        """Note who sent it; say whether it may show now."""
        self._count += 1
        if len(self._people) < _BY_MANY:
            self._people.add(slot)
        return self._count >= _OFTEN and len(self._people) >= _BY_MANY

    def taken(self) -> int:
        """Return how often it was sent since the last call."""
        count, self._count = self._count, 0
        return count


def _kept(event: ConsentedEvent) -> bytes:
    """Return what tells one event's content from another's: of what was dropped, nothing."""
    return _encoder.encode(
        (event.name, event.session, event.properties, event.page, event.campaign)
    )


def _refusals(answers: Mapping[str, bool]) -> dict[str, bool]:
    return {leaf: granted for leaf, granted in answers.items() if not granted}


def is_same(person: Person, other: Person) -> bool:
    """Say whether two slots are one or linked: what one refuses binds the other then."""
    return other is person or other.slot in person.cluster


def _equal(stored: bytes | None, mac: bytes) -> bool:
    return stored is not None and hmac.compare_digest(stored, mac)


def _shows(name: str) -> bool:
    """Say whether a property name looks like a name and not like a value."""
    return _NAME.fullmatch(name) is not None and not identifying(name)
