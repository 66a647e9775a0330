"""Which keys each table of einlass.toml may have; ``*`` stands for a name the operator chooses.

The reader refuses every other key, and the documentation must explain each of these.
"""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from gateway.configuration.shapes import Limits

__all__ = ["OPEN", "TABLES"]

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (
            "trusted_hosts", "site", "notices", "purposes", "categories", "sources", "events",
            "properties", "traits", "fields", "vault", "destinations", "audiences", "segments",
            "pages", "limits", "sandbox",
        ),
        "site.*": ("domain", "timezone", "regime", "region", "controller"),
        "site.*.controller": ("name", "contact", "country"),
        "notices.*": ("version", "languages", "offers"),
        "purposes.*": ("parent", "basis", "retention", "recipients"),
        "sources.*": ("site", "trust", "key", "key_file", "origins", "purposes"),
        "events.*": ("purposes",),
        "properties": ("declared",),
        "traits": ("declared",),
        "fields.*": ("purposes",),
        "pages": ("paths",),
        "vault": ("collect",),
        "destinations.*": (
            "kind", "endpoint", "account", "audience", "token_file", "purposes", "terms_accepted",
        ),
        "audiences.*": ("segment", "destinations"),
        "segments": ("files",),
        "limits": tuple(limit.name for limit in fields(Limits)),
        "sandbox": ("port",),
    }
)  # fmt: skip

OPEN: frozenset[str] = frozenset({"destinations.*"})
"""Tables that pass further keys on to a platform; only what looks like a slip is refused."""
