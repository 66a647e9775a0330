"""The compiled consent policy of one deployment: what needs which purpose.

Pure data plus look-ups that the door uses for every event; settings build it, nothing here reads
a file. ``version`` is the hash of what was declared, so that a decision can name its policy.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consent.errors import InvalidPolicyError
from consent.purposes import Purpose, PurposeSet

__all__ = ["ECOMMERCE_PROPERTIES", "Policy", "Regime", "SitePolicy", "SourcePolicy", "Trust"]

ECOMMERCE_PROPERTIES: frozenset[str] = frozenset(
    {
        "product_id", "sku", "category", "brand", "variant", "quantity", "price_minor",
        "value_minor", "currency", "order_id", "items", "coupon", "query", "list_id",
        "checkout_id", "cart_id", "step", "payment_method", "shipping_method", "position",
        "refund_of", "plan", "feature", "stage", "template", "percent", "seconds", "form_id",
        "promotion_id", "creative", "affiliation", "shipping_minor", "tax_minor", "discount_minor",
    }
)  # fmt: skip
"""Properties of the e-commerce vocabulary: declared in every policy."""


class Regime(StrEnum):
    """How silence is read. Unknown geography is opt-in."""

    OPT_IN = "opt-in"
    OPT_OUT = "opt-out"
    NOTICE = "notice"


class Trust(StrEnum):
    """Who may know the key of a source."""

    PUBLIC = "public"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """One source. ``narrow`` may only take purposes away; empty takes nothing."""

    name: str
    site: str
    trust: Trust
    narrow: PurposeSet = frozenset()


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """One site. ``region`` is the default region of phone numbers (ISO 3166 alpha-2)."""

    name: str
    domain: str
    timezone: str
    regime: Regime = Regime.OPT_IN
    region: str = "DE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a decision may depend on beside the person's state and the signals."""

    sites: Mapping[str, SitePolicy]
    sources: Mapping[str, SourcePolicy]
    leaves: Mapping[str, Purpose]
    categories: Mapping[str, PurposeSet]
    offers: Mapping[str, PurposeSet]
    events: Mapping[str, PurposeSet]
    default: PurposeSet
    properties: frozenset[str]
    traits: frozenset[str]
    contact: frozenset[str]
    fields: Mapping[str, PurposeSet] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        """Check that every purpose named is declared, then stamp the version.

        Raises:
            InvalidPolicyError: an undeclared purpose, or `necessary` as an event's only ground.
        """
        sets = [*self.categories.values(), *self.offers.values(), *self.events.values()]
        for purposes in (*sets, *self.fields.values(), self.default):
            if not purposes <= self.leaves.keys():
                raise InvalidPolicyError(f"undeclared: {sorted(purposes - self.leaves.keys())}")
        if not self.version:
            object.__setattr__(self, "version", _digest(self))

    def declared_for(self, event_name: str) -> PurposeSet:
        """Return the purposes declared for an event name; unknown names use the default."""
        return self.events.get(event_name, self.default)


def _digest(policy: Policy) -> str:
    def plain(sets: Mapping[str, PurposeSet]) -> dict[str, list[str]]:
        return {name: sorted(purposes) for name, purposes in sorted(sets.items())}

    text = json.dumps(
        [
            sorted(policy.leaves),
            plain(policy.categories),
            plain(policy.offers),
            plain(policy.events),
            sorted(policy.default),
            sorted(policy.properties),
            sorted(policy.traits),
            sorted(policy.contact),
            plain(policy.fields),
            sorted(policy.paths),
            {name: site.regime for name, site in sorted(policy.sites.items())},
            {name: sorted(source.narrow) for name, source in sorted(policy.sources.items())},
        ],
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
