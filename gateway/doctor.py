"""Examines an installation without starting it: configuration, key ring, data directory, clock.

It changes nothing but one small file that it writes, syncs and removes, and calls nobody: names
of platforms are resolved, no more. Secrets are never read, only their file modes.
"""

import errno
import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from gateway.configuration.document import Document
from gateway.configuration.loader import read
from gateway.configuration.review import Finding, Level, review
from gateway.configuration.shapes import DestinationSettings, Settings
from gateway.configuration.suggestion import did_you_mean, shown
from gateway.errors import SettingsError
from segments.destination import load_destination

__all__ = ["Finding", "Level", "examine"]

_Resolve = Callable[[str], bool]

_OTHERS = 0o077
_BLAMED = {"destination_kind_unknown": "kind", "destination_purposes": "purposes"}
_MAX_CLOCK_LAG_MS = 1_000
_FREE_ERROR, _FREE_WARN = 256 * 2**20, 2 * 2**30
_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
_FULL = 2


def examine(
    config: Path | None,
    data: Path | None,
    keys: Path | None,
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    resolve: _Resolve | None = None,
) -> list[Finding]:
    """Look at what is given and return what was found, sound parts too.

    ``keys`` defaults to ``keys/`` beside the configuration. ``now_ms`` is UTC milliseconds;
    ``resolve`` says whether a host name has an address.
    """
    findings: list[Finding] = []
    if config is not None:
        findings += _configuration(config, resolve or _resolves)
        keys = keys if keys is not None else config.absolute().parent / "keys"
    if keys is not None:
        findings += _key_ring(keys, data)
    if data is not None:
        findings += _data_directory(data)
        if data.is_dir():
            findings += _front_store(data / "front.db", now_ms())
    return findings


def _ok(code: str, message: str, file: Path) -> Finding:
    return Finding(Level.OK, code, message, str(file))


def _warn(code: str, message: str, file: Path, hint: str = "") -> Finding:
    return Finding(Level.WARN, code, message, str(file), 0, hint)


def _error(code: str, message: str, file: Path, hint: str = "") -> Finding:
    return Finding(Level.ERROR, code, message, str(file), 0, hint)


def _configuration(config: Path, resolve: _Resolve) -> Iterator[Finding]:
    try:
        reading = read(config)
    except SettingsError as error:
        yield Finding(
            Level.ERROR, "settings_invalid", str(error), str(config), error.line, error.hint
        )
        return
    for problem in reading.problems:
        yield Finding(
            Level.ERROR,
            "settings_invalid",
            f"{problem.field}: {problem.reason}" if problem.field else problem.reason,
            str(config),
            problem.line,
            problem.hint,
        )
    if reading.settings is not None:
        yield _ok("settings", f"loads; policy {reading.settings.policy.version}", config)
        yield from review(reading.document, reading.settings)
        yield from _destinations(reading.document, reading.settings, resolve)


def _destinations(document: Document, settings: Settings, resolve: _Resolve) -> Iterator[Finding]:
    for name, destination in settings.destinations.items():
        level, code, message, hint = _reach(destination, resolve)
        line = document.line("destinations", name, _BLAMED.get(code, "endpoint"))
        text = f"destinations.{name}: {message}"
        yield Finding(level, code, text, str(document.path), line, hint)


def _reach(destination: DestinationSettings, resolve: _Resolve) -> tuple[Level, str, str, str]:
    """Return level, code, message and hint for where a destination's requests would go."""
    kinds = {entry.name for entry in entry_points(group="einlass.destinations")}
    if destination.kind not in kinds:
        end = did_you_mean(destination.kind, kinds)
        message = f"no destination of kind {shown(destination.kind)} is installed{end}"
        return Level.ERROR, "destination_kind_unknown", message, "Correct the kind."
    spec = load_destination(destination.kind).spec
    if not spec.purposes <= destination.purposes:
        message = f"{spec.title} need {', '.join(sorted(spec.purposes - destination.purposes))}"
        return Level.ERROR, "destination_purposes", message, "Add it to purposes."
    if destination.endpoint == "sandbox":
        return Level.OK, "destination_sandbox", "talks to the simulated platform", ""
    own = urlsplit(destination.endpoint).hostname
    hosts = [own] if own else list(spec.hosts)
    lost = [host for host in hosts if not resolve(host)]
    if lost:
        message = f"no address is found for {', '.join(lost)}"
        hint = "Check the name, DNS, and whether this machine may reach the internet."
        return Level.WARN, "destination_unresolved", message, hint
    return Level.OK, "destination_resolves", f"{', '.join(hosts)} resolves", ""


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):  # the second: a label that is empty or too long
        return False


def _key_ring(keys: Path, data: Path | None) -> Iterator[Finding]:
    if data is not None and _is_inside(keys, data):
        yield _error(
            "keys_inside_data",
            "the key ring lies inside the data directory: a copy of one would hold both",
            keys,
            "Move the key ring elsewhere and name it with --keys.",
        )
    elif not keys.exists():
        yield _ok("keys", "no key ring yet; the first `einlass serve` makes it", keys)
    elif not keys.is_dir():
        yield _error("keys_not_a_folder", "the key ring must be a folder", keys)
    else:
        open_to_others = [path for path in (keys, *sorted(keys.rglob("*"))) if _is_open(path)]
        yield from (_open_finding("keys_open", path) for path in open_to_others)
        if not open_to_others:
            yield _ok("keys", "outside the data directory, closed to others", keys)


def _is_inside(keys: Path, data: Path) -> bool:
    """Say whether the folder, or a file it holds, lies in the data directory by any name."""
    if _normal(keys).is_relative_to(_normal(data)):
        return True
    held = keys.rglob("*") if keys.is_dir() else ()
    return any(path.resolve().is_relative_to(data.resolve()) for path in (keys, *held))


def _normal(path: Path) -> Path:
    """Return the path as it was named, without dots; links are not followed."""
    return Path(os.path.normpath(path.absolute()))


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & _OTHERS)


def _open_finding(code: str, path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    right = "0700" if path.is_dir() else "0400" if code == "keys_open" else "0600"
    return _error(code, f"open to others (mode {mode:04o})", path, f"chmod {right} {path}")


def _data_directory(data: Path) -> Iterator[Finding]:
    if not data.exists():
        yield _ok("data", "no data directory yet; the first `einlass serve` makes it", data)
        return
    if not data.is_dir():
        yield _error("data_not_a_folder", "the data directory must be a folder", data)
        return
    open_to_others = [path for path in (data, *sorted(data.iterdir())) if _is_open(path)]
    # Files that others could read are behind the folder's own mode.
    worth_saying = open_to_others if _is_open(data) else []
    yield from (_open_finding("data_open", path) for path in worth_saying)
    if not worth_saying:
        yield _ok("data", "closed to others", data)
    yield _fsync(data)
    yield _free_space(data, shutil.disk_usage(data).free)


def _fsync(data: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=data) as file:
            file.write(b"einlass")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(data, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "unknown")
        return _error(
            "fsync_failed",
            f"a write cannot be made durable here ({reason})",
            data,
            "Use a local file system that this user may write to.",
        )
    return _ok("fsync", "a file and the folder can be synced", data)


def _free_space(data: Path, free: int) -> Finding:
    text = f"{free // 2**20} MiB free"
    if free < _FREE_ERROR:
        return _error("disk_full", text, data, "Free at least 2 GiB before events are lost.")
    if free < _FREE_WARN:
        return _warn("disk_low", text, data, "Keep at least 2 GiB free.")
    return _ok("disk", text, data)


def _front_store(path: Path, now_ms: int) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as store:
            yield from _durability(path, store)
            yield from _clock(path, store, now_ms)
    except sqlite3.Error as error:
        yield _error(
            "store_unreadable",
            f"cannot be read as a database ({error.sqlite_errorname})",
            path,
            "Stop the server, keep a copy of the file, and restore a backup.",
        )


def _durability(path: Path, store: sqlite3.Connection) -> Iterator[Finding]:
    journal = str(store.execute("PRAGMA journal_mode").fetchone()[0]).lower()
    if journal == "wal":
        yield _ok("journal", "journal mode WAL", path)
    else:
        yield _error(
            "journal_not_wal", f"journal mode {journal}, not WAL", path, "Start the server once."
        )
    # The mode belongs to a connection, not to the file: the server sets FULL on its own ones.
    # What can be seen from outside is whether this build of SQLite defaults to less.
    mode = int(store.execute("PRAGMA synchronous").fetchone()[0])
    name = _SYNCHRONOUS.get(mode, str(mode))
    if mode >= _FULL:
        yield _ok("synchronous", f"this SQLite defaults to {name}; the server sets FULL", path)
    else:
        yield _warn(
            "synchronous_low", f"this SQLite defaults to {name}; the server sets FULL", path
        )


def _clock(path: Path, store: sqlite3.Connection, now_ms: int) -> Iterator[Finding]:
    newest = max(
        _number(store, "SELECT clock FROM head"),
        _number(store, "SELECT received FROM log ORDER BY position DESC LIMIT 1"),
    )
    if newest - now_ms > _MAX_CLOCK_LAG_MS:
        yield _error(
            "clock_behind",
            f"the clock is {(newest - now_ms) // 1000} s behind the newest stored event",
            path,
            "Correct the clock (NTP) before the server starts.",
        )
    elif newest:
        yield _ok("clock", "the clock is not behind the newest stored event", path)


def _number(store: sqlite3.Connection, query: str) -> int:
    """Return a number from a table that may be missing; 0 where there is none."""
    try:
        row = store.execute(query).fetchone()
        return int(row[0])
    except (sqlite3.OperationalError, TypeError, ValueError):
        return 0
