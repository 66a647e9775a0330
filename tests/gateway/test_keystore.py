"""Person keys: durable before they are used, wrapped, and gone for good when destroyed."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from consent.errors import KeyDestroyedError, SealBrokenError
from consent.vault import KeyWrap
from gateway.errors import StoreError
from gateway.keystore import KeyPool, KeyReader, create
from tests.factories import rows

WRAP = KeyWrap(b"w" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "keys.db"
    create(made)
    return made


@pytest.fixture
def pool(path: Path) -> Iterator[KeyPool]:
    opened = KeyPool(path, WRAP)
    yield opened
    opened.close()


@pytest.fixture
def reader(path: Path) -> Iterator[KeyReader]:
    opened = KeyReader(path, WRAP)
    yield opened
    opened.close()


def test_a_new_key_store_is_closed_to_others_and_stays_as_it_is(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    KeyPool(path, WRAP).refill()
    create(path)
    assert rows(path, "SELECT count(*) FROM person_keys") == [(512,)]


def test_a_key_is_stored_before_it_is_given_out(pool: KeyPool, path: Path) -> None:
    key_id, _ = pool.take(7)
    assert (key_id,) in rows(path, "SELECT key_id FROM person_keys")


def test_what_one_side_seals_the_other_opens(pool: KeyPool, reader: KeyReader) -> None:
    key_id, seal = pool.take(7)
    assert reader.seal(key_id, 7).open(b"event", seal.seal(b"event", b"x")) == b"x"


def test_a_key_opens_for_its_person_only(pool: KeyPool, reader: KeyReader) -> None:
    key_id, seal = pool.take(7)
    with pytest.raises(SealBrokenError):
        reader.seal(key_id, 8).open(b"event", seal.seal(b"event", b"x"))


def test_no_key_lies_open_in_the_file(path: Path) -> None:
    KeyPool(path, WRAP, make=lambda: b"K" * 32).refill()
    files = [path, path.with_name("keys.db-wal")]
    assert not any(b"K" * 8 in file.read_bytes() for file in files if file.exists())


def test_under_another_master_key_nothing_opens(pool: KeyPool, path: Path) -> None:
    key_id, _ = pool.take(7)
    other = KeyReader(path, KeyWrap(b"o" * 32))
    with pytest.raises(SealBrokenError):
        other.seal(key_id, 7)
    other.close()


@pytest.mark.parametrize(
    "gone", ["UPDATE person_keys SET wrapped = NULL", "DELETE FROM person_keys"]
)
def test_a_destroyed_key_is_gone(pool: KeyPool, reader: KeyReader, path: Path, gone: str) -> None:
    key_id, _ = pool.take(7)
    with sqlite3.connect(path) as connection:
        connection.execute(gone)
    connection.close()
    with pytest.raises(KeyDestroyedError):
        reader.seal(key_id, 7)


def test_a_number_is_never_given_out_twice(path: Path) -> None:
    pools = [KeyPool(path, WRAP) for _ in range(2)]
    numbers = [pool.take(1)[0] for _ in range(600) for pool in pools]
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM person_keys")
    connection.close()
    pools[0].refill()
    later = KeyPool(path, WRAP)
    numbers.append(later.take(1)[0])
    assert len(set(numbers)) == len(numbers)
    for pool in (*pools, later):
        pool.close()


def test_a_pool_is_low_before_it_is_empty(pool: KeyPool) -> None:
    states = [pool.low]
    pool.refill()
    states.append(pool.low)
    for _ in range(257):
        pool.take(1)
    assert [*states, pool.low] == [True, False, True]


def test_after_a_full_disk_the_pool_works_again(pool: KeyPool) -> None:
    (pages,) = pool._connection.execute("PRAGMA page_count").fetchone()
    pool._connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            pool.refill()
    assert pool.low
    pool._connection.execute("PRAGMA max_page_count = 1000000")
    assert pool.take(1)[0] == 1


def test_a_refill_that_broke_off_leaves_nothing_open(pool: KeyPool) -> None:
    refuse = "CREATE TRIGGER no BEFORE INSERT ON person_keys BEGIN SELECT RAISE(ABORT, 'no'); END"
    pool._connection.execute(refuse)
    with pytest.raises(sqlite3.IntegrityError):
        pool.refill()
    pool._connection.execute("DROP TRIGGER no")
    assert pool.take(1)[0] == 1


def test_a_pool_that_cannot_write_says_so(pool: KeyPool, path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        pool._connection.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            pool.refill()
        other.execute("ROLLBACK")
    other.close()


def test_a_key_store_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        KeyReader(tmp_path / "none.db", WRAP)
