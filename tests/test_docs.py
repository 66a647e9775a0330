"""What a user can meet is documented: settings, plug-ins, commands, errors, decisions, links."""

import importlib
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from gateway.configuration.schema import TABLES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "adr").glob("*.md"))
ADR_PARTS = ["Context", "Decision", "Not chosen", "Consequences", "Check"]


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def _headings(text: str) -> set[str]:
    return {match.strip("` ") for match in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def _section(text: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def _commands(command: object, path: str) -> Iterator[str]:
    """Yield the full name of each command that does something; hidden ones are not for users."""
    children: Mapping[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")
    if not children and not getattr(command, "hidden", False):
        yield path


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(path: Path) -> set[str]:
    return {_anchor(heading) for heading in _headings(path.read_text("utf-8"))}


def _broken_links(path: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (path.parent / name).resolve() if name else path
        if not linked.exists() or (anchor and anchor not in _anchors(linked)):
            yield target


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_setting_is_documented(table: str) -> None:
    section = _section(_page("settings.md"), f"`[{table}]`" if table else "Top level")
    assert section, f"docs/settings.md has no section for [{table}]"
    keys = [key for key in TABLES[table] if not (table == "" and _is_table(key))]
    assert [key for key in keys if f"| `{key}` |" not in section] == []


def _is_table(key: str) -> bool:
    return any(table.partition(".")[0] == key for table in TABLES) or key == "categories"


@pytest.mark.parametrize("group", ["adapters", "destinations"])
def test_every_plug_in_has_its_page(group: str) -> None:
    for entry in entry_points(group=f"einlass.{group}"):
        page = DOCS / group / f"{entry.module.rpartition('.')[2]}.md"
        assert page.is_file(), f"{page.relative_to(ROOT)} is missing"
        assert f"`{entry.name}`" in page.read_text("utf-8"), f"{page.name} does not name its kind"


def test_every_command_has_a_heading() -> None:
    app: typer.Typer = importlib.import_module("gateway.cli").app
    names = set(_commands(typer.main.get_command(app), "einlass"))
    assert names - _headings(_page("cli.md")) == set()


def test_no_heading_names_a_command_that_is_gone() -> None:
    app: typer.Typer = importlib.import_module("gateway.cli").app
    names = set(_commands(typer.main.get_command(app), "einlass"))
    documented = {name for name in _headings(_page("cli.md")) if name.startswith("einlass ")}
    assert documented - names == set()


@pytest.mark.parametrize("package", ["consent", "gateway", "segments"])
def test_every_error_has_a_heading(package: str) -> None:
    module = importlib.import_module(f"{package}.errors")
    assert set(module.__all__) - _headings(_page("errors.md")) == set()


def test_no_heading_names_an_error_that_is_gone() -> None:
    modules = [
        importlib.import_module(f"{name}.errors") for name in ("consent", "gateway", "segments")
    ]
    known = {name for module in modules for name in module.__all__}
    documented = {name for name in _headings(_page("errors.md")) if name.endswith("Error")}
    assert documented - known == set()


@pytest.mark.parametrize("path", PAGES, ids=_id)
def test_links_lead_somewhere(path: Path) -> None:
    assert list(_broken_links(path)) == []


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=_id)
def test_decision_has_its_five_parts_and_a_place_in_the_index(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ADR_PARTS
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert f"adr/{path.name}" in _page("index.md")
