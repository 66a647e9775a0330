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
    ``retry_id`` is a random name that the client gives all tries of one call.
    """

    source: SourcePolicy
    identifiers: tuple[Identifier, ...]
    act: Act
    trusted: bool
    secret: str | None = None
    retry_id: str = ""

    def __repr__(self) -> str:
        """Show no identifier and no secret."""
        return f"<Stated {self.act.kind} by {self.source.name}>"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records that a choice made, main one first, and a device secret if one was given out.

    ``refuses``: something was refused. Older sends are waited for then, also where nothing was
    granted any more: the first try of the same call may have died before its wait.
    """

    records: tuple[NewRecord, ...]
    device_secret: str | None
    refuses: bool

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
            return Recorded((row,), None, refuses=True)
        macs = [people.mac(site, identifier) for identifier in stated.identifiers]
        found = self._preparer.find(group, macs[0])
        self._check(stated, found, grants)
        main, secret = self._main(stated, group, (macs[0], found), granting=bool(grants))
        records = [self._record_one(stated, group, macs[0], main, stated.act)]
        if stated.trusted and main is not None and grants:
            self._link(stated, group, main, macs[1:])
        for mac in macs[1:]:
            records += self._restrict(stated, group, mac, main)
        refuses = len(grants) < len(stated.act.answers)
        return Recorded(tuple(records), secret, refuses=refuses)

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
        known = person.device if person is not None else None
        secret = self._secret(stated, mac, known)
        device = secret_hash(secret) if secret and known is None else None
        if person is None:
            refusal = self._preparer.people.refusal(mac)
            person = self._preparer.create(group, stated.source.site, mac, refusal, device)
        elif device is not None:
            person.device = device
            group.devices.append((device, person.slot))
        return person, secret

    def _secret(self, stated: Stated, mac: bytes, known: bytes | None) -> str | None:
        """Return the device secret to hand out: at the first choice, and at its retries."""
        if stated.trusted or stated.identifiers[0].type is not IdentifierType.ANONYMOUS_ID:
            return None
        if not stated.retry_id:
            return self._new_secret() if known is None else None
        # Made from the call's own random name, so that a retry after a lost answer gets it again.
        site = stated.source.site
        secret = self._preparer.references.device_secret(site, mac, stated.retry_id)
        if known is None or hmac.compare_digest(secret_hash(secret), known):
            return secret
        return None

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
