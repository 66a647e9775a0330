"""A TOML file with the line on which each key stands.

The standard parser gives values without places, so a second look at the (by then valid) text
finds the lines, and only when somebody asks. Specification: TOML 1.0.0.
"""

import re
import tomllib
from pathlib import Path

from gateway.errors import SettingsError

__all__ = ["Document", "KeyPath", "locate"]

KeyPath = tuple[str, ...]

_TOKEN = re.compile(
    r'(?P<string>"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:\\.|[^"\\])*"|\'[^\']*\')'
    r"|(?P<newline>\n)|(?P<skip>[ \t\r]+|\#[^\n]*)"
    r"|(?P<mark>[\[\]{}=.,])|(?P<bare>[^\s\[\]{}=.,\"'#]+)",
    re.DOTALL,
)
_PLACE = re.compile(r"\(at line (\d+), column \d+\)")


class Document:
    """One configuration file, parsed. Paths in it are relative to ``folder``."""

    __slots__ = ("_lines", "_text", "folder", "path", "values")

    def __init__(self, path: Path, text: str) -> None:
        """Parse the text.

        Raises:
            SettingsError: the text is not TOML.
        """
        self.path = path
        self.folder = path.absolute().parent
        self._text = text
        self._lines: dict[KeyPath, int] | None = None
        try:
            self.values: dict[str, object] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = _PLACE.search(str(error))
            line = int(place[1]) if place else text.count("\n") + 1
            raise SettingsError(f"{path}:{line}: not TOML: {error}", "", line) from error

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file.

        Raises:
            SettingsError: it cannot be read, or is not TOML in UTF-8.
        """
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except OSError as error:
            wrong = SettingsError(f"{path}: cannot be read: {error.strerror}")
            wrong.hint = "Name the file with --config, or write one with `einlass init DIR`."
            raise wrong from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path}: not UTF-8 (byte {error.start})") from error

    def has(self, *path: str) -> bool:
        """Say whether a key stands in the file."""
        value: object = self.values
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return False
            value = value[key]
        return True

    def line(self, *path: str) -> int:
        """Return the 1-based line of a key, or of the nearest table around it; 0 for none."""
        if self._lines is None:
            self._lines = locate(self._text)
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 0


def locate(text: str) -> dict[KeyPath, int]:
    """Return key path → line where it first stands, for a text that is valid TOML.

    Keys of inline tables count too; those inside an array stand under the array's own path.
    """
    scan = _Scan(text)
    base: KeyPath = ()
    while (mark := scan.skip_newlines()) is not None:
        if mark == "[":
            scan.take()
            if scan.peek() == "[":
                scan.take()
            base = scan.key((), "]")
            if scan.peek() == "]":
                scan.take()
        else:
            scan.value(scan.key(base, "="))
    return scan.lines


class _Scan:
    """Tokens of one text, and the lines of the keys seen so far."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens: list[tuple[str, int]] = []
        self._next = 0
        line = 1
        for found in _TOKEN.finditer(text):
            if found.lastgroup != "skip":
                self._tokens.append((found[0], line))
            line += found[0].count("\n")

    def peek(self) -> str | None:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else None

    def take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][0]

    def skip_newlines(self) -> str | None:
        while self.peek() == "\n":
            self.take()
        return self.peek()

    def key(self, base: KeyPath, end: str) -> KeyPath:
        """Read a dotted key up to its end mark; note each of its parts."""
        path = base
        while True:
            part, line = self._tokens[self._next]
            self._next += 1
            if part == end:
                return path
            if part != ".":
                path = (*path, _unquoted(part))
                self.lines.setdefault(path, line)

    def value(self, path: KeyPath) -> None:
        """Skip a value; keys inside it are noted below ``path``."""
        start = self.skip_newlines()
        if start == "[":
            self._array(path)
        elif start == "{":
            self._inline_table(path)
        else:
            while self.peek() not in {",", "]", "}", "\n", None}:
                self.take()

    def _array(self, path: KeyPath) -> None:
        self.take()
        while self.skip_newlines() != "]":
            if self.peek() == ",":
                self.take()
            else:
                self.value(path)
        self.take()

    def _inline_table(self, path: KeyPath) -> None:
        self.take()
        while self.skip_newlines() != "}":
            if self.peek() == ",":
                self.take()
            else:
                self.value(self.key(path, "="))
        self.take()


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    key: str = tomllib.loads(f"key = {part}")["key"]
    return key
