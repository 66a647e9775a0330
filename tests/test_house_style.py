"""The budgets of the house: sizes, names, docstrings, exceptions to the linter, safe compares."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("consent", "gateway", "segments")
MAX_MODULE = 600
MAX_FUNCTION = 60
MAX_PARAMETERS = 6
MAX_DOCSTRING = 8
MAX_TYPE_IGNORES = 30
DRAWERS = re.compile(r"(util|helper)\w*|common|base|manager|service|misc")
SECRETS = re.compile(r"(^|_)(mac|hmac|sig|signature|token|digest|hexdigest)$")
NOQA = re.compile(r"#\s*noqa(?P<codes>:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?(?P<reason>.*)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _files(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "node_modules" not in path.parts)


OURS = _files(*PACKAGES)
ALL = _files(*PACKAGES, "tests", "benchmarks")


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=_id(path))


def _functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, Function))


def _length(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    whole = _extent(function)
    return whole - (_extent(function.body[0]) if ast.get_docstring(function) is not None else 0)


def _extent(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _parameters(function: Function) -> int:
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in names)


def _is_plain_init_statement(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        return all(isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets)
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _secret_name(node: ast.expr) -> str:
    """Return the name a compared value goes by, if it is one that must not be compared with ==."""
    if isinstance(node, ast.Call):
        node = node.func
    name = ""
    if isinstance(node, ast.Name):
        name = node.id
    elif isinstance(node, ast.Attribute):
        name = node.attr
    return name if SECRETS.search(name) else ""


def _unsafe_compares(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        literal = any(isinstance(side, ast.Constant) for side in sides)
        equality = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        names = [name for side in sides if (name := _secret_name(side))]
        if names and equality and not literal:
            found.append(f"line {node.lineno}: {names[0]}")
    return found


def _unexplained(text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = NOQA.search(line)
        if match and not (match["codes"] and re.search(r"\w+\W+\w+|[a-z]{5,}", match["reason"])):
            found.append(f"line {number}")
    return found


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_module_fits_its_budget(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_MODULE


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_functions_fit_on_one_screen(path: Path) -> None:
    assert [f.name for f in _functions(path) if _length(f) > MAX_FUNCTION] == []


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_functions_take_few_parameters(path: Path) -> None:
    found = (f for f in _functions(path) if not _is_command(f))
    assert [f.name for f in found if _parameters(f) > MAX_PARAMETERS] == []


def _is_command(function: Function) -> bool:
    """Say whether typer reads the parameters as options: one parameter each, however many."""
    return any(".command(" in ast.unparse(decorator) for decorator in function.decorator_list)


@pytest.mark.parametrize("path", OURS, ids=_id)
def test_module_says_briefly_what_it_answers(path: Path) -> None:
    docstring = ast.get_docstring(_tree(path))
    assert docstring
    lines = [line for line in docstring.splitlines() if line.strip()]
    # The trees of errors.py are drawings, not prose.
    assert path.name == "errors.py" or len(lines) <= MAX_DOCSTRING


@pytest.mark.parametrize("path", [p for p in OURS if p.name == "__init__.py"], ids=_id)
def test_package_file_holds_only_imports_and_names(path: Path) -> None:
    assert all(_is_plain_init_statement(node) for node in _tree(path).body)


def test_no_module_is_a_drawer() -> None:
    assert [_id(p) for p in ALL if any(DRAWERS.fullmatch(part) for part in _names(p))] == []


def _names(path: Path) -> list[str]:
    return [*path.relative_to(ROOT).parts[:-1], path.stem.removeprefix("test_")]


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_each_linter_exception_carries_its_reason(path: Path) -> None:
    assert _unexplained(path.read_text("utf-8")) == []


def test_type_checker_exceptions_stay_within_the_budget() -> None:
    ignore = re.compile(r"#\s*type:\s*ignore")
    counts = {_id(p): len(ignore.findall(p.read_text("utf-8"))) for p in ALL}
    assert sum(counts.values()) <= MAX_TYPE_IGNORES, {k: v for k, v in counts.items() if v}


@pytest.mark.parametrize("path", _files("consent", "gateway"), ids=_id)
def test_secrets_are_not_compared_with_equals(path: Path) -> None:
    assert _unsafe_compares(_tree(path)) == []


@pytest.mark.parametrize(
    "line", ["mac == other", "a.signature != b", "sent_token == kept", "x == h.hexdigest()"]
)
def test_the_compare_rule_sees_a_violation(line: str) -> None:
    assert _unsafe_compares(ast.parse(line))


@pytest.mark.parametrize("rest", ["", ": S101", ": S101 ok", " without a code"])
def test_the_reason_rule_sees_a_violation(rest: str) -> None:
    assert _unexplained("x = 1  # no" + "qa" + rest)
