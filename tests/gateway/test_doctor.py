"""What the doctor sees in an installation that does not run."""

import json
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.configuration.init import init
from gateway.doctor import Finding, Level, _free_space, examine

NOW = 1_800_000_000_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the path of a sound configuration."""
    return init(tmp_path / "shop", None, None, secrets.token_bytes)[-1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return an empty data directory, closed to others."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a key ring with one file."""
    path = tmp_path / "keys"
    path.mkdir(mode=0o700)
    (path / "master.key").write_bytes(b"k")
    (path / "master.key").chmod(0o400)
    return path


def _examine(
    config: Path | None = None,
    data: Path | None = None,
    keys: Path | None = None,
    known: tuple[str, ...] = (),
) -> dict[str, Finding]:
    found = examine(config, data, keys, now_ms=lambda: NOW, resolve=lambda host: host in known)
    return {finding.code: finding for finding in found}


def _bad(found: dict[str, Finding]) -> set[str]:
    return {code for code, finding in found.items() if finding.level is not Level.OK}


def _edit(config: Path, old: str, new: str) -> None:
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new, 1), "utf-8")


def test_a_sound_installation_has_only_good_findings(config: Path, data: Path, keys: Path) -> None:
    found = _examine(config, data, keys)
    assert _bad(found) - {"disk_low", "disk_full"} == set()
    assert {"settings", "destination_sandbox", "keys", "data", "fsync"} <= found.keys()


def test_nothing_given_is_nothing_found() -> None:
    assert examine(None, None, None) == []


def test_findings_are_machine_readable(config: Path) -> None:
    text = json.dumps([finding.to_dict() for finding in _examine(config).values()])
    assert json.loads(text)[0]["level"] == "ok"
    assert set(json.loads(text)[0]) == {"level", "code", "message", "file", "line", "hint"}


def test_every_problem_of_the_configuration_is_a_finding(config: Path) -> None:
    _edit(config, "regime =", "regmie =")
    _edit(config, "port = 8089", "port = 0")
    found = [finding for finding in examine(config, None, None) if finding.level is Level.ERROR]
    assert [finding.code for finding in found] == ["settings_invalid"] * 2
    lines = config.read_text("utf-8").splitlines()
    assert {lines[finding.line - 1].split(" ")[0] for finding in found} == {"regmie", "port"}


def test_a_file_that_is_not_toml_is_one_finding(config: Path) -> None:
    config.write_text("a = 1\nb =", "utf-8")
    found = _examine(config)["settings_invalid"]
    assert (found.level, found.line) == (Level.ERROR, 2)


def test_doubts_about_settings_are_among_the_findings(config: Path) -> None:
    _edit(config, 'origins = ["https://shop.example"]', "")
    assert _bad(_examine(config)) == {"source_without_origins"}


def test_a_kind_that_is_not_installed_is_an_error(config: Path) -> None:
    _edit(config, '"meta_audiences"', '"meta_audience"')
    found = _examine(config)["destination_kind_unknown"]
    assert found.level is Level.ERROR
    assert "did you mean 'meta_audiences'?" in found.message
    assert "meta_audience" in config.read_text("utf-8").splitlines()[found.line - 1]


def test_a_destination_without_the_purpose_of_its_kind_is_an_error(config: Path) -> None:
    _edit(config, 'purposes = ["audience_sync"]', 'purposes = ["lookalike"]')
    found = _examine(config)["destination_purposes"]
    assert (found.level, found.message.split()[-1]) == (Level.ERROR, "audience_sync")
    assert "lookalike" in config.read_text("utf-8").splitlines()[found.line - 1]


def test_an_own_endpoint_is_resolved(config: Path) -> None:
    _edit(config, 'endpoint = "sandbox"', 'endpoint = "https://platform.example/v1"')
    assert _examine(config)["destination_unresolved"].level is Level.WARN
    found = _examine(config, known=("platform.example",))
    assert found["destination_resolves"].message.endswith("platform.example resolves")


def test_without_an_endpoint_the_platform_s_hosts_are_resolved(config: Path) -> None:
    _edit(config, 'endpoint = "sandbox"\n', "")
    assert "graph.facebook.com" in _examine(config)["destination_unresolved"].message


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("https://127.0.0.1:9", "destination_resolves"),
        # Longer than a label may be: refused before anybody is asked.
        (f"https://{'a' * 64}.example", "destination_unresolved"),
    ],
)
def test_names_are_resolved_by_the_system(config: Path, endpoint: str, code: str) -> None:
    _edit(config, 'endpoint = "sandbox"', f'endpoint = "{endpoint}"')
    assert code in {finding.code for finding in examine(config, None, None)}


def test_the_key_ring_is_sought_beside_the_configuration(config: Path) -> None:
    found = _examine(config)["keys"]
    assert (found.level, found.file) == (Level.OK, str(config.parent / "keys"))


def test_a_key_ring_inside_the_data_directory_is_an_error(data: Path) -> None:
    (data / "keys").mkdir(mode=0o700)
    assert "keys_inside_data" in _bad(_examine(None, data, data / "keys"))


def test_a_key_ring_to_be_made_inside_the_data_directory_is_an_error(data: Path) -> None:
    assert "keys_inside_data" in _bad(_examine(None, data, data / "x" / ".." / "keys"))


def test_a_link_to_a_key_ring_inside_the_data_directory_is_an_error(
    data: Path, tmp_path: Path
) -> None:
    (data / "ring").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(data / "ring")
    assert "keys_inside_data" in _bad(_examine(None, data, tmp_path / "link"))


def test_a_link_in_the_data_directory_to_the_key_ring_is_an_error(data: Path, keys: Path) -> None:
    (data / "link").symlink_to(keys)
    assert "keys_inside_data" in _bad(_examine(None, data, data / "link"))


def test_a_key_that_is_a_link_into_the_data_directory_is_an_error(data: Path, keys: Path) -> None:
    (data / "real.key").write_bytes(b"k")
    (keys / "epoch.key").symlink_to(data / "real.key")
    assert "keys_inside_data" in _bad(_examine(None, data, keys))


def test_a_neighbour_with_the_same_beginning_is_not_inside(data: Path) -> None:
    assert _bad(_examine(None, None, data.with_name("data-keys"))) == set()
    assert "keys" in _examine(None, data, data.with_name("data-keys"))


def test_a_dotted_path_to_a_neighbour_is_not_inside(data: Path, keys: Path) -> None:
    assert "keys" in _examine(None, data, data / ".." / keys.name)


@pytest.mark.parametrize("name", ["", "master.key"])
def test_a_key_ring_open_to_others_is_an_error(keys: Path, name: str) -> None:
    (keys / name).chmod(0o750)
    found = _examine(None, None, keys)["keys_open"]
    assert found.file == str(keys / name)
    assert "mode 0750" in found.message
    assert found.hint.startswith("chmod 0")


def test_a_key_ring_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ring").write_bytes(b"")
    assert _bad(_examine(None, None, tmp_path / "ring")) == {"keys_not_a_folder"}


def test_a_data_directory_to_be_made_is_fine(tmp_path: Path) -> None:
    assert _bad(_examine(None, tmp_path / "none", None)) == set()


def test_a_data_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert _bad(_examine(None, tmp_path / "file", None)) == {"data_not_a_folder"}


def test_an_open_data_directory_and_its_open_files_are_named(data: Path) -> None:
    data.chmod(0o755)
    (data / "front.db").write_bytes(b"")
    (data / "front.db").chmod(0o644)
    (data / "admin.token").write_bytes(b"")
    (data / "admin.token").chmod(0o400)
    found = [finding for finding in examine(None, data, None) if finding.code == "data_open"]
    assert [finding.file for finding in found] == [str(data), str(data / "front.db")]
    assert [finding.hint.split()[1] for finding in found] == ["0700", "0600"]


def test_an_open_file_in_a_closed_data_directory_is_behind_its_mode(data: Path) -> None:
    (data / "lock").write_bytes(b"")
    (data / "lock").chmod(0o644)
    assert "data" in _examine(None, data, None)


def test_the_fsync_check_leaves_nothing_behind(data: Path) -> None:
    assert _examine(None, data, None)["fsync"].level is Level.OK
    assert list(data.iterdir()) == []


def test_a_file_system_that_cannot_sync_is_an_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    found = _examine(None, data, None)["fsync_failed"]
    assert found.level is Level.ERROR
    assert "EIO" in found.message


@pytest.mark.parametrize(
    ("free", "level"),
    [(2**31, Level.OK), (2**31 - 1, Level.WARN), (2**28, Level.WARN), (2**28 - 1, Level.ERROR)],
)
def test_disk_space(tmp_path: Path, free: int, level: Level) -> None:
    assert _free_space(tmp_path, free).level is level


def _store(data: Path, *statements: str, journal: str = "wal") -> None:
    with closing(sqlite3.connect(data / "front.db")) as store:
        store.execute(f"PRAGMA journal_mode = {journal}")
        for statement in ("CREATE TABLE other (x)", *statements):
            store.execute(statement)
        store.commit()


def test_a_sound_front_store(data: Path) -> None:
    _store(
        data,
        "CREATE TABLE log (position INTEGER, received INTEGER)",
        "INSERT INTO log VALUES (1, 1800000000000)",
        "CREATE TABLE head (clock INTEGER)",
        "INSERT INTO head VALUES (1800000001000)",
    )
    found = _examine(None, data, None)
    assert {"journal", "synchronous", "clock"} <= found.keys() - _bad(found)


def test_a_store_without_write_ahead_log_is_an_error(data: Path) -> None:
    _store(data, journal="delete")
    assert _examine(None, data, None)["journal_not_wal"].level is Level.ERROR


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE log (position, received)", "INSERT INTO log VALUES (2, 1800000001001)"),
        ("CREATE TABLE head (clock)", "INSERT INTO head VALUES ('1800000060000')"),
    ],
)
def test_a_clock_behind_the_newest_event_is_an_error(
    data: Path, statements: tuple[str, ...]
) -> None:
    _store(data, *statements)
    assert _examine(None, data, None)["clock_behind"].level is Level.ERROR


def test_a_store_without_these_tables_says_nothing_of_the_clock(data: Path) -> None:
    _store(data, "CREATE TABLE head (clock)", "INSERT INTO head VALUES ('soon')")
    assert not {"clock", "clock_behind"} & _examine(None, data, None).keys()


def test_a_store_that_is_no_database_is_an_error(data: Path) -> None:
    (data / "front.db").write_bytes(b"not a database" * 100)
    assert _examine(None, data, None)["store_unreadable"].level is Level.ERROR


def test_the_store_is_not_written_to(data: Path) -> None:
    _store(data)
    before = (data / "front.db").read_bytes()
    _examine(None, data, None)
    assert (data / "front.db").read_bytes() == before
