"""The contract of an audience destination: a generator of requests that is sent responses.

A destination does no I/O, hashes nothing, retries nothing, batches nothing: the shared machinery
(``segments.export``, the courier) owns that. Built-in and third-party destinations load through
the entry-point group ``einlass.destinations``.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from typing import ClassVar, Protocol

import httpx

from segments.errors import UnsupportedEngineError

__all__ = [
    "Destination",
    "DestinationSpec",
    "Fate",
    "Flow",
    "Member",
    "Operation",
    "SyncJob",
    "SyncReport",
    "load_destination",
]


class Operation(StrEnum):
    """What a job does; one job never mixes the two."""

    ADD = "add"
    REMOVE = "remove"


class Fate(StrEnum):
    """How a job, or one member of it, ended."""

    ACCEPTED = "accepted"
    """The platform took it and works on it."""
    CONFIRMED = "confirmed"
    """The platform says it is done."""
    REJECTED = "rejected"
    """The platform refused this; sending it again unchanged cannot help."""
    RETRY = "retry"
    """Not done; send it again later."""
    IN_DOUBT = "in_doubt"
    """Nobody knows: the answer cannot be read."""
    SPLIT = "split"
    """The whole batch was refused for one bad row: send halves."""
    REFRESH = "refresh"
    """The credential is expired: refresh once, then again."""
    BLOCKED = "blocked"
    """Contract or permission: park the destination and tell the operator."""


@dataclass(frozen=True, slots=True)
class Member:
    """One person on the wire: platform digests by identifier kind, made in memory just now.

    ``row`` is the member's place in the job; ``digests`` maps ``email`` or ``phone`` to the
    encoded digest of that platform's normal form. Nothing here is stored or logged.
    """

    row: int
    digests: Mapping[str, str]

    def __repr__(self) -> str:
        """Show the row only."""
        return f"<Member row {self.row}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob:
    """One batch of one operation on one audience.

    ``options`` are the destination's own settings (account, audience, endpoint, version …).
    ``token`` is the credential. ``purposes`` are those every member grants at this moment.
    """

    id: str
    audience: str
    operation: Operation
    members: Sequence[Member]
    options: Mapping[str, str]
    token: str
    purposes: frozenset[str]

    def __repr__(self) -> str:
        """Show no member and no token."""
        return f"<SyncJob {self.id} {self.operation} {len(self.members)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What came of a job. ``rows`` holds only members whose fate differs from ``fate``."""

    fate: Fate
    rows: Mapping[int, Fate] | None = None
    reference: str = ""
    code: str = ""
    retry_after_seconds: float | None = None


Flow = Generator[httpx.Request, httpx.Response, SyncReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSpec:
    """What the shared machinery must know of a platform. Rates are requests per minute."""

    kind: str
    title: str
    identifiers: Mapping[str, str]
    """Identifier kind → normalisation family (``email`` → ``E1``, ``phone`` → ``P2``)."""
    max_members: int
    requests_per_minute: int
    hosts: Sequence[str]
    can_remove: bool = True
    encoding: str = "hex"
    asynchronous: bool = False
    """True where a job is only *accepted* at first and must be polled to be *confirmed*."""
    purposes: frozenset[str] = frozenset({"audience_sync"})
    docs: str = ""


class Destination(Protocol):
    """One platform's audience calls."""

    spec: ClassVar[DestinationSpec]

    def flow(self, job: SyncJob) -> Flow:
        """Yield requests, be sent responses, return what came of it."""

    def poll(self, job: SyncJob, reference: str) -> Flow:
        """Ask what came of an accepted job; synchronous platforms confirm at once."""


def load_destination(kind: str) -> Destination:
    """Load one destination by the ``kind`` named in the configuration.

    Raises:
        UnsupportedEngineError: no installed destination has this name.
    """
    for entry in entry_points(group="einlass.destinations"):
        if entry.name == kind:
            found: Destination = entry.load()()
            return found
    raise UnsupportedEngineError(f"no destination of kind {kind!r} is installed")
