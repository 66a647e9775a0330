"""Records what people choose: who may grant, what a refusal touches, and what it makes.

Runs as work of the door: checks come before any change, so that a refused call leaves nothing.
A refusal by someone of whom nothing is held makes no person.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from consent.identifiers import Identifier, IdentifierType
from consent.policy import SourcePolicy
from consent.state import Act
from gateway.collector.people import Person, secret_hash
from gateway.collector.prepare import Preparer, is_same
from gateway.errors import ForbiddenError, UnprocessableError
from gateway.eventlogs.group import Group, NewRecord

__all__ = ["Choices", "Recorded", "Stated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One choice as stated: whose it is, what it says, and what vouches for it.

    ``trusted``: a server key or a valid identity proof. ``secret`` is the device secret given.
    """

    source: SourcePolicy
    identifiers: tuple[Identifier, ...]
    act: Act
    trusted: bool
    secret: str | None = None

    def __repr__(self) -> str:
        """Show no identifier and no secret."""
        return f"<Stated {self.act.kind} by {self.source.name}>"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records that a choice made, main one first, and a device secret if one was given out."""

    records: tuple[NewRecord, ...]
    device_secret: str | None

    @property
    def withdrew(self) -> bool:
        """Say whether something that was granted is not any more."""
        return any(record.withdrawn for record in self.records)

    @property
    def position(self) -> int:
        """Return the position from which the choice is in force everywhere."""
        return max(record.position for record in self.records)


class Choices:
    """Own choices as work of the door."""

    def __init__(self, preparer: Preparer, new_secret: Callable[[], str]) -> None:
        self._preparer = preparer
        self._new_secret = new_secret

    def record(self, stated: Stated, group: Group) -> Recorded:
        """Prepare the records of one choice.

        Raises:
            ForbiddenError: it grants more than whoever speaks may grant.
            UnprocessableError: it grants something to nobody.
        """
        people, site = self._preparer.people, stated.source.site
        grants = {leaf for leaf, granted in stated.act.answers.items() if granted}
        if not stated.identifiers:
            if grants:
                raise UnprocessableError("a grant needs an id", "anonymous_id")
            row = self._preparer.record_unlinked(group, site, None, stated.act)
            return Recorded((row,), None)
        macs = [people.mac(site, identifier) for identifier in stated.identifiers]
        found = self._preparer.find(group, macs[0])
        self._check(stated, found, grants)
        main, secret = self._main(stated, group, (macs[0], found), granting=bool(grants))
        records = [self._record_one(stated, group, macs[0], main, stated.act)]
        if stated.trusted and main is not None and grants:
            self._link(stated, group, main, macs[1:])
        for mac in macs[1:]:
            records += self._restrict(stated, group, mac, main)
        return Recorded(tuple(records), secret)

    def _check(self, stated: Stated, person: Person | None, grants: set[str]) -> None:
        if stated.trusted or not grants:
            return
        if person is None or person.device is None:
            return  # the first choice of this device: it gets the secret now
        widens = grants - self._preparer.people.own(person).granted
        if not widens:
            return
        given = secret_hash(stated.secret or "")
        if not hmac.compare_digest(given, person.device):
            raise ForbiddenError("changing a grant needs the device secret", "device_secret")

    def _main(
        self, stated: Stated, group: Group, main: tuple[bytes, Person | None], *, granting: bool
    ) -> tuple[Person | None, str | None]:
        """Return whom the choice is recorded for, made if need be, and a new device secret."""
        mac, person = main
        if person is None and not granting:
            return None, None
        known = person is not None and person.device is not None
        is_device = stated.identifiers[0].type is IdentifierType.ANONYMOUS_ID
        secret = self._new_secret() if is_device and not stated.trusted and not known else None
        device = secret_hash(secret) if secret else None
        if person is None:
            refusal = self._preparer.people.refusal(mac)
            person = self._preparer.create(group, stated.source.site, mac, refusal, device)
        elif device is not None:
            person.device = device
            group.devices.append((device, person.slot))
        return person, secret

    def _record_one(
        self, stated: Stated, group: Group, mac: bytes, person: Person | None, act: Act
    ) -> NewRecord:
        if person is None:
            return self._preparer.record_unlinked(group, stated.source.site, mac, act)
        return self._preparer.record(group, person, act)

    def _restrict(
        self, stated: Stated, group: Group, mac: bytes, main: Person | None
    ) -> list[NewRecord]:
        """A refusal by someone trusted holds for every id of the request, linked or not."""
        refused = [leaf for leaf, granted in stated.act.answers.items() if not granted]
        if not stated.trusted or not refused:
            return []
        other = self._preparer.find(group, mac)
        if main is not None and other is not None and is_same(main, other):
            return []  # what the main one refuses holds for all that are linked to it
        act = Act(
            kind=stated.act.kind,
            answers=dict.fromkeys(refused, False),
            t=stated.act.t,
            received=stated.act.received,
            source=stated.act.source,
            gpc=stated.act.gpc,
            evidence=stated.act.evidence,
        )
        return [self._record_one(stated, group, mac, other, act)]

    def _link(self, stated: Stated, group: Group, main: Person, macs: list[bytes]) -> None:
        people = self._preparer.people
        if "identity_link" not in people.standing(main).granted:
            return
        for mac in macs:
            other = self._preparer.find(group, mac)
            if other is None and mac not in group.refused:
                other = self._preparer.create(group, stated.source.site, mac)
            if other is not None:
                self._preparer.link(group, stated.source, (main, other), stated.act.received)
