"""The demo end to end, for fewer people: all is well, or it says what is amiss."""

import io
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from gateway.demo import run
from gateway.demo.run import run_demo


def _demo(folder: Path, *, people: int = 500, exit_after: bool = True) -> tuple[int, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    status = run_demo(exit_after=exit_after, console=console, folder=folder, people=people)
    return status, stream.getvalue()


@pytest.mark.slow
def test_a_week_reaches_the_platforms_and_three_withdrawals_are_removed(tmp_path: Path) -> None:
    status, text = _demo(tmp_path / "demo")
    assert status == 0, text
    assert "residue 0" in text
    for reason in ("consent_refused", "consent_unknown", "consent_withdrawn"):
        assert reason in text
    assert re.search(r"had removed them\s+\d+ ms\s+after", text)
    counts = re.findall(r"│ (?:meta|google) +│ +\d+ │ +(\d+) │ +(\d+) │", text)
    assert len(counts) == 2
    assert all(int(before) - int(now) == 3 for before, now in counts)


def test_a_demo_without_an_audience_is_amiss_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_one(shop: run._Shop, _bar: object) -> None:
        shop.report.entered += 1

    monkeypatch.setattr(run, "_import_purchases", lose_one)
    monkeypatch.setattr(run, "_evaluate", lambda _shop, _bar: None)
    status, text = _demo(tmp_path / "demo", people=20)
    assert status == 1
    assert "meta received nobody" in text
    assert "fewer than three members" in text
    assert re.search(r"\d+ events went in, \d+ have an outcome", text)


def test_ctrl_c_half_way_takes_the_programs_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_shop: object, _bar: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_send_week", interrupted)
    status, text = _demo(tmp_path / "demo")
    assert (status, "stopped" in text) == (1, True)
    assert '"child_exited"' in (tmp_path / "demo" / "server.log").read_text()


def test_a_folder_of_somebody_else_stops_the_demo(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    status, text = _demo(tmp_path)
    assert status == 1
    assert "not made by the demo" in text


def test_ctrl_c_and_sigterm_end_the_server_that_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_send_week", "_import_purchases", "_evaluate", "_sync", "_withdraw", "_settle"):
        monkeypatch.setattr(run, name, lambda _shop, _bar: None)
    folder = tmp_path / "demo"
    stream = io.StringIO()

    def end() -> None:
        while "Ctrl-C" not in stream.getvalue():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    console = Console(file=stream, width=120)
    assert run_demo(exit_after=False, console=console, folder=folder) == 0
    assert "The server runs on. Collector: http://127.0.0.1:" in stream.getvalue()
    assert '"child_exited"' in (folder / "server.log").read_text()
