"""F2 for starts: killed at any sync of the first one, the next completes what it began."""

import os
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

from consent.keyring import COURIER, ENGINE, FRONT, Keyring
from gateway.datadir import DataDir
from gateway.eventlogs.embedded import EmbeddedStore, connect
from gateway.wiring.stores import prepare_stores

_FIRST_START = """
import sys
from pathlib import Path
from gateway.datadir import DataDir
from gateway.wiring.stores import prepare_stores
data = DataDir(Path(sys.argv[1]) / "data")
data.prepare()
prepare_stores(data, Path(sys.argv[1]) / "keys")
"""


def test_a_first_start_may_be_killed_at_any_sync(strace: str, tmp_path: Path) -> None:
    whole = _prepare(tmp_path / "whole")
    for place in count(1):
        if not _is_killed_at(place, strace, tmp_path / str(place)):
            break
        assert _prepare(tmp_path / str(place)) == whole, f"killed at sync {place}"
    assert place > 10


def _is_killed_at(place: int, strace: str, folder: Path) -> bool:
    kill = f"inject=fsync,fdatasync:signal=KILL:when={place}"
    options = ("-f", "-o", os.devnull, "-e", "trace=fsync,fdatasync", "-e", kill)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    command = [strace, *options, sys.executable, "-c", _FIRST_START, str(folder)]
    return subprocess.run(command, env=environment, check=False).returncode != 0


def _prepare(folder: Path) -> set[str]:
    """Start as the next start does; return the tables, once keys and token were found whole."""
    data, keys = DataDir(folder / "data"), folder / "keys"
    data.prepare()
    prepare_stores(data, keys)
    Keyring(keys, {*FRONT, *ENGINE, *COURIER})
    assert len(data.admin_token.read_text()) > 32
    with closing(EmbeddedStore(data.front)) as store:
        assert store.head() == (0, 0, 0)
    with closing(connect(data.front, write=False)) as reader:
        return {name for (name,) in reader.execute("SELECT name FROM sqlite_master")}


def test_a_start_empties_the_log_into_the_file(tmp_path: Path) -> None:
    data, keys = DataDir(tmp_path / "data"), tmp_path / "keys"
    data.prepare()
    prepare_stores(data, keys)
    with closing(connect(data.front, write=True)) as writer:  # as a process that hangs would
        writer.execute("INSERT INTO log VALUES (1, 1, 1, x'00')")
        assert data.front.with_suffix(".db-wal").stat().st_size > 0
        prepare_stores(data, keys)
        assert data.front.with_suffix(".db-wal").stat().st_size == 0
