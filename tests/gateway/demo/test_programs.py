"""The demo deletes only what is its own, finds ports, and takes its programs along."""

import fcntl
import os
import socket
from pathlib import Path

import pytest

from gateway.demo import programs
from gateway.demo.programs import DemoError, Programs, free_port, fresh_folder


def test_a_folder_of_the_demo_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "demo"
    fresh_folder(folder)
    (folder / "old").write_text("x")
    fresh_folder(folder)
    assert [path.name for path in folder.iterdir()] == [".einlass-demo"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(DemoError, match="not made by the demo"):
        fresh_folder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_whose_server_runs_is_left_alone(tmp_path: Path) -> None:
    fresh_folder(tmp_path)
    lock = tmp_path / "data" / "serve.lock"
    lock.parent.mkdir()
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DemoError, match="another demo"):
            fresh_folder(tmp_path)
    fresh_folder(tmp_path)
    assert not lock.exists()


def test_a_port_in_use_is_replaced_by_a_free_one() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        taken = busy.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with Programs(tmp_path) as running, pytest.raises(DemoError, match="events list failed"):
        running.run("events", "list", "--data", str(tmp_path / "nowhere"))


def test_a_program_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    with Programs(tmp_path) as running:
        running.start("server", "serve", "--config", "nowhere.toml", "--data", str(tmp_path))
        with pytest.raises(DemoError, match="no such configuration"):
            running.wait_for("server", "http://127.0.0.1:9/health/ready")


def test_a_program_that_never_answers_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_READY_SECONDS", 0.2)
    with Programs(tmp_path) as running:
        running.start("sandbox", "sandbox", "--port", str(free_port(0)))
        pid = running.pid("sandbox")
        with pytest.raises(DemoError, match="does not answer"):
            running.wait_for("sandbox", f"http://127.0.0.1:{free_port(0)}/")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_EINLASS", ("/bin/sh", "-c", "trap '' TERM; echo; sleep 60"))
    monkeypatch.setattr(programs, "_STOP_SECONDS", 0.1)
    with Programs(tmp_path) as running:
        running.start("stubborn")
        pid = running.pid("stubborn")
        while not (tmp_path / "stubborn.log").read_bytes():
            pass
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
