"""The repository stands alone: no registry addresses, no machine's paths, nothing unfinished."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")

# Character classes keep these patterns from finding themselves.
FORBIDDEN = {
    "registry host": r"\bpypi\.\w+|python[h]osted|registry\.(npm|yarn)|\b(deb|security)\.debian\.",
    "path of a machine": r"/(work|root)/[\w.]+",
    "page outside the repository": r"\.\./shared\b"
    r"|\b(design|contracts?|style|reliability|protocols|platforms)(\.md| section \d)",
    "unfinished place": r"\b(T[O]DO|F[I]XME|X[X]X)\b|NotImplemented[E]rror",
    "author that is no person": r"\b([Ss]ub-?agent|[Cc]laude|[Cc]hat[G]PT|language [m]odel)\b",
}
_REQUIREMENT = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)(\[[^\]]*\])?==(?P<version>\S+)")


@cache
def _tracked() -> tuple[Path, ...]:
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def _text(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def _hits(pattern: str, paths: tuple[Path, ...]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(_text(path).splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    return found


def _locked(name: str) -> dict[str, set[str]]:
    """Return the packages of one lock file: name → versions (one for each Python range)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        match = _REQUIREMENT.match(line)
        if match:
            found.setdefault(match["name"], set()).add(match["version"])
    return found


def _canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_file_names(what: str, require: Callable[[str], str]) -> None:
    require("git")
    assert _hits(FORBIDDEN[what], _tracked()) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("registry host", "https://" + "pypi." + "example/simple"),
        ("path of a machine", "/" + "root/checkout"),
        ("page outside the repository", "see design" + ".md"),
        ("unfinished place", "# TO" + "DO later"),
        ("author that is no person", "a sub" + "agent wrote this"),
    ],
)
def test_each_rule_sees_a_violation(what: str, text: str) -> None:
    assert re.search(FORBIDDEN[what], text)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text("utf-8"))
    entries = [block for block in blocks if _REQUIREMENT.match(block)]
    assert entries
    assert [block.splitlines()[0] for block in entries if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_file_names_no_address(name: str) -> None:
    assert _hits(r"://|^-", (ROOT / name,)) == []


def test_runtime_lock_is_part_of_the_development_lock() -> None:
    runtime, development = (_locked(name) for name in LOCKS)
    assert {name: v for name, v in runtime.items() if development.get(name) != v} == {}


def test_every_declared_package_is_locked() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [declared["project"]["dependencies"], *declared["dependency-groups"].values()]
    groups += declared["project"]["optional-dependencies"].values()
    wanted = {_canonical(item) for group in groups for item in group if isinstance(item, str)}
    assert wanted - _locked("requirements-dev.lock").keys() == set(), "run `make lock`"
    needed = {_canonical(item) for item in declared["project"]["dependencies"]} | {"setuptools"}
    assert needed - _locked("requirements.lock").keys() == set(), "run `make lock`"


def test_node_lock_files_name_no_address(require: Callable[[str], str]) -> None:
    require("git")
    for path in _tracked():
        if path.name == "package-lock.json":
            packages = json.loads(path.read_text("utf-8"))["packages"]
            assert [key for key, value in packages.items() if "resolved" in value] == []


def test_ci_script_can_be_run() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
