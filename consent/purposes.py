"""The closed vocabulary of purposes: leaves, their parents, and what each signal touches.

A purpose is data, not code: a deployment may declare more leaves. Parents are names for
sets of leaves and are never stored. Source: the purpose taxonomy of the IAB Transparency and
Consent Framework (global vendor list, policy version 5) extended by audience export and linking.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from consent.errors import UnknownPurposeError

__all__ = [
    "CONTACT_PURPOSES",
    "GPC_REFUSES",
    "LEAVES",
    "PARENTS",
    "LegalBasis",
    "Purpose",
    "PurposeSet",
    "expand",
]

PurposeSet = frozenset[str]
"""Leaves only; a parent is expanded before it gets here."""


class LegalBasis(StrEnum):
    """Ground of processing (GDPR Art. 6(1))."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    NONE_REQUIRED = "none_required"


@dataclass(frozen=True, slots=True)
class Purpose:
    """One declared purpose. ``retention`` is an ISO 8601 duration; ``tcf`` a TCF purpose number."""

    key: str
    parent: str | None = None
    basis: LegalBasis = LegalBasis.CONSENT
    retention: str = "P13M"
    recipients: tuple[str, ...] = ()
    tcf: int | None = None


def _leaf(key: str, parent: str | None = None, tcf: int | None = None) -> Purpose:
    basis = LegalBasis.NONE_REQUIRED if key == "necessary" else LegalBasis.CONSENT
    return Purpose(key=key, parent=parent, basis=basis, tcf=tcf)


LEAVES: Mapping[str, Purpose] = MappingProxyType(
    {
        purpose.key: purpose
        for purpose in (
            _leaf("necessary"),
            _leaf("storage", tcf=1),
            _leaf("functional"),
            _leaf("analytics", "measurement", 8),
            _leaf("product_improvement", "measurement", 10),
            _leaf("audience_insight", "measurement", 9),
            _leaf("content_basic", "personalization", 11),
            _leaf("content_profile", "personalization", 5),
            _leaf("content_personalised", "personalization", 6),
            _leaf("ads_basic", "marketing", 2),
            _leaf("ads_profile", "marketing", 3),
            _leaf("ads_personalised", "marketing", 4),
            _leaf("ads_measurement", "marketing", 7),
            _leaf("audience_sync", "marketing"),
            _leaf("lookalike", "marketing"),
            _leaf("identity_link"),
            _leaf("email_marketing"),
            _leaf("geo_precise"),
            _leaf("device_scan"),
        )
    }
)

PARENTS: Mapping[str, PurposeSet] = MappingProxyType(
    {
        parent: frozenset(key for key, purpose in LEAVES.items() if purpose.parent == parent)
        for parent in ("marketing", "personalization", "measurement")
    }
)

GPC_REFUSES: PurposeSet = PARENTS["marketing"]
"""What `Sec-GPC: 1` refuses: every ads purpose and each export to a third party."""

CONTACT_PURPOSES: PurposeSet = frozenset({"audience_sync", "email_marketing"})
"""Contact data is kept only while one of these is granted."""


def expand(names: Iterable[str], leaves: Mapping[str, Purpose], field: str) -> PurposeSet:
    """Turn leaves and parents into leaves.

    Raises:
        UnknownPurposeError: a name is neither; ``field`` says where it stood.
    """
    found: set[str] = set()
    for name in names:
        children = {key for key, purpose in leaves.items() if purpose.parent == name}
        if name in leaves:
            found.add(name)
        elif children:
            found |= children
        else:
            raise UnknownPurposeError(f"{field}: {name!r} is neither a purpose nor a parent")
    return frozenset(found)
