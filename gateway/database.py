"""Opens the back store's database and brings its schema to the newest revision.

A normal start reads the stored revision with the plain driver and does not import Alembic.
An older program refuses a newer schema. Pragmas: WAL, synchronous=FULL, secure_delete.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection as AlchemyConnection
from sqlalchemy.engine import Engine

from gateway.errors import StoreBrokenError, StoreError

__all__ = ["HEAD", "open_back", "stored_revision"]

HEAD = "0001"
"""The newest revision in `gateway.migrations`; a test compares the two."""

_BUSY_MS = 5_000


def open_back(path: Path) -> Engine:
    """Open the back store, migrating it first where its revision is not the newest.

    Raises:
        StoreError: the schema is newer than this program.
        StoreBrokenError: the file is not a database.
    """
    with _turn(path.with_suffix(".lock")):
        engine = create_engine(f"sqlite:///{path}")
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        revision = stored_revision(path)
        if revision > HEAD:
            raise StoreError(f"back store: schema {revision} is newer than {HEAD}")
        if revision != HEAD:
            _migrate(engine)
    return engine


def stored_revision(path: Path) -> str:
    """Return the schema revision in the file, empty where there is none.

    Raises:
        StoreBrokenError: the file is not a database.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_MS / 1_000)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        raise StoreBrokenError("back store: not a database") from error
    return str(row[0]) if row else ""


def _migrate(engine: Engine) -> None:
    # Imported here: a normal start finds the newest revision and pays nothing for Alembic.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Let one process at a time look at the schema."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepare(connection: Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin` takes the write turn at once.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={_BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: AlchemyConnection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
