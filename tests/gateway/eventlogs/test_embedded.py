"""The front store: one transaction, turns, order, and what it refuses to open."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consent.ledger.entry import entry
from consent.outcome import Outcome
from consent.state import Kind
from gateway.errors import StoreBrokenError, StoreError
from gateway.eventlogs.embedded import EmbeddedStore, connect, create
from gateway.eventlogs.group import (
    Committed,
    Group,
    NewContact,
    NewEvent,
    NewPerson,
    NewRecord,
    Stale,
)
from tests.factories import rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "front.db"
    create(made)
    return made


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(path)
    yield opened
    opened.close()


def an_event(dedup: bytes = b"d", body: bytes = b"b", slot: int = 1) -> NewEvent:
    return NewEvent(slot, "web", b"sealed", dedup, body, 1_000)


def a_record(number: int = 1, slot: int | None = 1, **more: object) -> NewRecord:
    stored = entry({}, b"n" * 32)
    given = {"withdrawn": (), "granted": "[]", "received": 5, "kind": Kind.OWN, **more}
    return NewRecord(
        number=number,
        slot=slot,
        stored=stored,
        body=b"",
        state=b"state",
        **given,  # type: ignore[arg-type] # parts of a case
    )


def a_group(*what: NewEvent | NewRecord, record: int = 0) -> Group:
    group = Group(record, rows=list(what))
    group.records = sum(isinstance(row, NewRecord) for row in what)
    return group


def commit(store: EmbeddedStore, group: Group) -> Committed:
    store.take_turn()
    done = store.write(group)
    assert isinstance(done, Committed)
    store.sync()
    return done


def test_a_new_store_is_empty_closed_to_others_and_stays_as_it_is(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert rows(path, "SELECT position, record, clock FROM head") == [(0, 0, 0)]
    rows(path, "UPDATE head SET position = 5 RETURNING 1")
    create(path)


def test_the_store_syncs_fully_and_overwrites_what_it_deletes(store: EmbeddedStore) -> None:
    asked = ("journal_mode", "synchronous", "secure_delete")
    found = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]
    assert found == ["wal", 2, 1]


def test_a_store_in_another_journal_mode_is_refused(path: Path) -> None:
    rows(path, "PRAGMA journal_mode = DELETE")
    with pytest.raises(StoreError, match="WAL"):
        connect(path, write=True)


@pytest.mark.parametrize("write", [True, False])
def test_what_is_not_there_cannot_be_opened(tmp_path: Path, *, write: bool) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        connect(tmp_path / "none.db", write=write)


def test_a_reader_cannot_write(path: Path) -> None:
    reader = connect(path, write=False)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM head")
    reader.close()


def test_nothing_is_there_for_others_before_the_sync(store: EmbeddedStore, path: Path) -> None:
    store.take_turn()
    store.write(a_group(an_event()))
    assert rows(path, "SELECT * FROM log") == []
    store.sync()
    assert rows(path, "SELECT position, count FROM log") == [(1, 1)]


def test_rows_get_positions_in_their_order(store: EmbeddedStore, path: Path) -> None:
    group = a_group(an_event(b"1"), a_record(), an_event(b"2"))
    assert commit(store, group).position == 3
    assert [row.position for row in group.rows] == [1, 2, 3]
    assert rows(path, "SELECT position FROM records") == [(2,)]


def test_duplicates_and_conflicts_are_found_within_a_group_and_across(
    store: EmbeddedStore, path: Path
) -> None:
    within = [an_event(), an_event(), an_event(body=b"other")]
    across = [an_event(), an_event(body=b"other"), an_event(dedup=b"new")]
    commit(store, a_group(*within))
    commit(store, a_group(*across))
    found = [event.outcome for event in (*within, *across)]
    assert found == [
        Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT,
        Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.ACCEPTED,
    ]  # fmt: skip
    assert rows(path, "SELECT outcome, count FROM counters ORDER BY 1") == [
        ("accepted", 2), ("conflict", 2), ("duplicate", 2),
    ]  # fmt: skip


def test_a_group_of_duplicates_writes_no_log_row(store: EmbeddedStore, path: Path) -> None:
    for _ in range(2):
        commit(store, a_group(an_event()))
    assert rows(path, "SELECT count(*) FROM log") == [(1,)]


def test_the_clock_of_records_never_runs_back(store: EmbeddedStore, path: Path) -> None:
    commit(store, a_group(a_record(1, received=100)))
    commit(store, a_group(a_record(2, received=50), record=1))
    assert rows(path, "SELECT received FROM records") == [(100,), (100,)]


def test_counters_add_up(store: EmbeddedStore, path: Path) -> None:
    for _ in range(3):
        group = Group(0)
        group.count("web", "refused", "gpc")
        group.undeclared["web", "mood"] = 2
        commit(store, group)
    assert rows(path, "SELECT * FROM counters") == [("web", "refused", "gpc", 3)]
    assert rows(path, "SELECT * FROM undeclared") == [("web", "mood", 6)]


def test_a_record_writes_state_revocations_and_drops_contact_data(
    store: EmbeddedStore, path: Path
) -> None:
    group = a_group(a_record())
    group.people.append(NewPerson(1, 1, "shop", b"device", b"first"))
    group.contacts.append(NewContact(1, "email", b"mac", b"sealed"))
    commit(store, group)
    gone = a_record(2, withdrawn=("a", "b"), drop_contacts=True)
    commit(store, a_group(gone, record=1))
    assert rows(path, "SELECT * FROM states") == [(1, b"state")]
    assert rows(path, "SELECT * FROM revoked") == [(1, "a", 2), (1, "b", 2)]
    assert rows(path, "SELECT * FROM contacts") == []


# -- what rests on what others changed ------------------------------------------------------------


def moved(store: EmbeddedStore, slot: int | None = 1, **more: object) -> None:
    """Let another writer commit one record."""
    commit(store, a_group(a_record(1, slot, **more)))


def is_stale(store: EmbeddedStore, group: Group) -> bool:
    store.take_turn()
    done = store.write(group)
    if isinstance(done, Committed):
        store.sync()
        return False
    assert (done.record, store._holding) == (1, True)
    store.release()
    return True


def test_a_group_that_rests_on_nothing_that_moved_is_written(store: EmbeddedStore) -> None:
    moved(store, slot=1)
    group = a_group(an_event())
    group.slots = {2}
    assert not is_stale(store, group)


@pytest.mark.parametrize("slot", [1, 9])
def test_a_group_that_rests_on_a_slot_that_changed_is_stale(
    store: EmbeddedStore, slot: int
) -> None:
    moved(store, slot=1, other=9)
    group = a_group(an_event())
    group.slots = {slot}
    assert is_stale(store, group)


def test_a_group_with_a_record_of_its_own_is_stale(store: EmbeddedStore) -> None:
    moved(store)
    assert is_stale(store, a_group(a_record(1, 7)))


def test_a_group_that_rests_on_a_refusal_is_stale_after_any_record(store: EmbeddedStore) -> None:
    moved(store, slot=None, refusal=b"mac")
    group = a_group(an_event())
    group.refused = {b"mac"}
    assert is_stale(store, group)


@pytest.mark.parametrize("known", ["macs", "refused"])
def test_an_id_that_got_an_owner_makes_a_group_stale(store: EmbeddedStore, known: str) -> None:
    first = a_group(a_record())
    first.identifiers = [(b"mac", 1)]
    commit(store, first)
    group = Group(1)
    setattr(group, known, {b"mac", *(b"%d" % n for n in range(600))})
    assert is_stale(store, group)


def test_an_id_that_refused_makes_a_group_stale_that_knew_nothing_of_it(
    store: EmbeddedStore,
) -> None:
    moved(store, slot=None, refusal=b"mac")
    group = Group(1)
    group.macs = {b"mac"}
    assert is_stale(store, group)
    assert rows_left(store) == 0


def rows_left(store: EmbeddedStore) -> int:
    ((found,),) = store._connection.execute("SELECT count(*) FROM counters").fetchall()
    return int(found)


# -- turns and failures ---------------------------------------------------------------------------


def test_writers_take_turns(store: EmbeddedStore, path: Path) -> None:
    other = EmbeddedStore(path)
    assert store.try_turn()
    assert store.try_turn()
    assert not other.try_turn()
    waiting = threading.Thread(target=other.take_turn)
    waiting.start()
    store.release()
    waiting.join(10)
    assert not waiting.is_alive()
    assert not store.try_turn()
    other.close()
    assert store.try_turn()


def test_releasing_a_turn_that_is_not_held_does_nothing(store: EmbeddedStore) -> None:
    store.release()
    assert store.try_turn()


def test_a_write_that_fails_leaves_nothing_and_the_next_one_works(store: EmbeddedStore) -> None:
    group = a_group(an_event())
    group.identifiers = [(b"mac", 1), (b"mac", 2)]
    store.take_turn()
    with pytest.raises(StoreBrokenError):
        store.write(group)
    assert not store.broken
    assert store.head() == (0, 0, 0)
    commit(store, a_group(an_event()))


def test_a_failure_of_another_kind_leaves_no_transaction_open(store: EmbeddedStore) -> None:
    store.take_turn()
    with pytest.raises(AttributeError):
        store.write(a_group("no row"))  # type: ignore[arg-type] # the point
    commit(store, a_group(an_event()))


def test_a_commit_that_fails_is_told(store: EmbeddedStore) -> None:
    store.take_turn()
    store.write(a_group(an_event()))
    store._connection.execute("ROLLBACK")
    with pytest.raises(StoreBrokenError):
        store.sync()
    assert not store.broken


def test_after_a_failed_sync_nothing_is_written_any_more(store: EmbeddedStore) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    store._abandon(error)
    assert store.broken
    with pytest.raises(StoreBrokenError, match="earlier"):
        store.write(a_group(an_event()))


def test_stale_says_what_moved() -> None:
    assert Stale(3, 4, frozenset({1})).touched == {1}
    assert Group(0).empty
    assert not a_group(an_event()).empty


def test_a_store_of_a_newer_program_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(StoreError, match="form 2"):
        connect(path, write=False)
