"""The courier as a process: it starts from a fresh data directory, refuses a twin, and stops."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.datadir import DataDir
from gateway.drain import is_dead
from tests.server import run

PROGRAM = """
import sys
from pathlib import Path
from gateway.datadir import DataDir
from gateway.wiring.stores import prepare_stores
from gateway.settings import load
from gateway.wiring import courier

folder = Path(sys.argv[1])
data = DataDir(folder / "data")
data.prepare()
prepare_stores(data, folder / "keys")
settings = load(folder / "einlass.toml")
for name in sys.argv[2:]:
    (folder / name).unlink()
courier.run(settings, data.path, folder / "keys", lambda: print("ready", flush=True))
"""


@contextmanager
def courier(folder: Path, *unlinked: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *unlinked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def is_ready(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "ready\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    run(
        "init", str(tmp_path), "--write-key", "wk_1234567890", "--server-key", "sk_1234567890abcdef"
    )
    return tmp_path


def test_a_courier_starts_on_an_empty_data_directory_and_stops_when_told(shop: Path) -> None:
    with courier(shop) as process:
        assert is_ready(process)
        assert not is_dead(DataDir(shop / "data").courier_lock)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert is_dead(DataDir(shop / "data").courier_lock)


def test_a_second_courier_refuses_to_start(shop: Path) -> None:
    with courier(shop) as first:
        assert is_ready(first)
        with courier(shop) as second:
            _, errors = second.communicate(timeout=30)
        assert second.returncode != 0
        assert "StoreLockedError" in errors


def test_a_killed_courier_is_followed_by_another(shop: Path) -> None:
    with courier(shop) as first:
        assert is_ready(first)
        first.kill()
        first.wait()
    with courier(shop) as second:
        assert is_ready(second)


def test_a_destination_that_is_misconfigured_does_not_keep_others_from_working(shop: Path) -> None:
    config = shop / "einlass.toml"
    text = config.read_text()
    config.write_text(text.replace('endpoint = "sandbox"', 'endpoint = "https://ads.local"', 1))
    with courier(shop) as process:
        assert is_ready(process)


def test_a_missing_credential_is_for_the_platform_to_refuse(shop: Path) -> None:
    with courier(shop, "secrets/meta.token") as process:
        assert is_ready(process)
