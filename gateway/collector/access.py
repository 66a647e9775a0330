"""Who is speaking: write keys name a source, identity proofs let a browser speak for a user id.

``identity_proof`` is hex HMAC-SHA-256 of the user id under the key of one of the site's server
sources. The comparison is constant-time and runs over every server key of the site.
"""

import hmac
from collections.abc import Iterable

from consent.policy import Policy, SourcePolicy, Trust
from gateway.configuration.shapes import SourceSettings
from gateway.errors import UnknownSourceError

__all__ = ["Access"]


class Access:
    """Sources by write key, and the server keys of each site."""

    def __init__(self, policy: Policy, sources: Iterable[SourceSettings]) -> None:
        self._by_key: dict[str, SourcePolicy] = {}
        self._server_keys: dict[str, list[bytes]] = {}
        for source in sources:
            found = policy.sources[source.name]
            self._by_key[source.key] = found
            if found.trust is Trust.SERVER:
                self._server_keys.setdefault(found.site, []).append(source.key.encode())

    def source(self, key: str | None) -> SourcePolicy:
        """Return the source that a key names.

        Raises:
            UnknownSourceError: none.
        """
        source = self._by_key.get(key) if key else None
        if source is None:
            raise UnknownSourceError("no source has this write key")
        return source

    def proves(self, site: str, user_id: str, proof: str | None) -> bool:
        """Say whether a proof speaks for this user id."""
        if not proof or not proof.isascii():
            return False
        given = proof.lower().encode()
        found = False
        for key in self._server_keys.get(site, ()):
            want = hmac.digest(key, user_id.encode(), "sha256").hex().encode()
            found |= hmac.compare_digest(want, given)
        return found
