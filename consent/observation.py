"""A raw, identifying event. It lives inside one request and reaches the gate, nothing else.

It cannot be pickled, its ``repr`` shows no values, and an import contract lists who may name it.
Adapters build it; IP address and user agent are not even fields here.
"""

from collections.abc import Mapping

import msgspec

from consent.identifiers import Identifier
from consent.signals.carried import Carried

__all__ = ["Observation", "Place", "Touch"]


class _Bound:
    """No encoder knows how to write this."""


_BOUND = _Bound()


class _Unserialisable:
    """Shows no value and refuses to be pickled or copied: raw events do not leave the request."""

    def __repr__(self) -> str:
        """Show no value."""
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> str:
        """Refuse."""
        raise TypeError("a raw observation cannot be serialised")

    __copy__ = __reduce__


class Place(_Unserialisable, msgspec.Struct, frozen=True):
    """Where it happened, raw: full URLs and title, still with query strings."""

    url: str = ""
    referrer: str = ""
    title: str = ""
    bound: _Bound = _BOUND


class Touch(_Unserialisable, msgspec.Struct, frozen=True):
    """Campaign parameters as the tracker sent them (source, medium, campaign, term, content)."""

    values: Mapping[str, object] = msgspec.field(default_factory=dict)
    bound: _Bound = _BOUND


_SILENT = Carried()
_NOWHERE = Place()
_UNTOUCHED = Touch()


class Observation(_Unserialisable, msgspec.Struct, kw_only=True):
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
    identifiers: tuple[Identifier, ...] = ()
    previous: Identifier | None = None
    proof: str | None = None
    carried: Carried = _SILENT
    session: str | None = None
    properties: Mapping[str, object] = msgspec.field(default_factory=dict)
    traits: Mapping[str, object] = msgspec.field(default_factory=dict)
    contact: tuple[Identifier, ...] = ()
    place: Place = _NOWHERE
    touch: Touch = _UNTOUCHED
    refused: bool = False
    invalid: str | None = None
    bound: _Bound = _BOUND

    def __repr__(self) -> str:
        """Show name and source only: every other field may identify."""
        return f"<Observation {self.name} from {self.source}>"
