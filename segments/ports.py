"""What the segmenter needs from outside, as small Protocols; the gateway passes the objects in.

Nothing here knows a store, a key or a protocol. Positions are the front store's one sequence:
events and consent records share it, so "after" has one meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consent.event import ConsentedEvent
from consent.purposes import PurposeSet

__all__ = ["ConsentRow", "EventFeed", "LoggedEvent", "PseudonymOf"]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One admitted event with its place in the log and its owner's slot."""

    position: int
    slot: int
    event: ConsentedEvent


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One consent record: ``granted`` is what held for the person after it.

    ``received`` is UTC milliseconds; ``position`` its place in the one sequence.
    """

    position: int
    index: int
    slot: int
    received: int
    granted: PurposeSet


class EventFeed(Protocol):
    """The front store as the engine reads it. Every list is ordered by position."""

    def head(self) -> int:
        """Return the newest committed position."""

    def events(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Return about ``limit`` events after a position (whole commit groups, so a few more).

        Events whose person's key is destroyed are left out. Fewer than one only at the head.
        """

    def consents(self, after: int, limit: int) -> Sequence[ConsentRow]:
        """Return at most ``limit`` consent records (of known people) after a position."""

    def persons(self) -> Mapping[int, int]:
        """Return slot → person for linked slots only; a person is named by one of its slots."""

    def hidden(self) -> frozenset[int]:
        """Return slots that must not be read at all now (quarantined, erased, restricted)."""

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        """Return what each slot with a record grants right now, cluster intersection applied."""


class PseudonymOf(Protocol):
    """Slot → printed pseudonym in one domain."""

    def __call__(self, slot: int, /) -> str:
        """Return the pseudonym, with its typed prefix."""
