"""What every test may rely on: outside programs found or demanded, and the coverage floors.

A program that a test needs is required where ``CI=true`` and skipped with a reason elsewhere.
The floors stand in pyproject.toml under ``[tool.einlass.coverage]`` and hold for whole runs.
"""

import io
import os
import shutil
import tomllib
from collections.abc import Callable, Generator
from pathlib import Path

import coverage
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# The machine is shared: a wall-clock deadline per example would only find busy neighbours.
settings.register_profile("einlass", deadline=None, print_blob=True)
settings.load_profile("einlass")

_below_floor = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """Return ``require(program)``: its path; a missing one fails in CI and skips elsewhere."""

    def found(program: str) -> str:
        path = shutil.which(program)
        if path is not None:
            return path
        reason = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI needs it: see .ci/run")
        pytest.skip(reason)

    return found


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root folder."""
    return ROOT


def _floors() -> dict[str, float]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["einlass"]
    return {pattern: float(floor) for pattern, floor in table["coverage"].items()}


def _misses() -> list[str]:
    measured = coverage.Coverage(data_file=str(ROOT / ".coverage"), config_file=True)
    measured.load()
    found = []
    for pattern, floor in _floors().items():
        reached = measured.report(include=[str(ROOT / pattern)], file=io.StringIO())
        if reached < floor:
            found.append(f"coverage of {pattern} is {reached:.2f} %, the floor is {floor:g} %")
    return found


# First of the wrappers, so its second half runs last: pytest-cov has combined the data by then.
# In this hook a shortfall still decides the exit status, and pytest's summary stays the end.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    result = yield
    if _is_whole_run(session.config):
        session.config.stash[_below_floor] = _misses()
        session.testsfailed += len(session.config.stash[_below_floor])
    return result


def _is_whole_run(config: pytest.Config) -> bool:
    option = config.option
    narrowed = config.args_source is pytest.Config.ArgsSource.ARGS or option.keyword
    measured = config.pluginmanager.hasplugin("_cov") and not option.no_cov
    return measured and not (narrowed or option.markexpr or option.collectonly)


@pytest.hookimpl(trylast=True)  # below the table of pytest-cov, above the summary
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(_below_floor, []):
        terminalreporter.write_line(f"FAILED {line}", red=True)
