"""Each module says what is public: ``__all__`` is sorted, and complete."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Run, never imported for their names; Alembic fixes the names in a migration.
EXEMPT = {"__init__.py", "__main__.py"}
MODULES = sorted(
    path
    for package in ("consent", "gateway", "segments")
    for path in (ROOT / package).rglob("*.py")
    if path.name not in EXEMPT and "migrations" not in path.parts
)


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _targets(node: ast.stmt) -> list[str]:
    """Return the names that one top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return []


def _declared(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        # An empty one needs an annotation to have a type.
        if isinstance(node, ast.Assign | ast.AnnAssign) and _targets(node) == ["__all__"]:
            names: list[str] = ast.literal_eval(node.value) if node.value else []
            return names
    return None


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order the linter keeps."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


def _faults(source: str) -> list[str]:
    """Say everything that is wrong with a module's public names."""
    tree = ast.parse(source)
    declared = _declared(tree)
    if declared is None:
        return ["no __all__"]
    defined = {name for node in tree.body for name in _targets(node)}
    imported = {name for node in tree.body for name in _imported(node)}
    public = {name for name in defined if not name.startswith("_")}
    faults = [f"not in __all__: {name}" for name in sorted(public - set(declared))]
    faults += [f"not defined: {name}" for name in sorted(set(declared) - defined - imported)]
    if len(set(declared)) != len(declared) or declared != sorted(declared, key=_order):
        faults.append("not sorted, or a name twice")
    return faults


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_all_names_exactly_what_is_public(path: Path) -> None:
    assert _faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "def open_door(): ...",
        "__all__ = []\ndef open_door(): ...",
        "__all__ = ['gone']",
        "__all__ = ['b', 'a']\na = b = 1",
        "__all__ = ['a', 'a']\na = 1",
    ],
)
def test_the_rule_sees_a_violation(source: str) -> None:
    assert _faults(source)
