"""One commit group: everything that a flush writes in one transaction, and what came of it.

Plain values between the door, which prepares them, and the store, which writes them. Rows stand in
order: that order becomes their positions.
"""

from dataclasses import dataclass, field

from consent.ledger.entry import Entry
from consent.outcome import Outcome
from consent.state import Kind

__all__ = ["Committed", "Group", "NewContact", "NewEvent", "NewPerson", "NewRecord", "Stale"]


@dataclass(slots=True)
class NewPerson:
    """A slot that nobody had; ``device`` is the hash of a device secret.

    ``state`` is what was known of the id before: a refusal, or empty.
    """

    slot: int
    key_id: int
    site: str
    device: bytes | None = None
    state: bytes = b""


@dataclass(slots=True)
class NewEvent:
    """One admitted, sealed event. ``dedup`` and ``body`` decide duplicates and conflicts."""

    slot: int
    source: str
    sealed: bytes
    dedup: bytes
    body: bytes
    received: int
    outcome: Outcome = Outcome.ACCEPTED
    position: int = 0


@dataclass(slots=True, kw_only=True)
class NewRecord:
    """One consent record. Without a slot it is unlinked; ``refusal`` is then the id's MAC."""

    number: int
    slot: int | None
    kind: Kind
    received: int
    granted: str
    withdrawn: tuple[str, ...]
    stored: Entry
    body: bytes
    state: bytes
    other: int | None = None
    refusal: bytes | None = None
    drop_contacts: bool = False
    position: int = 0


@dataclass(slots=True)
class NewContact:
    """One sealed contact value; ``mac`` tells whether it changed."""

    slot: int
    kind: str
    mac: bytes
    sealed: bytes


@dataclass(slots=True)
class Group:
    """What one flush writes. ``record`` is the ledger head it was prepared at.

    ``slots`` are those whose state was read or written; ``macs`` those of whom nothing was found,
    ``refused`` those of whom only a refusal was.
    """

    record: int
    rows: list[NewEvent | NewRecord] = field(default_factory=list)
    people: list[NewPerson] = field(default_factory=list)
    devices: list[tuple[bytes, int]] = field(default_factory=list)
    identifiers: list[tuple[bytes, int]] = field(default_factory=list)
    clusters: list[tuple[int, int]] = field(default_factory=list)
    contacts: list[NewContact] = field(default_factory=list)
    counters: dict[tuple[str, str, str], int] = field(default_factory=dict)
    undeclared: dict[tuple[str, str], int] = field(default_factory=dict)
    slots: set[int] = field(default_factory=set)
    macs: set[bytes] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    records: int = 0

    def count(self, source: str, outcome: str, reason: str, times: int = 1) -> None:
        """Count an outcome."""
        key = (source, outcome, reason)
        self.counters[key] = self.counters.get(key, 0) + times

    @property
    def empty(self) -> bool:
        """Say whether there is nothing to write."""
        return not (self.rows or self.counters or self.devices)


@dataclass(frozen=True, slots=True)
class Committed:
    """The group is durable. ``record`` is the ledger head now; ``touched`` slots others changed."""

    position: int
    record: int
    clock: int
    touched: frozenset[int]


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing was written: others changed what the group rests on. Prepare it again.

    The turn is still held: the next commit of the same writer finds the same head.
    """

    record: int
    clock: int
    touched: frozenset[int]
