"""The embedded front store: one SQLite file in WAL mode with synchronous=FULL.

Writers of several processes take turns by ``flock``; a commit that returned has been synced. It
checks that the consent ledger did not move under what was prepared. Knows no policy and no key.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections import Counter
from pathlib import Path

import msgspec

from consent.outcome import Outcome
from gateway.errors import StoreBrokenError, StoreError
from gateway.eventlogs.group import Committed, Group, NewEvent, NewRecord, Stale

__all__ = ["FORM", "EmbeddedStore", "connect", "create"]

_pack = msgspec.msgpack.Encoder()
_SCHEMA = Path(__file__).with_name("front.sql")
_MANY = 500
FORM = 1
"""Form of the file, its `user_version`."""
_EMPTY_LOG_SECONDS = 1.0
_CHECKPOINT_PAGES = 8_000  # random dedup keys: the later, the more pages are written once


def create(path: Path) -> None:
    """Create the store if it is not there; empty its log into its file.

    After a sync that failed, memory may hold parts of the log that the disk does not: nothing
    may be appended to them. A command that reads just now is waited for, but not for long.
    """
    with sqlite3.connect(path, timeout=_EMPTY_LOG_SECONDS) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'head'").fetchone():
            connection.execute("PRAGMA journal_mode = WAL")
            # All or nothing: a start that is killed here is begun anew by the next.
            schema = _SCHEMA.read_text(encoding="utf-8")
            connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nCOMMIT;")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    path.chmod(0o600)


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the store; a writer syncs on every commit and overwrites what it deletes.

    Raises:
        StoreError: it is not there, not ours, or of another version.
    """
    mode = "rw" if write else "ro"
    try:
        connection = sqlite3.connect(
            f"file:{path}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=10.0,
        )
        connection.execute("PRAGMA cache_size = -16000")
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form != FORM:
            raise StoreError(f"front store: has form {form}, this program knows {FORM}")
        if write:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
            if journal != "wal" or synchronous != 2:  # noqa: PLR2004 - SQLite's number for FULL
                raise StoreError("front store: not in WAL mode with synchronous=FULL")
    except sqlite3.Error as error:
        raise StoreError("front store: cannot be opened") from error
    return connection


class EmbeddedStore:
    """The writing side. One per process: take the turn, ``write``, ``sync``, one at a time.

    ``broken`` is set for good when a sync failed: what was written then cannot be known.
    """

    def __init__(self, path: Path) -> None:
        self.broken = False
        self._connection = connect(path, write=True)
        self._turn = os.open(
            path.with_suffix(".turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._holding = False

    def close(self) -> None:
        """Close the store; a held turn is given up."""
        self._connection.close()
        os.close(self._turn)

    def head(self) -> tuple[int, int, int]:
        """Return newest position, newest record number and clock."""
        row: tuple[int, int, int] = self._connection.execute(
            "SELECT position, record, clock FROM head"
        ).fetchone()
        return row

    def try_turn(self) -> bool:
        """Take the turn if nobody has it; say whether it is ours now."""
        if not self._holding:
            try:
                fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._holding = True
        return True

    def take_turn(self) -> None:
        """Wait for the turn."""
        if not self._holding:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            self._holding = True

    def write(self, group: Group) -> Committed | Stale:
        """Write a group, not yet durably, or say why it must be prepared again.

        The turn must be held, and is kept.

        Raises:
            StoreBrokenError: the disk refused; nothing was written.
        """
        if self.broken:
            raise StoreBrokenError("front store: an earlier commit failed")
        try:
            self._roll_back()  # what a failure of another kind may have left open
            self._connection.execute("BEGIN IMMEDIATE")
            position, record, clock = self.head()
            touched = self._touched(group.record, record)
            if self._is_stale(group, record, touched):
                self._connection.execute("ROLLBACK")
                return Stale(record, clock, touched)
            position, clock = self._write(group, position, clock)
            record += group.records
            self._connection.execute(
                "UPDATE head SET position = ?, record = ?, clock = ?", (position, record, clock)
            )
        except sqlite3.Error as error:
            self._abandon(error)
            raise StoreBrokenError("front store: a write failed") from error
        return Committed(position, record, clock, touched)

    def sync(self) -> None:
        """Make what was written durable and give up the turn.

        Raises:
            StoreBrokenError: the commit failed; nothing was written.
        """
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(error)
            raise StoreBrokenError("front store: a commit failed") from error
        self.release()

    def release(self) -> None:
        """Give up the turn."""
        if self._holding:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
            self._holding = False

    def _abandon(self, error: sqlite3.Error) -> None:
        # A full disk can recover; a failed sync is final: what was written cannot be known.
        # Errors of the binding, not of the library, have no name.
        self.broken = getattr(error, "sqlite_errorname", "").startswith("SQLITE_IOERR")
        with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _touched(self, since: int, record: int) -> frozenset[int]:
        if record == since:
            return frozenset()
        rows = self._connection.execute(
            "SELECT slot, other FROM records WHERE record > ?", (since,)
        ).fetchall()
        return frozenset(slot for row in rows for slot in row if slot is not None)

    def _is_stale(self, group: Group, record: int, touched: frozenset[int]) -> bool:
        if record != group.record and (group.records or group.refused or touched & group.slots):
            return True
        return self._any(group.macs | group.refused, "identifiers") or self._any(
            group.macs, "refusals"
        )

    def _any(self, macs: set[bytes], table: str) -> bool:
        every = list(macs)
        for start in range(0, len(every), _MANY):
            part = every[start : start + _MANY]
            marks = ",".join("?" * len(part))
            query = f"SELECT 1 FROM {table} WHERE mac IN ({marks}) LIMIT 1"  # noqa: S608 - no input
            if self._connection.execute(query, part).fetchone():
                return True
        return False

    def _write(self, group: Group, position: int, clock: int) -> tuple[int, int]:
        events: list[NewEvent] = []
        records: list[NewRecord] = []
        for row in group.rows:
            position += 1
            row.position = position
            clock = max(clock, row.received)
            if isinstance(row, NewEvent):
                events.append(row)
            else:
                row.received = clock  # consent has one order, whatever the machine's clock did
                records.append(row)
        if events:
            self._write_events(group, events)
        self._write_people(group)
        if records:
            self._write_records(records)
        many = self._connection.executemany
        many(
            "INSERT OR REPLACE INTO contacts VALUES (?, ?, ?, ?, ?)",
            [(row.slot, row.kind, position, row.mac, row.sealed) for row in group.contacts],
        )
        many(
            "INSERT INTO counters VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET count = count + excluded.count",
            [(*key, count) for key, count in group.counters.items()],
        )
        if group.undeclared:
            many(
                "INSERT INTO undeclared VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                " SET count = count + excluded.count",
                [(*key, count) for key, count in group.undeclared.items()],
            )
        return position, clock

    def _write_events(self, group: Group, events: list[NewEvent]) -> None:
        before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO dedup VALUES (?, ?, ?)",
            [(event.dedup, event.body, event.position) for event in events],
        )
        if self._connection.total_changes - before != len(events):
            self._mark_duplicates(events)
        kept = [event for event in events if event.outcome is Outcome.ACCEPTED]
        for (source, outcome), count in Counter(
            (row.source, row.outcome) for row in events
        ).items():
            group.count(source, outcome, "", count)
        if kept:
            payload = _pack.encode([(event.position, event.slot, event.sealed) for event in kept])
            self._connection.execute(
                "INSERT INTO log VALUES (?, ?, ?, ?)",
                (kept[-1].position, len(kept), kept[-1].received, payload),
            )

    def _mark_duplicates(self, events: list[NewEvent]) -> None:
        for event in events:
            position, body = self._connection.execute(
                "SELECT position, body FROM dedup WHERE key = ?", (event.dedup,)
            ).fetchone()
            if position != event.position:
                same = body == event.body
                event.outcome = Outcome.DUPLICATE if same else Outcome.CONFLICT

    def _write_people(self, group: Group) -> None:
        many = self._connection.executemany
        many(
            "INSERT INTO people VALUES (?, ?, ?, ?)",
            [(row.slot, row.key_id, row.site, row.device) for row in group.people],
        )
        many(
            "INSERT INTO states VALUES (?, ?)",
            [(row.slot, row.state) for row in group.people if row.state],
        )
        many("UPDATE people SET device = ? WHERE slot = ?", group.devices)
        many("INSERT INTO identifiers VALUES (?, ?)", group.identifiers)
        many("DELETE FROM refusals WHERE mac = ?", [(mac,) for mac, _ in group.identifiers])
        many("INSERT OR REPLACE INTO clusters VALUES (?, ?)", group.clusters)

    def _write_records(self, records: list[NewRecord]) -> None:
        many = self._connection.executemany
        many(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.number,
                    row.position,
                    row.slot,
                    row.other,
                    row.kind,
                    row.received,
                    row.granted,
                    row.body,
                    row.stored.nonce,
                    row.stored.commitment,
                )
                for row in records
            ],
        )
        many(
            "INSERT OR REPLACE INTO states VALUES (?, ?)",
            [(row.slot, row.state) for row in records if row.slot is not None and row.state],
        )
        many(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?)",
            [(row.refusal, row.state) for row in records if row.refusal is not None],
        )
        many(
            "INSERT OR REPLACE INTO revoked VALUES (?, ?, ?)",
            [(row.slot, purpose, row.position) for row in records for purpose in row.withdrawn],
        )
        many(
            "DELETE FROM contacts WHERE slot = ?",
            [(row.slot,) for row in records if row.drop_contacts],
        )
