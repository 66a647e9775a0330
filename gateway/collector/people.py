"""People as the door knows them: who an identifier belongs to, and what stands for them now.

A bounded cache over the front store. It runs ahead of the store by what the pending group will
write; when that group fails or grows stale the door empties it. Holds MACs and slots only.
"""

import hashlib
import json
import sqlite3
from collections.abc import Collection, Mapping

import msgspec

from consent.identifiers import Identifier
from consent.policy import Policy
from consent.pseudonym import IdentifierMac
from consent.purposes import PurposeSet
from consent.state import Standing, State, intersect, standing
from consent.vault import PersonSeal
from gateway.keystore import KeyReader

__all__ = ["People", "Person", "granted_text", "pack", "secret_hash", "unpack"]

_MAX_PEOPLE = 16_384
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)
_FIND = """
SELECT p.slot, p.key_id, p.site, p.device, s.state FROM {source} p
LEFT JOIN states s ON s.slot = p.slot WHERE {where}
"""
_BY_MAC = _FIND.format(source="identifiers i JOIN people", where="i.mac = ?").replace(
    "people p", "people p ON p.slot = i.slot"
)
_BY_SLOT = _FIND.format(source="people", where="p.slot = ?")


def pack(state: State) -> bytes:
    """Return the stored form of a state."""
    return _encoder.encode(state)


def unpack(data: bytes) -> State:
    """Return a state from its stored form."""
    return _decoder.decode(data)


class Person:
    """One slot. ``packed`` is its state, empty while there is no record."""

    __slots__ = (
        "_seal",
        "base",
        "cluster",
        "device",
        "heard",
        "key_id",
        "packed",
        "settled",
        "settled_t",
        "settled_until",
        "site",
        "slot",
    )

    def __init__(self, slot: int, key_id: int, site: str) -> None:
        self.slot = slot
        self.key_id = key_id
        self.site = site
        self.device: bytes | None = None
        self.packed = b""
        self.cluster: tuple[int, ...] = ()
        self.base: Standing | None = None
        self.heard: dict[str, int] = {}
        self.settled: Mapping[str, bool] | None = None
        self.settled_t = self.settled_until = 0
        self._seal: PersonSeal | None = None

    @property
    def state(self) -> State:
        """Return the consent state."""
        return unpack(self.packed) if self.packed else State()

    def seal(self, keys: KeyReader) -> PersonSeal:
        """Return the seal, opening the key at the first use."""
        if self._seal is None:
            self._seal = keys.seal(self.key_id, self.slot)
        return self._seal

    def own_seal(self, seal: PersonSeal) -> None:
        """Set the seal of a person just made."""
        self._seal = seal

    def change(self, state: State) -> None:
        """Replace the state; what was derived from the old one goes."""
        self._remember()
        self.packed = pack(state)
        self.base = None

    def settle(self, answers: Mapping[str, bool], t: int, until: int) -> None:
        """Note that carried answers of ``t`` change nothing; nor will they before ``until``."""
        self._remember()
        self.settled, self.settled_t, self.settled_until = answers, t, until

    def repeats(self, answers: Mapping[str, bool], t: int) -> bool:
        """Say whether these very answers were settled and still are; note that they came again."""
        if self.settled is not answers or t >= self.settled_until:
            return False
        self.settled_t = max(self.settled_t, t)
        return True

    def hear(self, answers: Mapping[str, bool], t: int) -> None:
        """Note when refusals were heard last, recorded or not."""
        for leaf, granted in answers.items():
            if not granted and t > self.heard.get(leaf, 0):
                self.heard[leaf] = t

    def _remember(self) -> None:
        if self.settled is not None:
            self.hear(self.settled, self.settled_t)
            self.settled = None


class People:
    """Finds, makes and forgets people; answers what stands for them."""

    def __init__(
        self, connection: sqlite3.Connection, keys: KeyReader, macs: IdentifierMac, policy: Policy
    ) -> None:
        self._connection = connection
        self.keys = keys
        self._macs = macs
        self._policy = policy
        self._by_mac: dict[bytes, Person] = {}
        self._by_slot: dict[int, Person] = {}
        self._linked: dict[int, set[int]] = {}
        self._refusals: dict[bytes, State] = {}
        self._absent: set[bytes] = set()

    def mac(self, site: str, identifier: Identifier) -> bytes:
        """Return the index key of an identifier."""
        return self._macs(site, identifier)

    def clear(self) -> None:
        """Forget everything; the store is asked again."""
        self._by_mac.clear()
        self._by_slot.clear()
        self._linked.clear()
        self._refusals.clear()
        self._absent.clear()

    def forget(self, slots: Collection[int]) -> None:
        """Forget people whom another process changed, and everyone linked to them."""
        if not slots:
            return
        for slot in slots:
            self._by_slot.pop(slot, None)
            for other in self._linked.pop(slot, ()):
                self._by_slot.pop(other, None)
        if self._by_mac:
            known = self._by_slot
            self._by_mac = {mac: one for mac, one in self._by_mac.items() if one.slot in known}

    def find(self, mac: bytes) -> Person | None:
        """Return who owns an identifier, or None."""
        person = self._by_mac.get(mac)
        if person is None and mac not in self._absent:
            row = self._connection.execute(_BY_MAC, (mac,)).fetchone()
            if row is None:
                if self.refusal(mac) is None:
                    self._note_absence(mac)
                return None
            person = self._by_mac[mac] = self._load(row)
        return person

    def _note_absence(self, mac: bytes) -> None:
        if len(self._absent) >= _MAX_PEOPLE:
            self._absent.clear()
        self._absent.add(mac)

    def contact(self, person: Person, kind: str) -> bytes | None:
        """Return the MAC of the contact value stored for a person, or None."""
        row = self._connection.execute(
            "SELECT mac FROM contacts WHERE slot = ? AND kind = ?", (person.slot, kind)
        ).fetchone()
        return row[0] if row else None

    def refusal(self, mac: bytes) -> State | None:
        """Return the own refusal kept for an id of whom nothing is held."""
        if mac in self._refusals:
            return self._refusals[mac]
        row = self._connection.execute(
            "SELECT state FROM refusals WHERE mac = ?", (mac,)
        ).fetchone()
        return unpack(row[0]) if row else None

    def by_slot(self, slot: int) -> Person:
        """Return a person of whom a slot is known to exist."""
        person = self._by_slot.get(slot)
        if person is None:
            person = self._load(self._connection.execute(_BY_SLOT, (slot,)).fetchone())
        return person

    def _load(self, row: tuple[int, int, str, bytes | None, bytes | None]) -> Person:
        slot, key_id, site, device, state = row
        person = self._by_slot.get(slot)
        if person is None:
            person = Person(slot, key_id, site)
            person.device = device
            person.packed = state or b""
            self._by_slot[slot] = person
            self.join(person, self._cluster(slot))
        return person

    def _cluster(self, slot: int) -> tuple[int, ...]:
        rows = self._connection.execute(
            "SELECT slot FROM clusters WHERE person ="
            " (SELECT person FROM clusters WHERE slot = ?) ORDER BY slot = person DESC",
            (slot,),
        ).fetchall()
        return tuple(found for (found,) in rows)

    def join(self, person: Person, cluster: tuple[int, ...]) -> None:
        """Set whom a person is linked to, and remember that a change of those concerns them."""
        person.cluster = cluster
        for slot in cluster:
            self._linked.setdefault(slot, set()).add(person.slot)

    def adopt(self, person: Person) -> None:
        """Take up a person just made."""
        self._by_slot[person.slot] = person

    def attach(self, mac: bytes, person: Person) -> None:
        """Take up an identifier just given to a person."""
        self._absent.discard(mac)
        self._by_mac[mac] = person

    def trim(self, keep: set[int]) -> None:
        """Forget the oldest people over the bound, but none that pending work rests on."""
        if len(self._by_slot) <= _MAX_PEOPLE:
            return
        oldest = list(self._by_slot)[: len(self._by_slot) - _MAX_PEOPLE * 3 // 4]
        self.forget([slot for slot in oldest if slot not in keep])

    def remember_refusal(self, mac: bytes, state: State) -> None:
        """Take up a refusal that the pending group will write."""
        self._absent.discard(mac)
        self._refusals[mac] = state

    def settle_refusals(self) -> None:
        """Drop refusals taken up before the last commit: the store has them now."""
        self._refusals.clear()

    def own(self, person: Person) -> Standing:
        """Return what one slot grants, cluster left aside."""
        if person.base is None:
            regime = self._policy.sites[person.site].regime
            person.base = standing(person.state, self._policy, regime)
        return person.base

    def standing(self, person: Person) -> Standing:
        """Return what stands for a person now: the intersection over linked slots with a record."""
        if not person.cluster:
            return person.base or self.own(person)
        return intersect(self.own(self.by_slot(slot)) for slot in person.cluster)

    def nobody(self, site: str, state: State | None = None) -> Standing:
        """Return what stands for someone of whom nothing, or only a refusal, is held."""
        return standing(state or State(), self._policy, self._policy.sites[site].regime)


def secret_hash(secret: str) -> bytes:
    """Return the stored form of a device secret (256 random bits: a plain hash is enough)."""
    return hashlib.sha256(secret.encode()).digest()


def granted_text(purposes: PurposeSet) -> str:
    """Return the stored form of a set of leaves."""
    return json.dumps(sorted(purposes), separators=(",", ":"))
