"""The contract of a protocol adapter: bytes of one tracker's request in, observations out.

An adapter does no I/O and holds no state. Built-in and third-party adapters load through the
entry-point group ``einlass.adapters``; the registry is ``load_adapters``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import ClassVar, Protocol

import msgspec

from consent.observation import Observation
from consent.outcome import Outcome
from consent.policy import SourcePolicy

__all__ = ["Adapter", "Observations", "Payload", "Reply", "Route", "load_adapters"]

Observations = Sequence[Observation]
"""What an adapter read; handed on to the intake, which alone looks inside."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path an adapter answers; a trailing slash is accepted too."""

    method: str
    path: str


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One inbound request after limits and inflation, with the source its write key names.

    ``path`` has no trailing slash. ``headers`` has lower-case names. ``region`` is the default
    region of phone numbers. ``received`` is UTC milliseconds.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source: SourcePolicy
    region: str
    received: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the tracker gets back."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Adapter(Protocol):
    """One wire protocol.

    ``write_key`` finds the key in the request (header, query or body) or returns None.
    ``parse`` raises ``MalformedPayloadError`` when nothing of the request can be read; a single
    unreadable item becomes an observation with ``invalid`` set instead. It checks the raw bytes of
    each JSON event with ``gateway.strictjson.check_event`` before it decodes them.
    """

    name: ClassVar[str]
    routes: ClassVar[tuple[Route, ...]]

    def write_key(
        self, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> str | None:
        """Return the write key as sent, or None."""

    def parse(self, payload: Payload) -> Observations:
        """Return the observations of this request, in order."""

    def reply(self, payload: Payload, outcomes: Sequence[Outcome]) -> Reply:
        """Shape the answer that this tracker's SDK needs."""


def load_adapters() -> tuple[Adapter, ...]:
    """Load every installed adapter, by name."""
    found = sorted(entry_points(group="einlass.adapters"), key=lambda entry: entry.name)
    return tuple(entry.load()() for entry in found)
