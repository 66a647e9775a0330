"""A raw, identifying event. It lives inside one request and reaches the gate, nothing else.

It cannot be pickled, its ``repr`` shows no values, and an import contract lists who may name it.
Adapters build it; IP address and user agent are not even fields here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from consent.identifiers import Identifier
from consent.signals.carried import Carried

__all__ = ["Observation", "Place", "Touch"]


@dataclass(slots=True)
class Place:
    """Where it happened, raw: full URLs and title, still with query strings."""

    url: str = ""
    referrer: str = ""
    title: str = ""

    def __repr__(self) -> str:
        """Show no value."""
        return "<Place>"


@dataclass(slots=True)
class Touch:
    """Campaign parameters as the tracker sent them (source, medium, campaign, term, content)."""

    values: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show no value."""
        return "<Touch>"


@dataclass(slots=True, kw_only=True)
class Observation:
    """One event as an adapter read it.

    ``name`` is canonical (snake_case vocabulary). ``t`` is the skew-corrected client time and
    ``received`` the server's, both UTC milliseconds, ``t <= received``. ``identifiers`` holds at
    most one of each type. ``previous`` is the second id of an alias. ``proof`` is the identity
    proof for a ``user_id`` (hex HMAC under the server key). ``contact`` holds e-mail and phone
    from traits, raw. ``refused``: the request brings the identifier-free cookie of an own refusal.
    ``invalid`` is set when the item could not be read: it ends as ``invalid``.
    """

    source: str
    name: str
    t: int
    received: int
    message_id: str
    body_hash: bytes
    identifiers: tuple[Identifier, ...] = ()
    previous: Identifier | None = None
    proof: str | None = None
    carried: Carried = field(default_factory=Carried)
    session: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
    traits: Mapping[str, object] = field(default_factory=dict)
    contact: tuple[Identifier, ...] = ()
    place: Place = field(default_factory=Place)
    touch: Touch = field(default_factory=Touch)
    refused: bool = False
    invalid: str | None = None

    def __repr__(self) -> str:
        """Show name and source only: every other field may identify."""
        return f"<Observation {self.name} from {self.source}>"

    def __reduce__(self) -> str:
        """Refuse to be pickled: raw events do not leave the request."""
        raise TypeError("a raw observation cannot be serialised")
