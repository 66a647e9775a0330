"""The data directory: whose it is, what it remembers, and who may read it."""

import os
import threading
import time
from pathlib import Path

import pytest

from gateway import datadir
from gateway.datadir import DataDir
from gateway.errors import SettingsError, StoreError, StoreLockedError


def test_a_new_directory_is_closed_to_others_and_has_a_token(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.prepare()
    assert data.path.stat().st_mode & 0o777 == 0o700
    assert data.admin_token.stat().st_mode & 0o777 == 0o400
    assert len(data.admin_token.read_text().strip()) >= 32


def test_the_token_is_made_once(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.prepare()
    token = data.admin_token.read_text()
    data.prepare()
    assert data.admin_token.read_text() == token


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        DataDir(tmp_path / "file" / "data").prepare()


def test_every_file_lies_inside(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    names = ("front", "keys", "back", "warehouse", "engine_socket", "courier_socket")
    files = [getattr(data, name) for name in (*names, "courier_lock", "admin_token")]
    assert {path.parent for path in files} == {tmp_path}
    assert len(set(files)) == len(files)


def test_a_second_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datadir, "_LOCK_SECONDS", 0.05)
    data = DataDir(tmp_path)
    data.own()
    with pytest.raises(StoreLockedError):
        data.own()


def test_a_server_that_is_just_ending_is_waited_for(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    first = data.own()
    threading.Timer(0.05, os.close, [first]).start()
    began = time.monotonic()
    os.close(data.own())
    assert time.monotonic() - began < 2


def test_what_was_noted_is_found_again(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.remember(tmp_path / "einlass.toml", tmp_path / "keys")
    data.remember(tmp_path / "other.toml", tmp_path / "keys")
    assert data.recall() == (tmp_path / "other.toml", tmp_path / "keys")
    assert not (tmp_path / "paths.json.new").exists()


@pytest.mark.parametrize("text", [None, "", "{}", '{"config": "x"}', "\xff"])
def test_where_nothing_readable_is_noted_it_says_what_to_give(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "paths.json").write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match="--config"):
        DataDir(tmp_path).recall()
