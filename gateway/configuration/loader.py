"""Turns one TOML file into settings, or into the list of everything that is wrong with it.

It imports nothing heavy: every front process reads the configuration when it starts.
"""

from dataclasses import dataclass
from pathlib import Path

from consent.policy import Policy
from gateway.configuration.document import Document
from gateway.configuration.doors import (
    read_notices,
    read_sites,
    read_sources,
    read_trusted_hosts,
)
from gateway.configuration.outlets import (
    read_audiences,
    read_collected,
    read_destinations,
    read_limits,
    read_sandbox_port,
    read_segment_files,
)
from gateway.configuration.purposes import read_declared, read_leaves
from gateway.configuration.section import Notes, Problem, Section
from gateway.configuration.shapes import Settings

__all__ = ["Reading", "read"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a file: ``settings`` is None exactly where there are problems."""

    document: Document
    problems: tuple[Problem, ...]
    settings: Settings | None


def read(path: Path) -> Reading:
    """Read a file and note every problem in it.

    Raises:
        SettingsError: the file cannot be read, or is not TOML.
    """
    document = Document.read(path)
    notes = Notes(document)
    settings = _settings(Section(notes, "", (), document.values), notes)
    return Reading(document, tuple(notes.problems), settings)


def _settings(root: Section, notes: Notes) -> Settings | None:
    leaves = read_leaves(root)
    declared = read_declared(root, leaves)
    sites, controllers = read_sites(root)
    sources, source_policies = read_sources(root, sites, leaves, declared)
    notices, offers = read_notices(root, leaves, declared)
    collected = read_collected(root)
    destinations = read_destinations(root, leaves)
    audiences = read_audiences(root, destinations)
    segment_files = read_segment_files(root)
    sandbox_port = read_sandbox_port(root)
    limits = read_limits(root)
    trusted_hosts = read_trusted_hosts(root)
    if notes.problems:
        return None
    policy = Policy(
        sites=sites,
        sources=source_policies,
        leaves=leaves,
        categories=declared.categories,
        offers=offers,
        events=declared.events,
        default=declared.default,
        properties=declared.properties,
        traits=declared.traits,
        contact=collected,
        fields=declared.fields,
        paths=declared.paths,
    )
    return Settings(
        path=notes.document.path.absolute(),
        policy=policy,
        sources=sources,
        notices=notices,
        destinations=destinations,
        audiences=audiences,
        segment_files=segment_files,
        sandbox_port=sandbox_port,
        limits=limits,
        trusted_hosts=trusted_hosts,
        controllers=controllers,
    )
