"""One destination's way out: removals, additions and questions, each on a path of its own.

What is about to be done is durable before the call; consent is checked at the wire, just before
each request of an addition; what came of it is settled per member. A removal needs no consent
and is never given up. Specification: rules R4 and R6 in docs/design/audiences.md.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx
import structlog

from consent.errors import SealBrokenError
from consent.outcome import Delivery
from consent.purposes import PARENTS, PurposeSet
from gateway.audiences.contacts import (
    Contact,
    Disclosures,
    OpensContacts,
    Unusable,
    open_contacts,
)
from gateway.audiences.flights import Flight, Flights
from gateway.audiences.platform import Platform
from gateway.audiences.records import Disclosure, Job, Lane, Target
from gateway.audiences.settlement import Settler
from gateway.audiences.withdrawals import Requirements
from gateway.backstore import BackStore
from gateway.eventlog import FrontView
from segments.audiences.guard import covers, may_release, still_enough
from segments.audiences.membership import Membership, Phase, Step, refuse, start, undo, unwant
from segments.destination import Fate, Member, Operation, SyncJob, SyncReport
from segments.export import Prepared, drive, prepare

__all__ = ["AudienceLane", "Courtesy", "Services"]
