"""The key store: one random data key per person, wrapped by the master key, in its own SQLite file.

Keys come from a pool that was made durable in advance, so that a new person costs no second sync.
Destroying a row is erasing the person. Kept out of ordinary backups; never beside the key ring.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from consent.errors import KeyDestroyedError
from consent.vault import KeyWrap, PersonSeal, new_key
from gateway.errors import StoreError

__all__ = ["KeyPool", "KeyReader", "create"]

_BLOCK = 512
_EMPTY_LOG_SECONDS = 1.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS person_keys (
  key_id INTEGER PRIMARY KEY AUTOINCREMENT,
  wrapped BLOB
)
"""


def create(path: Path) -> None:
    """Create the key store if it is not there; empty its log into its file (as for the front)."""
    with sqlite3.connect(path, timeout=_EMPTY_LOG_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(_SCHEMA)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    path.chmod(0o600)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"file:{path}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=10,
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error as error:
        raise StoreError("key store: cannot be opened") from error
    return connection


class KeyReader:
    """Opens people's keys by number."""

    def __init__(self, path: Path, wrap: KeyWrap) -> None:
        self._connection = _connect(path)
        self._wrap = wrap
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the store."""
        self._connection.close()

    def seal(self, key_id: int, slot: int) -> PersonSeal:
        """Return the seal of a person.

        Raises:
            KeyDestroyedError: the key was destroyed.
            SealBrokenError: it was wrapped under another master key.
        """
        with self._lock:
            row = self._connection.execute(
                "SELECT wrapped FROM person_keys WHERE key_id = ?", (key_id,)
            ).fetchone()
        if row is None or row[0] is None:
            raise KeyDestroyedError("person key: destroyed")
        return PersonSeal(self._wrap.unwrap(key_id, row[0]), slot)


class KeyPool:
    """Hands out fresh keys that are durable already; refills itself in blocks."""

    def __init__(self, path: Path, wrap: KeyWrap, make: Callable[[], bytes] = new_key) -> None:
        self._connection = _connect(path)
        self._wrap = wrap
        self._make = make
        self._free: deque[tuple[int, bytes]] = deque()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the store; keys not handed out stay unused for good."""
        self._connection.close()

    @property
    def low(self) -> bool:
        """Say whether a refill is due."""
        return len(self._free) < _BLOCK // 2

    def refill(self) -> None:
        """Make a block of keys and have it synced before any of them is used."""
        with self._lock:
            try:
                self._refill()
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _refill(self) -> None:
        keys = [self._make() for _ in range(_BLOCK)]
        self._connection.execute("BEGIN IMMEDIATE")
        (last,) = self._connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'person_keys'"
        ).fetchone() or (0,)
        rows = [
            (last + place, self._wrap.wrap(last + place, key)) for place, key in enumerate(keys, 1)
        ]
        self._connection.executemany("INSERT INTO person_keys VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")
        self._free.extend((key_id, key) for (key_id, _), key in zip(rows, keys, strict=True))

    def take(self, slot: int) -> tuple[int, PersonSeal]:
        """Return a fresh key's number and the seal of its new owner."""
        if not self._free:
            self.refill()
        key_id, key = self._free.popleft()
        return key_id, PersonSeal(key, slot)
