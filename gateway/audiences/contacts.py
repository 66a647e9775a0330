"""Opens contact values at the wire, and keeps what was shown until it has been taken back.

A shown version is sealed under a random key of its own, wrapped by the key ring; deleting the
record destroys the key. Values pass through memory only and never into a message or a log.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from consent.errors import KeyDestroyedError, SealBrokenError
from consent.outcome import Delivery, Reason
from consent.vault import KeyWrap, PersonSeal
from gateway.backrecords import Disclosure
from gateway.eventlog import SealedContact

__all__ = ["Contact", "Disclosures", "OpensContacts", "Unusable", "open_contacts"]

_USE = b"disclosed"
_KEY_BYTES = 32


class OpensContacts(Protocol):
    """The courier's half of the vault."""

    def open(self, sealed: SealedContact) -> str:
        """Return the canonical value.

        Raises:
            KeyDestroyedError: the person was erased.
            SealBrokenError: it does not open; quarantine it.
        """


@dataclass(frozen=True, slots=True)
class Contact:
    """A person's canonical values by kind, and the newest position among their versions."""

    values: Mapping[str, str]
    position: int

    def __repr__(self) -> str:
        """Show kinds only."""
        return f"<Contact {sorted(self.values)}>"


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a person cannot be sent."""

    delivery: Delivery
    reason: Reason
    position: int = 0


def open_contacts(vault: OpensContacts, sealed: Sequence[SealedContact]) -> Contact | Unusable:
    """Open the versions of one person's contact data; the newest of each kind counts."""
    position = max((version.position for version in sealed), default=0)
    values: dict[str, str] = {}
    erased = broken = False
    for version in sorted(sealed, key=lambda version: version.position):
        try:
            values[version.kind] = vault.open(version)
        except KeyDestroyedError:
            erased = True
        except SealBrokenError:
            broken = True
    if values:
        return Contact(values, position)
    if broken:
        return Unusable(Delivery.DEAD, Reason.MALFORMED, position)
    if erased:
        return Unusable(Delivery.ERASED, Reason.SUBJECT_ERASED, position)
    return Unusable(Delivery.REFUSED, Reason.NO_CONTACT, position)


class Disclosures:
    """Seals what a platform is shown, and opens it again for the removal."""

    def __init__(self, wrap: KeyWrap, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._wrap = wrap
        self._random_bytes = random_bytes

    def seal(self, slot: int, values: Mapping[str, str]) -> Disclosure:
        """Seal one version under a new key."""
        key = self._random_bytes(_KEY_BYTES)
        plain = msgspec.json.encode(dict(sorted(values.items())))
        return Disclosure(
            slot=slot,
            wrapped_key=self._wrap.wrap(slot, key),
            sealed=PersonSeal(key, slot).seal(_USE, plain),
        )

    def open(self, disclosure: Disclosure) -> dict[str, str]:
        """Open one version.

        Raises:
            SealBrokenError: altered, or wrapped by another key ring.
        """
        key = self._wrap.unwrap(disclosure.slot, disclosure.wrapped_key)
        plain = PersonSeal(key, disclosure.slot).open(_USE, disclosure.sealed)
        return msgspec.json.decode(plain, type=dict[str, str])
