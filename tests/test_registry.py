"""Files in plural folders are the registered names: one code path for ours and for others'."""

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "einlass.adapters": "gateway/adapters",
    "einlass.destinations": "segments/destinations",
    "einlass.warehouses": "segments/warehouses",
}
DECLARED: dict[str, dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
    "project"
]["entry-points"]


def _modules_in(folder: str) -> set[str]:
    files = (ROOT / folder).glob("*.py")
    return {f"{folder.replace('/', '.')}.{path.stem}" for path in files if path.stem != "__init__"}


def test_every_group_has_its_folder() -> None:
    assert DECLARED.keys() == FOLDERS.keys()


@pytest.mark.parametrize("group", sorted(FOLDERS))
def test_every_file_is_registered_and_every_name_has_a_file(group: str) -> None:
    registered = {target.partition(":")[0] for target in DECLARED[group].values()}
    assert registered == _modules_in(FOLDERS[group]), f"pyproject.toml, {group}"


@pytest.mark.parametrize("group", sorted(FOLDERS))
def test_installed_names_are_those_of_pyproject(group: str) -> None:
    found = entry_points(group=group)
    installed = {e.name: e.value for e in found if e.dist is not None and e.dist.name == "einlass"}
    assert installed == DECLARED[group], (
        "the installation is older than pyproject.toml: run `make setup`"
    )


@pytest.mark.parametrize("group", sorted(FOLDERS))
def test_every_registered_name_loads_without_arguments(group: str) -> None:
    for entry in entry_points(group=group):
        assert callable(entry.load()), entry.name
