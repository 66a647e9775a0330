"""Reviews a configuration that loads: what it promises and cannot keep, line by line.

Nothing here reaches the network or a store. Findings name settings, never a secret.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain

from consent.policy import ECOMMERCE_PROPERTIES, Trust
from consent.purposes import CONTACT_PURPOSES, LEAVES, PurposeSet
from gateway.configuration.document import Document, KeyPath
from gateway.configuration.shapes import Settings
from gateway.configuration.suggestion import did_you_mean, nearest, shown
from gateway.vocabulary import CANONICAL_NAMES
from segments.errors import SegmentError
from segments.rules.parse import read_yaml
from segments.rules.reading import Vocabulary

__all__ = ["Finding", "Level", "review"]


class Level(StrEnum):
    """How bad a finding is. An error keeps the server from starting or from being safe."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``code`` is stable; ``line`` 1-based, 0 where there is none."""

    level: Level
    code: str
    message: str
    file: str = ""
    line: int = 0
    hint: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


def review(document: Document, settings: Settings) -> Iterator[Finding]:
    """Yield a warning or error for each setting that has no effect or an unwanted one."""
    place = _Place(document)
    return chain(
        _unreachable_purposes(place, settings),
        _unoffered_events(place, settings),
        _near_misses(place, settings),
        _identifying_names(place, settings),
        _doors(place, settings),
        _vault(place, settings),
        _segments(place, settings),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    document: Document

    def error(self, code: str, path: KeyPath, message: str, hint: str = "") -> Finding:
        line = self.document.line(*path)
        return Finding(Level.ERROR, code, message, str(self.document.path), line, hint)

    def warn(self, code: str, path: KeyPath, message: str, hint: str = "") -> Finding:
        return replace(self.error(code, path, message, hint), level=Level.WARN)


def _grantable(settings: Settings) -> PurposeSet:
    policy = settings.policy
    return frozenset().union(*policy.categories.values(), *policy.offers.values())


def _users(settings: Settings) -> dict[KeyPath, PurposeSet]:
    """Return where purposes are used: path of the list → purposes."""
    policy = settings.policy
    events: Mapping[str, PurposeSet] = {**policy.events, "default": policy.default}
    return {
        **{("events", name, "purposes"): purposes for name, purposes in events.items()},
        **{("fields", name, "purposes"): purposes for name, purposes in policy.fields.items()},
        **{
            ("destinations", name, "purposes"): destination.purposes
            for name, destination in settings.destinations.items()
        },
    }


def _unreachable_purposes(place: _Place, settings: Settings) -> Iterator[Finding]:
    missing = {
        leaf
        for leaf in settings.policy.leaves.keys() - _grantable(settings) - {"necessary"}
        if settings.policy.leaves[leaf].basis == "consent"
    }
    places: dict[str, KeyPath] = {}
    for path, purposes in _users(settings).items():
        for leaf in purposes & missing:
            places.setdefault(leaf, path)
    for leaf in missing - places.keys():
        if place.document.has("purposes", leaf):
            places[leaf] = ("purposes", leaf)
    for leaf, path in sorted(places.items()):
        yield place.warn(
            "purpose_unreachable",
            path,
            f"nobody can grant {leaf!r}: no category and no notice reaches it",
            "Add it to a category in [categories], or to the offers of a notice.",
        )


def _unoffered_events(place: _Place, settings: Settings) -> Iterator[Finding]:
    policy = settings.policy
    offered: PurposeSet = frozenset().union(*policy.offers.values())
    for name, purposes in {**policy.events, "default": policy.default}.items():
        path = ("events", name, "purposes")
        if not purposes:
            yield place.warn(
                "event_never_admitted", path, f"events.{name} needs no purpose, so it is refused"
            )
        elif not purposes & offered:
            yield place.warn(
                "event_not_offered",
                path,
                f"no notice offers a purpose of events.{name}: only a carried signal can admit it",
                "Add one of its purposes to the offers of a notice.",
            )


def _near_misses(place: _Place, settings: Settings) -> Iterator[Finding]:
    for name in sorted(settings.policy.events.keys() - CANONICAL_NAMES):
        meant = nearest(name, CANONICAL_NAMES - settings.policy.events.keys())
        if meant is not None:
            yield place.warn(
                "event_name_unusual",
                ("events", name),
                f"events.{name} is a name of your own, did you mean {meant!r}?",
            )
    for leaf in sorted(settings.policy.leaves.keys() - LEAVES.keys()):
        meant = nearest(leaf, LEAVES.keys())
        if meant is not None:
            yield place.warn(
                "purpose_name_unusual",
                ("purposes", leaf),
                f"{leaf!r} is a purpose of your own, did you mean {meant!r}?",
            )


_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_STATES = frozenset({"is", "has", "subscribed", "opted", "verified", "allows", "wants"})
_TELLING_WORDS = frozenset(
    {
        "email", "mail", "phone", "mobile", "telephone", "iban", "bic", "ssn", "passport",
        "birthday", "birthdate", "dob", "street", "surname", "firstname", "lastname", "fullname",
        "username", "ip", "mac", "imei", "idfa", "gaid", "vin", "latitude", "longitude",
    }
)  # fmt: skip
_TELLING_NAMES = frozenset(
    {
        "name", "first_name", "last_name", "full_name", "middle_name", "user_name", "nick_name",
        "nickname", "customer_name", "address", "street_address", "postal_address", "user_id",
        "customer_id", "account_id", "device_id", "anonymous_id", "date_of_birth", "birth_date",
        "postcode", "postal_code", "zip", "zip_code", "user_agent", "tax_id", "lat", "lon", "lng",
        "comment", "message", "note", "notes", "free_text",
    }
)  # fmt: skip


def _identifying_names(place: _Place, settings: Settings) -> Iterator[Finding]:
    declared = {
        "properties": settings.policy.properties - ECOMMERCE_PROPERTIES,
        "traits": settings.policy.traits,
    }
    for table, names in declared.items():
        for name in sorted(names):
            words = [word.lower() for word in _WORD.findall(name)]
            telling = not _TELLING_WORDS.isdisjoint(words) or "_".join(words) in _TELLING_NAMES
            if telling and not _STATES & set(words[:1]):
                yield place.warn(
                    "field_may_identify",
                    (table, "declared"),
                    f"{table}: {shown(name)} sounds like something that identifies a person;"
                    " kept fields are stored in clear inside the sealed event",
                    "Leave it out; e-mail and phone belong into [vault].",
                )


_MIN_SECRET = 16


def _doors(place: _Place, settings: Settings) -> Iterator[Finding]:
    for name, source in settings.sources.items():
        if source.trust == Trust.PUBLIC and not source.origins:
            yield place.warn(
                "source_without_origins",
                ("sources", name),
                f"sources.{name} lists no origins: only listed origins get a CORS answer, so"
                " browsers block pages of other origins from reading ours and from sending JSON",
                'Add origins = ["https://your.shop"], unless only apps use this source.',
            )
        if source.trust == Trust.SERVER and len(source.key) < _MIN_SECRET:
            yield place.warn(
                "server_key_short",
                ("sources", name, "key_file"),
                f"the key of sources.{name} has fewer than {_MIN_SECRET} characters",
                "Make one with: openssl rand -hex 32",
            )
        if source.trust == Trust.PUBLIC and source.key.startswith("sk_"):
            yield place.warn(
                "public_key_looks_secret",
                ("sources", name, "key"),
                f"the key of sources.{name} begins like a secret one, but is public",
            )
    for name in settings.policy.sites.keys() - settings.controllers.keys():
        yield place.warn(
            "controller_missing",
            ("site", name),
            f"site.{name} names no controller, which notices and records need (GDPR Art. 13)",
            "Add controller = { name, contact, country }.",
        )


def _vault(place: _Place, settings: Settings) -> Iterator[Finding]:
    if settings.policy.contact and not CONTACT_PURPOSES & _grantable(settings):
        yield place.warn(
            "vault_unused",
            ("vault", "collect"),
            "nobody can grant audience_sync or email_marketing, so no contact data is ever kept",
        )


def _segments(place: _Place, settings: Settings) -> Iterator[Finding]:
    policy = settings.policy
    words = Vocabulary(policy.leaves, policy.properties, policy.traits)
    homes: dict[str, str] = {}
    for path in settings.segment_files:
        try:
            definitions = read_yaml(path.read_text(encoding="utf-8"), words)
        except (OSError, UnicodeDecodeError, SegmentError) as error:
            # The segment parser's messages hold names and places; the others might hold bytes.
            reason = str(error) if isinstance(error, SegmentError) else type(error).__name__
            hint = "See docs/segments.md."
            yield Finding(Level.ERROR, "segments_invalid", reason, str(path), 0, hint)
            continue
        for definition in definitions:
            home = homes.setdefault(definition.name, str(path))
            if home != str(path):
                message = f"{shown(definition.name)} is defined in {home} already"
                yield Finding(Level.ERROR, "segment_twice", message, str(path))
            lost = sorted(definition.purposes - _grantable(settings))
            if lost:
                message = f"{shown(definition.name)} stays empty: nobody can grant {lost[0]!r}"
                yield Finding(Level.WARN, "segment_unreachable", message, str(path))
    for name, audience in settings.audiences.items():
        if audience.segment not in homes:
            yield place.error(
                "segment_unknown",
                ("audiences", name, "segment"),
                f"{shown(audience.segment)} is in no file of [segments]"
                f"{did_you_mean(audience.segment, homes)}",
            )
