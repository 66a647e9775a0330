"""The embedded front store as other processes read it: the log opened, consent as it stands now.

Read-only. Each call sees what was committed when it began; nothing is cached but opened keys.
Implements ``FrontView`` and ``EventFeed``.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from consent.errors import KeyDestroyedError, SealBrokenError
from consent.event import decode
from consent.policy import Policy
from consent.purposes import PurposeSet
from consent.state import Kind, Standing, State, intersect, standing
from consent.vault import PersonSeal
from gateway.eventlog import SealedContact, Withdrawal
from gateway.eventlogs.embedded import connect
from gateway.keystore import KeyReader
from segments.ports import ConsentRow, LoggedEvent

__all__ = ["EmbeddedView"]

_MANY = 500
_MAX_SEALS = 100_000
_states = msgspec.msgpack.Decoder(State)
_payload = msgspec.msgpack.Decoder(list[tuple[int, int, bytes]])


class EmbeddedView:
    """One reader's view. Thread-safe: a lock guards the connection."""

    def __init__(self, path: Path, policy: Policy, keys: KeyReader) -> None:
        self._connection = connect(path, write=False)
        self._policy = policy
        self._keys = keys
        self._lock = threading.Lock()
        self._seals: dict[int, PersonSeal | None] = {}

    def close(self) -> None:
        """Close the view."""
        self._connection.close()

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, parameters).fetchall()

    def _in(self, query: str, slots: Iterable[int]) -> Iterator[Any]:
        """Run a query with one ``IN ({marks})`` over any number of slots."""
        every = list(slots)
        for start in range(0, len(every), _MANY):
            part = every[start : start + _MANY]
            yield from self._rows(query.format(marks=",".join("?" * len(part))), part)

    def head(self) -> int:
        """Return the newest committed position."""
        found: int = self._rows("SELECT position FROM head")[0][0]
        return found

    # -- the log --------------------------------------------------------------------------------

    def events(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Return about ``limit`` events after a position, opened; see ``EventFeed``."""
        opened: list[LoggedEvent] = []
        while len(opened) < limit:
            groups = self._rows(
                "SELECT position, payload FROM log WHERE position > ? ORDER BY position LIMIT 64",
                (after,),
            )
            if not groups:
                break
            sealed = [row for _, payload in groups for row in _payload.decode(payload)]
            sealed = [row for row in sealed if row[0] > after]
            after = groups[-1][0]
            self._open_keys({slot for _, slot, _ in sealed})
            opened += (event for row in sealed if (event := self._open(row)) is not None)
        return opened

    def _open(self, row: tuple[int, int, bytes]) -> LoggedEvent | None:
        position, slot, sealed = row
        seal = self._seals.get(slot)
        if seal is None:
            return None
        return LoggedEvent(position, slot, decode(seal.open(b"event", sealed)))

    def _open_keys(self, slots: set[int]) -> None:
        missing = slots - self._seals.keys()
        if len(self._seals) + len(missing) > _MAX_SEALS:
            self._seals.clear()
            missing = slots
        for slot, key_id in self._in(
            "SELECT slot, key_id FROM people WHERE slot IN ({marks})", missing
        ):
            self._seals[slot] = self._key(key_id, slot)

    def _key(self, key_id: int, slot: int) -> PersonSeal | None:
        try:
            return self._keys.seal(key_id, slot)
        except KeyDestroyedError:
            return None

    def seal_of(self, slot: int) -> PersonSeal:
        """Return a person's seal.

        Raises:
            KeyDestroyedError: nobody has this slot any more.
        """
        self._open_keys({slot})
        seal = self._seals.get(slot)
        if seal is None:
            raise KeyDestroyedError("person key: destroyed")
        return seal

    # -- consent --------------------------------------------------------------------------------

    def consents(self, after: int, limit: int) -> Sequence[ConsentRow]:
        """Return consent records of known people after a position; links are not among them."""
        rows = self._rows(
            "SELECT position, record, slot, received, granted FROM records"
            " WHERE position > ? AND slot IS NOT NULL AND kind NOT IN (?, ?)"
            " ORDER BY position LIMIT ?",
            (after, Kind.LINK, Kind.UNLINK, limit),
        )
        return [
            ConsentRow(position, record, slot, received, frozenset(json.loads(granted)))
            for position, record, slot, received, granted in rows
        ]

    def persons(self) -> Mapping[int, int]:
        """Return slot → person for linked slots."""
        return dict(self._rows("SELECT slot, person FROM clusters"))

    def hidden(self) -> frozenset[int]:
        """Return slots that must not be read: those whose key is destroyed."""
        return frozenset(slot for slot, seal in self._seals.items() if seal is None)

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        """Return what each slot grants right now; a slot without any record is absent."""
        clusters = self._clusters(slots)
        members = {other for slot in slots for other in clusters.get(slot, (slot,))}
        own: dict[int, Standing] = {}
        for slot, site, packed in self._in(
            "SELECT slot, site, state FROM states JOIN people USING (slot) WHERE slot IN ({marks})",
            members,
        ):
            regime = self._policy.sites[site].regime
            own[slot] = standing(_states.decode(packed), self._policy, regime)
        found: dict[int, PurposeSet] = {}
        for slot in slots:
            ruled = [own[other] for other in clusters.get(slot, (slot,)) if other in own]
            if ruled:
                found[slot] = intersect(ruled).granted
        return found

    def _clusters(self, slots: Sequence[int]) -> dict[int, tuple[int, ...]]:
        person_of = dict(
            self._in("SELECT slot, person FROM clusters WHERE slot IN ({marks})", slots)
        )
        members: dict[int, list[int]] = {}
        for slot, person in self._in(
            "SELECT slot, person FROM clusters WHERE person IN ({marks})", set(person_of.values())
        ):
            members.setdefault(person, []).append(slot)
        return {slot: tuple(members[person]) for slot, person in person_of.items()}

    def withdrawals(self, after: int) -> Sequence[Withdrawal]:
        """Return what was withdrawn after a position; a new link may withdraw anything."""
        found: dict[tuple[int, int], set[str]] = {}
        for position, slot, purpose in self._rows(
            "SELECT position, slot, purpose FROM revoked WHERE position > ?", (after,)
        ):
            found.setdefault((position, slot), set()).add(purpose)
        for position, slot in self._rows(
            "SELECT position, slot FROM records WHERE position > ? AND kind IN (?, ?)",
            (after, Kind.LINK, Kind.UNLINK),
        ):
            found[position, slot] = set(self._policy.leaves)
        return [
            Withdrawal(position, slot, frozenset(purposes))
            for (position, slot), purposes in sorted(found.items())
        ]

    def contacts(self, slots: Sequence[int]) -> Mapping[int, Sequence[SealedContact]]:
        """Return the newest contact versions of each slot's whole cluster, newest first."""
        clusters = self._clusters(slots)
        members = {other for slot in slots for other in clusters.get(slot, (slot,))}
        own: dict[int, list[SealedContact]] = {}
        for slot, kind, position, sealed in self._in(
            "SELECT slot, kind, position, sealed FROM contacts WHERE slot IN ({marks})", members
        ):
            own.setdefault(slot, []).append(SealedContact(slot, kind, position, sealed))
        found: dict[int, list[SealedContact]] = {}
        for slot in slots:
            every = [one for other in clusters.get(slot, (slot,)) for one in own.get(other, ())]
            newest: dict[str, SealedContact] = {}
            for one in sorted(every, key=lambda each: each.position):
                newest[one.kind] = one
            if newest:
                found[slot] = list(newest.values())
        return found

    def positions(self, dedup_keys: Sequence[bytes]) -> Sequence[int]:
        """Return the positions of events by their deduplication keys."""
        marks = ",".join("?" * len(dedup_keys))
        query = f"SELECT position FROM dedup WHERE key IN ({marks}) ORDER BY 1"  # noqa: S608 - marks
        return [position for (position,) in self._rows(query, dedup_keys)]

    def slots(self) -> Sequence[int]:
        """Return every slot there is."""
        return [slot for (slot,) in self._rows("SELECT slot FROM people")]

    # -- the operator's side --------------------------------------------------------------------

    def counters(self) -> Sequence[tuple[str, str, str, int]]:
        """Return (source, outcome, reason, count) of everything that entered."""
        return self._rows("SELECT source, outcome, reason, count FROM counters ORDER BY 1, 2, 3")

    def logged(self) -> int:
        """Return how many events the log holds, counted from its own rows."""
        found: int = self._rows("SELECT coalesce(sum(count), 0) FROM log")[0][0]
        return found

    def undeclared(self) -> Sequence[tuple[str, str, int]]:
        """Return (source, property name, count) of names that no policy declares."""
        return self._rows("SELECT source, name, count FROM undeclared ORDER BY count DESC")

    def record(self, number: int) -> Mapping[str, Any] | None:
        """Return one consent record, opened; None if it is not there or its person is erased."""
        rows = self._rows("SELECT slot, body FROM records WHERE record = ?", (number,))
        if not rows:
            return None
        slot, body = rows[0]
        try:
            plain = body if slot is None else self.seal_of(slot).open(b"record", body)
        except (KeyDestroyedError, SealBrokenError):
            return None
        found: dict[str, Any] = json.loads(plain)
        return found

    def owners(self, macs: Sequence[bytes]) -> Mapping[bytes, int]:
        """Return identifier MAC → slot, for the known ones."""
        found: dict[bytes, int] = {}
        for start in range(0, len(macs), _MANY):
            part = list(macs[start : start + _MANY])
            marks = ",".join("?" * len(part))
            query = f"SELECT mac, slot FROM identifiers WHERE mac IN ({marks})"  # noqa: S608 - marks
            found |= dict(self._rows(query, part))
        return found
