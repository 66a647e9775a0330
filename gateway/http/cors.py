"""Says which web pages may read an answer: the origins that the source's configuration names.

It must not know write keys or payloads. ``null`` is never allowed, ``*`` is never sent, and an
origin that no source names gets no header at all. Specification: Fetch standard section 3.3.
"""

from collections.abc import Mapping, Sequence

from starlette.types import Scope

__all__ = ["Cors", "Headers", "name_source"]

Headers = list[tuple[bytes, bytes]]

_SOURCE = "einlass.source"
_MAX_AGE_SECONDS = 3_600
_REQUEST_HEADERS = frozenset({
    b"anonymousid", b"authorization", b"content-encoding", b"content-type", b"einlass-device",
    b"sentat", b"sp-anonymous", b"x-enable-debug", b"x-ip-policy", b"x-write-key",
})  # fmt: skip


def name_source(scope: Scope, source: str) -> None:
    """Note which source a request's write key named: its origins alone hold from here on."""
    scope[_SOURCE] = source


class Cors:
    """Origins by source name, each ``scheme://host[:port]`` as a browser sends it."""

    def __init__(self, origins: Mapping[str, Sequence[str]]) -> None:
        self._by_source = {
            name: frozenset(origin.encode() for origin in allowed) - {b"null", b"*"}
            for name, allowed in origins.items()
        }
        self._any = frozenset().union(*self._by_source.values())

    def answer(self, scope: Scope, origin: bytes) -> Headers:
        """Return the headers that let this origin read the answer, or none."""
        source = scope.get(_SOURCE)
        # Before the write key is known (preflight, errors) any source may be meant.
        allowed = self._any if source is None else self._by_source.get(source, frozenset())
        if origin not in allowed:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"Retry-After, Einlass-Outcome"),
        ]

    def preflight(self, scope: Scope, origin: bytes) -> Headers | None:
        """Return the further headers of a preflight's 204; None if this is no preflight."""
        asked = dict(scope["headers"])
        if scope["method"] != "OPTIONS" or b"access-control-request-method" not in asked:
            return None
        if origin not in self._any:
            return []
        names = asked.get(b"access-control-request-headers", b"").lower().split(b",")
        wanted = sorted(_REQUEST_HEADERS.intersection(name.strip() for name in names))
        return [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
            (b"access-control-allow-headers", b", ".join(wanted)),
            (b"access-control-max-age", b"%d" % _MAX_AGE_SECONDS),
        ]
