"""Reads where data goes: contact data kept, destinations, audiences, segments and the sandbox."""

import re
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from consent.identifiers import IdentifierType
from gateway.configuration.purposes import Leaves, read_purposes
from gateway.configuration.secret import check_mode
from gateway.configuration.section import Section
from gateway.configuration.shapes import AudienceSettings, DestinationSettings, Limits
from gateway.configuration.suggestion import did_you_mean, shown
from gateway.errors import SettingsError

__all__ = [
    "read_audiences",
    "read_collected",
    "read_destinations",
    "read_limits",
    "read_sandbox_port",
    "read_segment_files",
]

_OWN_KEYS = frozenset({"kind", "endpoint", "token_file", "purposes"})
_SECRET_OPTION = re.compile(r"(^|_)(token|secret|password|passwd|api_?key|private_?key)$")
_NEVER = "1970-01-01"
"""What `einlass init` writes where a platform wants the day its terms were accepted."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_CONTACT = (IdentifierType.EMAIL.value, IdentifierType.PHONE.value)
_HIGHEST = 2**40
_UPWARD_ONLY = frozenset({"min_audience", "min_display"})
_MAX_PORT = 65_535


def read_collected(root: Section) -> frozenset[str]:
    """Return the kinds of contact data that the vault may keep."""
    vault = root.table("vault")
    kinds = vault.texts("collect")
    for kind in kinds:
        if kind not in _CONTACT:
            end = did_you_mean(kind, _CONTACT)
            vault.note("collect", f"{shown(kind)} is not a kind of contact data{end}")
    return frozenset(kinds)


def read_destinations(root: Section, leaves: Leaves) -> dict[str, DestinationSettings]:
    """Return the destinations by name."""
    return {
        name: _destination(name, section, leaves)
        for name, section in root.tables("destinations").items()
    }


def _destination(name: str, section: Section, leaves: Leaves) -> DestinationSettings:
    purposes = read_purposes(section, "purposes", leaves, required=True)
    if "purposes" in section and not section.texts("purposes"):
        section.note("purposes", "a destination needs at least one purpose")
    endpoint = _endpoint(section)
    options = _options(section)
    if endpoint != "sandbox" and options.get("terms_accepted") == _NEVER:
        section.note(
            "terms_accepted",
            "the placeholder is good for the sandbox only",
            "Accept the platform's terms, then write the day on which you did.",
        )
    return DestinationSettings(
        name=name,
        kind=section.text("kind"),
        endpoint=endpoint,
        purposes=purposes,
        token_file=_secret_file(section, "token_file") if "token_file" in section else None,
        options=options,
    )


def _options(section: Section) -> dict[str, str]:
    """Return the platform's own keys; a secret among them is the path of its file."""
    options = {}
    for key in sorted(section.keys - _OWN_KEYS):
        if key.endswith("_file"):
            options[key] = str(_secret_file(section, key))
            continue
        options[key] = section.text(key)
        if _SECRET_OPTION.search(key):
            hint = f'Write it to a file of mode 0400 and name that: {key}_file = "…".'
            section.note(key, "a secret does not stand in this file", hint)
    return options


def _endpoint(section: Section) -> str:
    endpoint = section.text("endpoint", "")
    if endpoint in {"", "sandbox"}:
        return endpoint
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    plain = parts.scheme == "http" and host in _LOOPBACK
    extra = parts.query or parts.fragment or parts.username or parts.password
    if not host or extra or not (parts.scheme == "https" or plain):
        section.note(
            "endpoint",
            'must be "sandbox" or an https:// address without credentials and query',
            "Leave it out to use the platform's own address.",
        )
    return endpoint


def _secret_file(section: Section, key: str) -> Path:
    name = section.text(key)
    path = section.file(key, name)
    try:
        if name and path.is_file():
            check_mode(path, path.stat().st_mode)
    except SettingsError as error:
        section.note(key, str(error), error.hint)
    return path


def read_audiences(
    root: Section, destinations: dict[str, DestinationSettings]
) -> dict[str, AudienceSettings]:
    """Return the audiences by name; that their segments exist is for the doctor."""
    audiences = {}
    for name, section in root.tables("audiences").items():
        targets = section.texts("destinations", required=True)
        if "destinations" in section and not targets:
            section.note("destinations", "an audience needs at least one destination")
        for target in targets:
            if target not in destinations:
                end = did_you_mean(target, destinations)
                section.note("destinations", f"{shown(target)} is not a destination{end}")
        audiences[name] = AudienceSettings(name, section.text("segment"), targets)
    return audiences


def read_segment_files(root: Section) -> tuple[Path, ...]:
    """Return the files of segment definitions, in the order given."""
    section = root.table("segments")
    return tuple(section.file("files", name) for name in section.texts("files"))


def read_limits(root: Section) -> Limits:
    """Return the limits; the two that protect small groups can only be raised."""
    section = root.table("limits")
    values = {}
    for limit in fields(Limits):
        default: int = getattr(Limits(), limit.name)
        lowest = default if limit.name in _UPWARD_ONLY else 1
        values[limit.name] = section.number(limit.name, default, lowest, _HIGHEST)
    limits = Limits(**values)
    if limits.max_event_bytes > limits.max_inflated_bytes:
        section.note("max_event_bytes", "must not be over max_inflated_bytes")
    return limits


def read_sandbox_port(root: Section) -> int:
    """Return the port of the simulated platforms."""
    return root.table("sandbox").number("port", 8089, 1, _MAX_PORT)
