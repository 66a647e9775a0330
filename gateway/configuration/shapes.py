"""The settings as values: frozen, typed, and complete once they exist.

They know nothing of TOML or files; ``gateway.settings`` is where others import them from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consent.policy import Policy

__all__ = [
    "AudienceSettings",
    "ControllerSettings",
    "DestinationSettings",
    "Limits",
    "NoticeSettings",
    "Settings",
    "SourceSettings",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, counts and milliseconds; defaults are the documented ones."""

    max_body_bytes: int = 1_048_576
    max_inflated_bytes: int = 4_194_304
    max_event_bytes: int = 32_768
    max_batch_events: int = 2_000
    max_pending_events: int = 20_000
    min_audience: int = 50
    min_display: int = 10


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Who answers for a site (GDPR Art. 4(7)): shown in notices, named in consent records."""

    name: str
    contact: str
    country: str


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source of events. ``key`` is the write key; never printed."""

    name: str
    site: str
    trust: str
    key: str
    origins: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show no key."""
        return f"<SourceSettings {self.name} {self.trust}>"


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """One notice in its languages: language tag → file."""

    name: str
    version: str
    languages: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """One destination. ``options`` are its own keys (account, audience ids …) as text.

    ``endpoint`` is ``sandbox``, or the base address of the platform; empty means the platform's
    own. ``token_file`` is read by the courier alone.
    """

    name: str
    kind: str
    endpoint: str
    purposes: frozenset[str]
    token_file: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class AudienceSettings:
    """One segment kept in sync at some destinations."""

    name: str
    segment: str
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a process may depend on. ``controllers`` is keyed by site."""

    path: Path
    policy: Policy
    sources: Mapping[str, SourceSettings]
    notices: Mapping[str, NoticeSettings]
    destinations: Mapping[str, DestinationSettings]
    audiences: Mapping[str, AudienceSettings]
    segment_files: tuple[Path, ...]
    sandbox_port: int = 8089
    limits: Limits = field(default_factory=Limits)
    trusted_hosts: tuple[str, ...] = ()
    controllers: Mapping[str, ControllerSettings] = field(default_factory=dict)
