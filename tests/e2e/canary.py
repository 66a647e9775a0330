"""Finds planted identifiers in whatever a product leaves behind, in every form they may take.

Two ways of looking, for one is not enough: raw bytes (of files, logs, output), and the logical
content of every column (a value may be compressed, split over pages, or lie in a freed page).
"""

import base64
import hashlib
import ipaddress
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from urllib.parse import quote, quote_plus

import duckdb

from consent.event import ConsentedEvent
from consent.keyring import ENGINE, Keyring
from gateway.datadir import DataDir
from gateway.eventlogs.view import EmbeddedView
from gateway.settings import load
from gateway.wiring import parts

__all__ = [
    "Canary", "Found", "Trace", "digests_of", "duckdb_columns", "file_traces", "opened_traces",
    "search", "sqlite_columns",
]  # fmt: skip

_HASHES = ("md5", "sha1", "sha256")
_SHORTEST = 6
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted value.

    ``spellings`` are the texts that stand for it, its canonical form too; ``fragments`` parts that
    give it away.
    """

    kind: str
    value: str
    spellings: tuple[str, ...]
    fragments: tuple[str, ...] = ()
    packed: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def email(cls, address: str) -> "Canary":
        """Return an e-mail address; its local part alone gives it away."""
        local = address.partition("@")[0]
        return cls("email", address, (address, address.lower()), (local,))

    @classmethod
    def phone(cls, written: str, e164: str, national: str) -> "Canary":
        """Return a phone number; ``national`` starts with a zero."""
        digits, rest = e164.removeprefix("+"), national.removeprefix("0")
        numbers = (int(digits), int(rest))
        packed = (number.to_bytes(6, order) for number in numbers for order in ("big", "little"))
        return cls("phone", written, (written, e164, digits, national), (rest,), tuple(packed))

    @classmethod
    def address(cls, text: str) -> "Canary":
        """Return an IP address."""
        found = ipaddress.ip_address(text)
        packed = (found.packed,) if found.version == 6 else ()  # four bytes occur by chance
        return cls(f"ipv{found.version}", text, tuple({text, found.exploded}), (), packed)

    @classmethod
    def word(cls, kind: str, text: str, *fragments: str) -> "Canary":
        """Return a value that no detector can know: a cookie, a name."""
        return cls(kind, text, (text,), fragments)


@dataclass(frozen=True, slots=True)
class Trace:
    """Some content and where it was found."""

    where: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """One canary in one form at one place."""

    kind: str
    form: str
    where: str


def digests_of(canary: Canary) -> dict[str, bytes]:
    """Return form → unkeyed digest of each spelling."""
    found: dict[str, bytes] = {}
    for name in _HASHES:
        for number, text in enumerate(canary.spellings):
            found[f"{name}/{number}"] = hashlib.new(name, text.encode()).digest()
    return found


def _folded_forms(canary: Canary) -> dict[str, bytes]:
    """Return forms that are looked for without regard to case."""
    found: dict[str, bytes] = {}
    for number, text in enumerate((*canary.spellings, *canary.fragments)):
        raw = text.encode()
        once = quote(text, safe="")
        found |= {
            f"plain/{number}": raw,
            f"upper/{number}": text.upper().encode(),
            f"latin1/{number}": text.encode("latin-1", "replace"),
            f"json/{number}": json.dumps(text)[1:-1].encode(),
            f"url/{number}": once.encode(),
            f"url_plus/{number}": quote_plus(text).encode(),
            f"url_twice/{number}": quote(once, safe="").encode(),
            f"hex/{number}": raw.hex().encode(),
            f"utf16/{number}": text.encode("utf-16-le"),
        }
    for form, digest in digests_of(canary).items():
        found[f"{form}/hex"] = digest.hex().encode()
    return {form: needle.lower() for form, needle in found.items()}


def _exact_forms(canary: Canary) -> dict[str, bytes]:
    """Return forms in which case matters."""
    found = {f"packed/{number}": raw for number, raw in enumerate(canary.packed)}
    for number, text in enumerate((*canary.spellings, *canary.fragments)):
        for shift, coded in enumerate(_base64(text.encode())):
            found[f"base64/{number}/{shift}"] = coded
            found[f"base64url/{number}/{shift}"] = coded.translate(bytes.maketrans(b"+/", b"-_"))
    for form, digest in digests_of(canary).items():
        found[f"{form}/bytes"] = digest
        found[f"{form}/base64"] = base64.b64encode(digest).rstrip(b"=")
        found[f"{form}/base64url"] = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return found


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that ``raw`` alone decides at each of the three alignments."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw)
        whole = (shift + len(raw)) * 8 // 6
        yield coded[-(-shift * 8 // 6) : whole]


def search(canaries: Iterable[Canary], traces: Iterable[Trace]) -> list[Found]:
    """Return every canary found, with form and place."""
    folded = [(c.kind, form, n) for c in canaries for form, n in _folded_forms(c).items()]
    exact = [(c.kind, form, n) for c in canaries for form, n in _exact_forms(c).items()]
    assert all(len(needle) >= _SHORTEST for _, _, needle in (*folded, *exact))
    found: list[Found] = []
    for trace in traces:
        lowered = trace.content.lower()
        found += (Found(kind, form, trace.where) for kind, form, n in folded if n in lowered)
        found += (Found(kind, form, trace.where) for kind, form, n in exact if n in trace.content)
    return found


def file_traces(*folders: Path, skip: Sequence[str] = ()) -> Iterator[Trace]:
    """Yield the bytes and the name of every regular file below some folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in skip:
                where = f"file {path.relative_to(folder)}"
                yield Trace(where, path.read_bytes() + b"\n" + path.name.encode())


def sqlite_columns(path: Path) -> Iterator[Trace]:
    """Yield each column of a copy of a database, its write-ahead log included."""
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(path, Path(folder), ("", "-wal"))
        with closing(sqlite3.connect(copy)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in names.fetchall():
                rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - from the schema
                columns = [column[0] for column in rows.description]
                yield from _columns(f"{path.name} {table}", columns, rows.fetchall())
            schema = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
            yield from _columns(f"{path.name} schema", ["name", "sql"], schema)


def duckdb_columns(path: Path) -> Iterator[Trace]:
    """Yield each column of a copy of the warehouse."""
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(path, Path(folder), ("", ".wal"))
        with closing(duckdb.connect(str(copy))) as connection:
            names = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            for (table,) in names:
                rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - from the schema
                columns = [column[0] for column in rows.description or ()]
                yield from _columns(f"{path.name} {table}", columns, rows.fetchall())


def _copied(path: Path, folder: Path, suffixes: Iterable[str]) -> Path:
    for suffix in suffixes:
        part = path.with_name(path.name + suffix)
        if part.exists():
            shutil.copy(part, folder / part.name)
    return folder / path.name


def _columns(
    where: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> Iterator[Trace]:
    for place, column in enumerate(columns):
        cells = b"\n".join(_bytes(row[place]) for row in rows)
        yield Trace(f"{where}.{column}", cells)


def _bytes(cell: object) -> bytes:
    return cell if isinstance(cell, bytes) else str(cell).encode("utf-8", "surrogatepass")


def opened_traces(data: Path, config: Path, keys: Path) -> Iterator[Trace]:
    """Yield every event of the log and every consent record, opened with the keys."""
    settings, ring, folder = load(config), Keyring(keys, ENGINE), DataDir(data)
    reader = parts.key_reader(ring, folder)
    with closing(reader), closing(EmbeddedView(folder.front, settings.policy, reader)) as view:
        position = 0
        while page := view.events(position, _PAGE):
            yield Trace("log, opened", b"\n".join(map(_event, (row.event for row in page))))
            position = page[-1].position
        number = 1
        while (record := view.record(number)) is not None:
            yield Trace("record, opened", json.dumps(record, ensure_ascii=False).encode())
            number += 1


def _event(event: ConsentedEvent) -> bytes:
    values: Mapping[str, object] = {name: getattr(event, name) for name in event.__struct_fields__}
    texts = (json.dumps(values, ensure_ascii=False, default=str), *_texts(values.values()))
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def _texts(values: Iterable[object]) -> Iterator[str]:
    """Yield every text in nested values as it is, free of any quoting."""
    for value in values:
        if isinstance(value, Mapping):
            yield from _texts(chain(value.keys(), value.values()))
        elif isinstance(value, list | tuple):
            yield from _texts(value)
        else:
            yield str(value)
