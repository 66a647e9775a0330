"""What each column of an import file means: our names, purposes, properties and traits.

Pure. A mapping renames columns first. Columns that nobody knows are ignored, and their names kept
so that they can be listed once.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from consent.policy import Policy
from gateway.errors import UnreadableFileError

__all__ = ["KINDS", "Cells", "Columns", "Kind", "read_mapping"]

KINDS = ("events", "people", "orders", "consents")

_EVERYWHERE = frozenset(
    {
        "person", "person_type", "anonymous_id", "t", "received", "notice", "version", "language",
        "method", "evidence",
    }
)  # fmt: skip
_OWN = {
    "events": frozenset({"id", "name", "session", "url", "referrer", "properties", "traits"}),
    "people": frozenset({"email", "phone", "traits"}),
    "orders": frozenset({"order_id", "value", "value_minor", "refund_of", "properties"}),
    "consents": frozenset({"purposes"}),
}
_REQUIRED = {
    "events": ("id", "person", "name", "t"),
    "people": ("person",),
    "orders": ("person", "order_id", "t", "currency"),
    "consents": ("person", "t", "notice", "version"),
}
# What trackers call money and lists; `gateway.commerce` turns them into declared properties.
_COMMERCE = frozenset(
    {"value", "revenue", "total", "price", "shipping", "tax", "discount", "products"}
)
_CONSENT, _NUMBER = "consent.", ":number"
_MAX_UNKNOWN = 100
_MAX_FOUND = 1_000
_MAX_SHOWN = 80


class Kind(Enum):
    """What a column is good for."""

    OWN = auto()
    FURTHER = auto()
    CONSENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one row, sorted by what they are: by our names, raw."""

    own: dict[str, object] = field(default_factory=dict, repr=False)
    further: dict[str, object] = field(default_factory=dict, repr=False)
    consent: dict[str, object] = field(default_factory=dict, repr=False)


class Columns:
    """The columns of one file of one kind, read under one policy."""

    def __init__(self, kind: str, policy: Policy, mapping: Mapping[str, str]) -> None:
        self.kind = kind
        self.unknown: list[str] = []
        self.numbers: set[str] = set()
        self._mapping = mapping
        self._own = _EVERYWHERE | _OWN[kind]
        self._further = _further(kind, policy)
        parents = {purpose.parent for purpose in policy.leaves.values() if purpose.parent}
        self._purposes = policy.categories.keys() | policy.leaves.keys() | parents
        self._found: dict[str, tuple[Kind, str]] = {}

    def check(self, header: Iterable[str]) -> None:
        """Check that a header has what each row of this kind needs.

        Raises:
            UnreadableFileError: a required column is missing, or two have one meaning.
        """
        found = [self._found.get(column) or self._meaning(column) for column in header]
        known = [one for one in found if one[0] is not Kind.UNKNOWN]
        names = {name for _, name in known}
        missing = [name for name in _REQUIRED[self.kind] if name not in names]
        if self.kind == "orders" and not names & {"value", "value_minor"}:
            missing.append("value")
        answers = any(kind is Kind.CONSENT for kind, _ in known)
        if self.kind == "consents" and not (answers or "purposes" in names):
            missing.append("purposes")
        if missing:
            raise UnreadableFileError(f"{self.kind}: no column {', '.join(missing)}")
        if len(known) != len(set(known)):
            raise UnreadableFileError(f"{self.kind}: two columns have one meaning")

    def missing(self, cells: Cells) -> str | None:
        """Return a required column that a row leaves empty, or None."""
        present = cells.own.keys() | cells.further.keys()
        for name in _REQUIRED[self.kind]:
            if name not in present:
                return name
        if self.kind == "orders" and not cells.own.keys() & {"value", "value_minor"}:
            return "value"
        if self.kind == "consents" and not cells.consent and "purposes" not in cells.own:
            return "purposes"
        return None

    def sort(self, row: Mapping[str, object]) -> Cells:
        """Return the cells of a row by what they are."""
        cells = Cells()
        for column, value in row.items():
            meaning, name = self._found.get(column) or self._meaning(column)
            if meaning is Kind.OWN:
                cells.own[name] = value
            elif meaning is Kind.FURTHER:
                cells.further[name] = value
            elif meaning is Kind.CONSENT:
                cells.consent[name] = value
        return cells

    def _meaning(self, column: str) -> tuple[Kind, str]:
        target = self._mapping.get(column, column)
        name = target.removesuffix(_NUMBER)
        found = self._read(name)
        if target != name:
            self.numbers.add(found[1])
        if found[0] is Kind.UNKNOWN and len(self.unknown) < _MAX_UNKNOWN:
            self.unknown.append(column[:_MAX_SHOWN])
        if len(self._found) < _MAX_FOUND:
            self._found[column] = found
        return found

    def _read(self, name: str) -> tuple[Kind, str]:
        if name.startswith(_CONSENT) and name.removeprefix(_CONSENT) in self._purposes:
            return Kind.CONSENT, name.removeprefix(_CONSENT)
        if name in self._own:
            return Kind.OWN, name
        if name in self._further:
            return Kind.FURTHER, name
        return (Kind.CONSENT, name) if name in self._purposes else (Kind.UNKNOWN, name)


def _further(kind: str, policy: Policy) -> frozenset[str]:
    if kind == "people":
        return policy.traits
    return policy.properties | _COMMERCE if kind != "consents" else frozenset()


def read_mapping(path: Path) -> dict[str, str]:
    """Read a mapping, column → our name, from TOML or JSON; ``our_name:number`` reads numbers.

    Raises:
        UnreadableFileError: not such a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UnreadableFileError(f"{path.name}: {error.strerror or 'cannot be read'}") from error
    except ValueError as error:
        raise UnreadableFileError(f"{path.name}: neither TOML nor JSON") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise UnreadableFileError(f"{path.name}: each column needs one name")
    return found
