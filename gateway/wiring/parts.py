"""Parts that more than one process is made of, each built from settings and the key ring."""

from consent.keyring import Keyring
from consent.policy import Policy
from consent.pseudonym import Domain, IdentifierMac, References
from consent.vault import KeyWrap
from gateway.datadir import DataDir
from gateway.keystore import KeyReader

__all__ = ["EPOCH", "console_domain", "identifier_macs", "key_reader", "key_wrap", "references"]

EPOCH = 1
"""Epoch of the pseudonym keys that new identifiers are indexed under."""


def key_wrap(ring: Keyring) -> KeyWrap:
    """Return the wrap of person keys."""
    return KeyWrap(ring.derive("master", "person-keys"))


def key_reader(ring: Keyring, data: DataDir) -> KeyReader:
    """Return a reader of person keys."""
    return KeyReader(data.keys, key_wrap(ring))


def identifier_macs(ring: Keyring, policy: Policy) -> IdentifierMac:
    """Return the transformation of identifiers into index keys."""
    keys = {site: ring.derive(f"identifiers-{EPOCH}", site) for site in policy.sites}
    return IdentifierMac(EPOCH, keys)


def references(ring: Keyring, policy: Policy) -> References:
    """Return the MACs of message ids, order ids and sessions."""
    return References({site: ring.derive("references", site) for site in policy.sites})


def console_domain(ring: Keyring) -> Domain:
    """Return the pseudonyms that the console and the command line print."""
    return Domain(ring.derive("console", "subjects"))
