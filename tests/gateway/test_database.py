import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

import gateway.backstore
from gateway.database import HEAD, open_back, stored_revision
from gateway.errors import StoreBrokenError, StoreError

MIGRATIONS = Path(gateway.backstore.__file__).with_name("migrations")


def config() -> Config:
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    return found


def test_head_names_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_the_migrated_schema_has_what_the_models_say(tmp_path: Path) -> None:
    engine = open_back(tmp_path / "back.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        found = compare_metadata(context, SQLModel.metadata)
    engine.dispose()
    assert [one for one in found if one[0] != "remove_index"] == []


def test_every_migration_can_be_taken_back(tmp_path: Path) -> None:
    engine = open_back(tmp_path / "back.db")
    back = config()
    with engine.begin() as connection:
        back.attributes["connection"] = connection
        command.downgrade(back, "base")
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert set(tables.scalars()) <= {"alembic_version", "sqlite_sequence"}
    engine.dispose()


def test_a_normal_start_does_not_import_alembic(tmp_path: Path) -> None:
    open_back(tmp_path / "back.db").dispose()
    code = "import sys, pathlib; from gateway.database import open_back;"
    code += "open_back(pathlib.Path(sys.argv[1])).dispose(); print('alembic' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "back.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "False\n"


def test_an_older_program_refuses_a_newer_schema(tmp_path: Path) -> None:
    open_back(tmp_path / "back.db").dispose()
    with closing(sqlite3.connect(tmp_path / "back.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="newer"):
        open_back(tmp_path / "back.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "back.db").write_bytes(b"something else" * 100)
    with pytest.raises(StoreBrokenError):
        open_back(tmp_path / "back.db")


def test_a_new_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    assert stored_revision(tmp_path / "back.db") == ""
    assert (tmp_path / "back.db").stat().st_mode & 0o077 == 0


def test_commits_are_synced_and_deletions_overwritten(tmp_path: Path) -> None:
    engine = open_back(tmp_path / "back.db")
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "secure_delete")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    engine.dispose()
    assert found == ["wal", 2, 1]


def test_two_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    code = "import sys, pathlib; from gateway.database import open_back;"
    code += "open_back(pathlib.Path(sys.argv[1])).dispose()"
    command_line = [sys.executable, "-c", code, str(tmp_path / "back.db")]
    running = [subprocess.Popen(command_line) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
