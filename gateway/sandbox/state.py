"""What the simulated platforms hold: audiences, a journal of requests, scripted faults.

The clock is passed in and monotonic (seconds), so that arrival times compare across processes of
one machine. Nothing here knows a wire format. It holds digests in memory only, and is a test
tool: never point a real destination's contact data at it.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = [
    "Answer",
    "Audience",
    "Call",
    "Entry",
    "Fault",
    "Faults",
    "Journal",
    "Kind",
    "SandboxSettings",
]

_DIGEST_BYTES: Final = 32
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_EMPTY: Final = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_PLAINTEXT = re.compile(rb"[^\s\"@]@[^\s\"@]+\.|\"\+[0-9]{7,15}\"")
_MAX_ENTRIES: Final = 20_000
_MAX_PACKED_BYTES: Final = 64 * 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """How the platforms behave. ``app_secret`` makes Meta demand its proof."""

    processing_seconds: float = 1.0
    google_requests_per_minute: int = 300
    app_secret: str = ""


class Kind(StrEnum):
    """What a request does, for the journal and for choosing a fault."""

    ADD = "add"
    REMOVE = "remove"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a platform answers: status, JSON body, and what the journal should say."""

    status: int
    body: object
    code: str = ""
    audience: str = ""
    rows: int = 0
    refused: int = 0


class Audience:
    """One list of people. Digests that arrived in one row belong to one person."""

    def __init__(self) -> None:
        self._owner: dict[str, int] = {}
        self._digests: dict[int, set[str]] = {}
        self._next = 0

    def add(self, digests: Sequence[str]) -> None:
        """Add a person, or add digests to the one who has one of these already."""
        known = {self._owner[digest] for digest in digests if digest in self._owner}
        person = min(known, default=self._next)
        self._next += person == self._next
        merged = set(digests).union(*(self._digests.pop(other) for other in known))
        self._digests[person] = merged
        self._owner.update(dict.fromkeys(merged, person))

    def remove(self, digests: Iterable[str]) -> None:
        """Remove whoever has one of these digests, with all of theirs."""
        for digest in digests:
            person = self._owner.get(digest)
            if person is not None:
                for other in self._digests.pop(person):
                    del self._owner[other]

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self._digests)

    def digests(self) -> list[str]:
        """Return every digest held, sorted."""
        return sorted(self._owner)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request. ``arrived`` is when its head was read, ``received`` when its last byte was.

    ``complete`` is False where the sender cut the connection; what arrived until then is counted
    in ``size``. ``plaintext`` counts what must never arrive: addresses, digests of nothing.
    """

    number: int
    platform: str
    kind: str
    method: str
    path: str
    arrived: float
    audience: str = ""
    received: float = 0.0
    complete: bool = False
    size: int = 0
    status: int = 0
    code: str = ""
    fault: str = ""
    rows: int = 0
    refused: int = 0
    plaintext: int = 0
    packed: bytes = b""

    def holds(self, digest: str) -> bool:
        """Say whether a digest was in the request, accepted or not."""
        wanted, at = bytes.fromhex(digest), -1
        while (at := self.packed.find(wanted, at + 1)) >= 0:
            if at % _DIGEST_BYTES == 0:
                return True
        return False

    def shown(self, *, digests: bool) -> dict[str, object]:
        """Return the entry as JSON values."""
        names = [name for name in self.__slots__ if name != "packed"]
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        if digests:
            text = self.packed.hex()
            found["digests"] = [text[at : at + 64] for at in range(0, len(text), 64)]
        return found


class Journal:
    """The requests, oldest first; bounded in number and bytes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._numbers = 0
        self._packed = 0

    def open(self, platform: str, kind: Kind, method: str, path: str) -> Entry:
        """Note that a request's head has arrived."""
        self._numbers += 1
        entry = Entry(
            number=self._numbers,
            platform=platform,
            kind=kind,
            method=method,
            path=path,
            arrived=self._clock(),
        )
        self._entries.append(entry)
        return entry

    def received(self, entry: Entry, body: bytes, *, complete: bool) -> None:
        """Note that the last byte has arrived, and what the body holds, valid or not.

        Digests are kept as bytes; the oldest are let go over the bound.
        """
        entry.size, entry.complete, entry.received = len(body), complete, self._clock()
        found = _DIGEST.findall(body)
        entry.packed = bytes.fromhex(b"".join(found).decode())
        entry.plaintext = len(_PLAINTEXT.findall(body)) + found.count(_EMPTY)
        self._packed += len(entry.packed)
        for old in self._entries:
            if self._packed <= _MAX_PACKED_BYTES or old is entry:
                break
            self._packed -= len(old.packed)
            old.packed = b""

    def since(self, number: int) -> list[Entry]:
        """Return the entries after a number."""
        return [entry for entry in self._entries if entry.number > number]


@dataclass(slots=True, kw_only=True)
class Fault:
    """A scripted fault for the next ``count`` requests it fits; 0 means until a reset."""

    platform: str
    fault: str
    count: int = 1
    delay_ms: int = 0
    on: str = "write"
    operation: str = ""

    def fits(self, platform: str, kind: Kind) -> bool:
        """Say whether this request gets the fault."""
        if platform != self.platform or (self.operation and kind != self.operation):
            return False
        return self.on == "any" or (self.on == "status") == (kind is Kind.STATUS)


@dataclass(slots=True)
class Faults:
    """The script, first in first out per platform."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self, platform: str, kind: Kind) -> Fault | None:
        """Return the next fault for this request and use it up."""
        for fault in self.waiting:
            if fault.fits(platform, kind):
                if fault.count == 1:
                    self.waiting.remove(fault)
                fault.count = max(0, fault.count - 1)
                return fault
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as a platform sees it. ``fault`` is scripted, ``""`` for none."""

    kind: Kind
    audience: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    now: float
    fault: str = ""

    @property
    def token(self) -> str:
        """The bearer token, empty where there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""
