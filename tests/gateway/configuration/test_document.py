"""Lines of keys in a TOML text."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.document import KeyPath, locate


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("\n# [a]\n[a]\nb = 1", ("a", "b"), 4),
        ("[a.b]\nc = 1\n[a.d]\nc = 2", ("a", "d", "c"), 4),
        ("[a.b]\nc = 1\n[a.d]\nc = 2", ("a",), 1),
        ("a.b.c = 1", ("a", "b", "c"), 1),
        ("[ a . 'b c' ]\n\"d\\u0065\" = 1", ("a", "b c", "de"), 2),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ('a = """x"""""\nb = 2', ("b",), 2),
        ("a = '''\nb = 1\\'''\nb = 2", ("b",), 3),
        ('a = "]# \\" }"\nb = 2', ("b",), 2),
        ("a = [ # ]\n 1, [2,\n 3],\n]\nb = 2", ("b",), 5),
        ("a = { b = 1, c.d = { e = [] } }\nf = 1", ("a", "c", "d", "e"), 1),
        ("a = [\n {b = 1},\n {c = 2},\n]", ("a", "c"), 3),
        ("[[a]]\nb = 1\n[[a]]\nc = 1", ("a", "c"), 4),
        ("a = 1979-05-27 07:32:00.5+01:00 # x\nb = -1.5e+3\nc = true", ("c",), 3),
        ("a = 1\r\n[b]\r\nc = 1\r\n", ("b", "c"), 3),
    ],
)
def test_a_key_is_found_on_its_line(text: str, path: KeyPath, line: int) -> None:
    tomllib.loads(text)
    assert locate(text)[path] == line


_NAMES = st.sampled_from(["a", "b-c", "'d e'", '"f\\"g"', '""'])
_SCALARS = st.sampled_from(
    ["1", "-2.5", "true", "1979-05-27", '"x # ]"', "'''y\n] z'''", '"""\n{ a = 1"""']
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda found: "[\n" + ", # c\n".join(found) + "\n]"),
        st.dictionaries(_NAMES, inner, max_size=3).map(
            lambda found: "{" + ", ".join(f"{key} = {value}" for key, value in found.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@st.composite
def _texts(draw: st.DrawFn) -> str:
    lines = []
    for table in draw(st.lists(_NAMES, unique=True, max_size=4)):
        lines.append(f"[{table}]")
        for key, value in draw(st.dictionaries(_NAMES, _VALUES, max_size=3)).items():
            lines += draw(st.lists(st.sampled_from(["", "# a = 1"]), max_size=2))
            lines.append(f"{key} = {value}")
    return "\n".join(lines)


def _paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, path)


@given(_texts())
def test_exactly_the_keys_of_the_parser_are_found(text: str) -> None:
    assert set(locate(text)) == set(_paths(tomllib.loads(text)))


@given(_texts())
def test_each_key_stands_on_the_line_named(text: str) -> None:
    lines = text.splitlines()
    for path, line in locate(text).items():
        written = path[-1].replace('"', '\\"')
        assert written in lines[line - 1]
