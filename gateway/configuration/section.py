"""One table of the configuration while it is read: typed getters that note what is wrong.

Nothing is raised here: a getter notes the problem and returns a harmless value, so that one pass
finds every mistake. Settings are made only if there is none.
"""

import re
from collections.abc import Collection, KeysView, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.configuration.document import Document, KeyPath
from gateway.configuration.schema import OPEN, TABLES
from gateway.configuration.suggestion import did_you_mean, nearest, one_slip_apart, shown
from gateway.errors import SettingsError

__all__ = ["Notes", "Problem", "Section"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
_HINT = "See docs/settings.md for every key and its meaning."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: ``field`` is the dotted key, ``line`` 1-based or 0."""

    field: str
    line: int
    reason: str
    hint: str

    def error(self, path: Path) -> SettingsError:
        """Return it as the error to raise."""
        error = SettingsError(f"{path}:{self.line}: {self.field}: {self.reason}")
        error.field, error.line, error.hint = self.field, self.line, self.hint
        return error


class Notes:
    """What was found wrong in one document, in the order of reading."""

    __slots__ = ("document", "problems")

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: KeyPath, reason: str, hint: str) -> None:
        """Note a problem with a key."""
        self.problems.append(Problem(".".join(path), self.document.line(*path), reason, hint))


class Section:
    """One table. ``kind`` is its place in the schema, ``path`` its place in the file."""

    __slots__ = ("_notes", "_slips", "_values", "kind", "path")

    def __init__(
        self, notes: Notes, kind: str, path: KeyPath, values: Mapping[str, object]
    ) -> None:
        self._notes = notes
        self.kind = kind
        self.path = path
        self._values = values
        self._slips: set[str] = set()
        if kind in TABLES:
            self._refuse_unknown(TABLES[kind])

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def keys(self) -> KeysView[str]:
        """The keys that stand in the file."""
        return self._values.keys()

    @property
    def slips(self) -> Collection[str]:
        """Known keys that an unknown key of this table probably meant."""
        return self._slips

    @property
    def folder(self) -> Path:
        """Where relative paths of this file begin."""
        return self._notes.document.folder

    def note(self, key: str, reason: str, hint: str = _HINT) -> None:
        """Note that something is wrong with a key; an empty key means the table itself."""
        self._notes.add((*self.path, key) if key else self.path, reason, hint)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default the key is required."""
        if key not in self._values:
            self._note_missing(key, required=default is None)
            return default or ""
        value = self._values[key]
        if not isinstance(value, str):
            self._note_type(key, value, "text in quotes")
        elif not value.strip():
            self.note(key, "must not be empty")
        else:
            return value
        return ""

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """Return one of a few words; without a default the key is required."""
        value = self.text(key, default)
        if value and value not in options:
            end = did_you_mean(value, options)
            self.note(key, f"{shown(value)} is not one of the possible values{end}")
        return value

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """Return a list of texts, empty if the key is absent."""
        if key not in self._values:
            self._note_missing(key, required=required)
            return ()
        value = self._values[key]
        if not isinstance(value, list):
            self._note_type(key, value, "a list of texts")
            return ()
        if not all(isinstance(item, str) and item.strip() for item in value):
            self.note(key, "must be a list of texts in quotes, none of them empty")
            return ()
        return tuple(value)

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """Return a whole number within bounds, both included."""
        value = self._values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            self._note_type(key, value, "a whole number")
        elif not low <= value <= high:
            self.note(key, f"must be from {low} to {high}")
        else:
            return value
        return default

    def table(self, key: str) -> "Section":
        """Return a table inside this one, empty if it is absent."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self._note_type(key, value, "a table")
            value = {}
        return self._inside(key, key, value)

    def tables(self, key: str) -> dict[str, "Section"]:
        """Return the tables inside a table, by the names that the operator gave them."""
        return self.table(key).named()

    def named(self) -> dict[str, "Section"]:
        """Return the tables in this one, whose names are the operator's own."""
        found = {}
        for name, value in self._values.items():
            if not _NAME.fullmatch(name):
                self.note(name, "a name has letters, digits, _ and - only (at most 64)")
            elif not isinstance(value, dict):
                self._note_type(name, value, f"a table: [{'.'.join(self.path)}.{name}]")
            else:
                found[name] = self._inside(name, "*", value)
        return found

    def file(self, key: str, text: str) -> Path:
        """Return a path relative to the configuration's folder; note it if there is no file."""
        path = self.folder / text
        if text and not path.is_file():
            self.note(key, f"there is no file {text}", f"Write {path}, or correct the path.")
        return path

    def _inside(self, key: str, kind: str, values: Mapping[str, object]) -> "Section":
        inner = f"{self.kind}.{kind}" if self.kind else kind
        return Section(self._notes, inner, (*self.path, key), values)

    def _refuse_unknown(self, known: Collection[str]) -> None:
        for key in self._values:
            if key in known:
                continue
            if self.kind in OPEN and not any(one_slip_apart(key, other) for other in known):
                continue
            meant = nearest(key, known)
            if meant is not None and meant not in self._values:
                self._slips.add(meant)
            self.note(key, f"unknown key{did_you_mean(key, known)}")

    def _note_missing(self, key: str, *, required: bool) -> None:
        if required and key not in self._slips:
            self.note("", f"the key {key!r} is missing")

    def _note_type(self, key: str, value: object, wanted: str) -> None:
        self.note(key, f"must be {wanted}, not {_TYPES.get(type(value), 'a date or time')}")
