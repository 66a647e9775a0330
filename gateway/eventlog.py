"""What other processes may read of the front store, as Protocols of a few methods.

The front store itself is one implementation per engine in ``gateway.eventlogs``. Readers open
their own read-only view; every call sees what was committed when it began. What the engine loads
from has a shape of its own, in ``segments.ports``: collecting must not know segments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consent.purposes import PurposeSet

__all__ = ["FrontView", "SealedContact", "Withdrawal"]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Purposes that a slot stopped granting at one position of the sequence."""

    position: int
    slot: int
    purposes: PurposeSet


@dataclass(frozen=True, slots=True)
class SealedContact:
    """One version of a person's contact value, sealed to the courier, then under the person's key.

    ``kind`` is ``email`` or ``phone``; ``slot`` the slot whose key seals it.
    """

    slot: int
    kind: str
    position: int
    sealed: bytes


class FrontView(Protocol):
    """The front store as the courier and the engine see it, read-only."""

    def head(self) -> int:
        """Return the newest committed position."""

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        """Return what each slot grants right now, cluster intersection applied.

        A slot without a record, hidden or erased is absent: that is a denial.
        """

    def withdrawals(self, after: int) -> Sequence[Withdrawal]:
        """Return withdrawals after a position, in order."""

    def contacts(self, slots: Sequence[int]) -> Mapping[int, Sequence[SealedContact]]:
        """Return the newest version of each contact kind per slot, cluster members included."""

    def persons(self) -> Mapping[int, int]:
        """Return slot → person for linked slots only."""
