"""What a lane works with: one configured destination, and the means that all lanes share.

Holds references only; sends and decides nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.audiences.contacts import Disclosures, OpensContacts
from gateway.audiences.flights import Flights
from gateway.audiences.withdrawals import Requirements
from gateway.backstore import BackStore
from gateway.clock import Clock
from gateway.eventlog import FrontView
from segments.destination import Destination, Operation
from segments.export import Send

__all__ = ["Means", "Pace", "Platform"]


class Pace(Protocol):
    """A rate limit that keeps a share for removals."""

    def take(self, operation: Operation) -> float:
        """Take a token and return 0.0, or take none and return the seconds until there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One configured destination; ``read_token`` reads its credential anew."""

    name: str
    destination: Destination
    options: Mapping[str, str]
    read_token: Callable[[], str]
    send: Send
    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every lane of a courier shares.

    ``minimum`` is the smallest audience and addition that may leave; ``clock`` gives UTC
    milliseconds; ``backoff`` the seconds to wait after so many attempts, at most a cap.
    """

    store: BackStore
    view: FrontView
    vault: OpensContacts
    disclosures: Disclosures
    flights: Flights
    requirements: Requirements
    minimum: int
    clock: Clock
    new_id: Callable[[], int]
    backoff: Callable[[int, float], float]
