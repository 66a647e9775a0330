"""Reads what a deployment declares about purposes: leaves, categories, events and fields.

The built-in leaves are the default; the file may change their terms and declare more.
"""

import re
from dataclasses import dataclass, replace

from consent.errors import UnknownPurposeError
from consent.policy import ECOMMERCE_PROPERTIES
from consent.purposes import LEAVES, LegalBasis, Purpose, PurposeSet, expand
from gateway.configuration.section import Section
from gateway.configuration.suggestion import did_you_mean, nearest, shown

__all__ = ["Declared", "Leaves", "read_declared", "read_leaves", "read_purposes"]

Leaves = dict[str, Purpose]

_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_PATH = re.compile(r"/|(/(:[a-z][a-z0-9_]*|[A-Za-z0-9._~%+-]+))+/?", re.ASCII)
_DURATION = re.compile(
    r"P(?=[\dT])(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What events and their parts need."""

    categories: dict[str, PurposeSet]
    events: dict[str, PurposeSet]
    default: PurposeSet
    properties: frozenset[str]
    traits: frozenset[str]
    fields: dict[str, PurposeSet]
    paths: tuple[str, ...]


def read_leaves(root: Section) -> Leaves:
    """Return the built-in leaves with what ``[purposes]`` changes and adds."""
    leaves = dict(LEAVES)
    sections = root.tables("purposes")
    for name, section in sections.items():
        if not _SNAKE.fullmatch(name):
            section.note("", "a purpose is named in snake_case")
        else:
            leaves[name] = _leaf(name, section, leaves.get(name, Purpose(key=name)))
    for name, section in sections.items():
        parent = section.text("parent", "")
        if parent in leaves:
            section.note("parent", f"{shown(parent)} is itself a purpose, so it has no children")
        if any(leaf.parent == name and leaf.key not in sections for leaf in leaves.values()):
            section.note("", "is already the parent of other purposes")
    return leaves


def _leaf(name: str, section: Section, known: Purpose) -> Purpose:
    basis = section.choice("basis", [basis.value for basis in LegalBasis], known.basis.value)
    retention = section.text("retention", known.retention)
    if retention and not (_DURATION.fullmatch(retention) and re.search(r"[1-9]", retention)):
        section.note("retention", 'must be a period of ISO 8601 such as "P13M" or "P30D"')
    return replace(
        known,
        key=name,
        parent=section.text("parent", known.parent or "") or None,
        basis=LegalBasis(basis) if basis in set(LegalBasis) else known.basis,
        retention=retention,
        recipients=section.texts("recipients") or known.recipients,
    )


def read_purposes(
    section: Section, key: str, leaves: Leaves, *, required: bool = False
) -> PurposeSet:
    """Return the leaves that a list of leaves and parents names."""
    found: set[str] = set()
    for name in section.texts(key, required=required):
        try:
            found |= expand([name], leaves, key)
        except UnknownPurposeError:
            parents = {leaf.parent for leaf in leaves.values() if leaf.parent}
            end = did_you_mean(name, leaves.keys() | parents)
            section.note(key, f"{shown(name)} is neither a purpose nor a parent{end}")
    return frozenset(found)


def read_declared(root: Section, leaves: Leaves) -> Declared:
    """Return categories, events, properties, traits and the purposes of fields."""
    categories = root.table("categories")
    events = _events(root, leaves)
    properties = ECOMMERCE_PROPERTIES | set(root.table("properties").texts("declared"))
    return Declared(
        categories={name: read_purposes(categories, name, leaves) for name in categories.keys},
        default=events.pop("default", frozenset()),
        events=events,
        properties=properties,
        traits=frozenset(root.table("traits").texts("declared")),
        fields=_fields(root, leaves, properties),
        paths=_paths(root),
    )


def _events(root: Section, leaves: Leaves) -> dict[str, PurposeSet]:
    sections = root.tables("events")
    events = {}
    for name, section in sections.items():
        if not _SNAKE.fullmatch(name):
            section.note("", "an event is named in snake_case, as in the stored events")
        events[name] = read_purposes(section, "purposes", leaves, required=True)
        if events[name] == {"necessary"}:
            section.note("purposes", "'necessary' alone never admits an event")
    if "default" not in events:
        slip = nearest("default", events)
        where = sections[slip] if slip is not None else root
        end = f": [events.{slip}], did you mean [events.default]?" if slip is not None else ""
        where.note("", f"[events.default] is missing{end}", _DEFAULT_HINT)
    return events


_DEFAULT_HINT = "It says which purposes admit an event that the file does not name."


def _fields(root: Section, leaves: Leaves, properties: frozenset[str]) -> dict[str, PurposeSet]:
    fields = {}
    for name, section in root.tables("fields").items():
        if name not in properties:
            end = did_you_mean(name, properties)
            section.note("", f"not a declared property, so it is dropped anyway{end}")
        fields[name] = read_purposes(section, "purposes", leaves, required=True)
        if not fields[name] and "purposes" in section:
            section.note("purposes", "names no purpose: leave the property undeclared instead")
    return fields


def _paths(root: Section) -> tuple[str, ...]:
    pages = root.table("pages")
    paths = pages.texts("paths")
    if not all(_PATH.fullmatch(path) for path in paths):
        pages.note("paths", 'must be paths such as "/products/:product", without ? and #')
    return paths
