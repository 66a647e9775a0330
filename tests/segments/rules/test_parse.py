import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segments.errors import InvalidDefinitionError
from segments.rules.parse import parse_definition, parse_definitions, read_yaml
from segments.rules.reading import MAX_DEPTH, MAX_NODES, Vocabulary
from segments.rules.tree import Definition
from tests.segments.generated import definitions

VECTORS = Path(__file__).parents[2] / "vectors" / "rules"
VALID = {d.name: d for d in read_yaml((VECTORS / "valid.yaml").read_text("utf-8"))}
INVALID = yaml.safe_load((VECTORS / "invalid.yaml").read_text("utf-8"))
VERSIONS = json.loads((VECTORS / "versions.json").read_text("utf-8"))
SHOP = Vocabulary(properties=frozenset({"color", "size", "plan"}), traits=frozenset({"region"}))


def a_definition(where: object) -> dict[str, object]:
    return {"name": "a", "purposes": ["analytics"], "where": where}


def test_every_valid_definition_has_a_pinned_version() -> None:
    assert {name: d.version for name, d in VALID.items()} == VERSIONS


@pytest.mark.parametrize("name", sorted(VALID))
def test_a_definition_reads_back_from_its_canonical_json(name: str) -> None:
    assert read_yaml(VALID[name].canonical().decode()) == (VALID[name],)


@given(asked=definitions())
def test_any_definition_reads_back(asked: tuple[Definition, ...]) -> None:
    for definition in asked:
        assert parse_definition(json.loads(definition.canonical())) == definition


@pytest.mark.parametrize("case", INVALID, ids=lambda c: f"{c['path']}: {c['message']}")
def test_a_wrong_definition_is_refused_where_it_is_wrong(case: dict[str, str]) -> None:
    with pytest.raises(InvalidDefinitionError) as refusal:
        parse_definition(case["definition"], SHOP)
    assert refusal.value.path == case["path"]
    assert case["message"] in str(refusal.value)


def test_equal_durations_have_one_version() -> None:
    minutes, hour = (
        parse_definition(a_definition({"count": {"event": "e", "last": last, "gte": 1}}))
        for last in ("60m", "1h")
    )
    assert minutes.version == hour.version


def test_a_range_of_yaml_dates_reads_like_one_of_texts() -> None:
    text = "{name: a, purposes: [analytics], where: {did: {event: e, range: [%s]}}}"
    assert read_yaml(text % "2026-01-01, 2026-01-02") == read_yaml(
        text % "'2026-01-01', '2026-01-02'"
    )


def test_a_range_of_yaml_instants_is_read() -> None:
    text = "{name: a, purposes: [analytics], where: {did: {event: e, range: [%s]}}}"
    assert read_yaml(text % "2026-01-01T00:00:00Z, 2026-01-02T00:00:00Z") == read_yaml(
        text % "'2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: not YAML"),
        ("- name: a\n  name: b", "line 1: not YAML: key given twice"),
        ("\x00", "not YAML"),
        ("[" * 3000, "not YAML"),
        ("&a [*a]", "found a list"),
        ("x" * 1_000_001, "longer than"),
        ("", "found none"),
        ("!!python/object:os.system {}", "not YAML"),
    ],
)
def test_a_text_that_is_no_definition_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=message):
        read_yaml(text)


def test_two_definitions_of_one_name_are_refused() -> None:
    item = a_definition({"did": {"event": "e"}})
    with pytest.raises(InvalidDefinitionError, match="given twice"):
        parse_definitions([item, item])


def test_nesting_has_a_limit() -> None:
    where: object = {"did": {"event": "e"}}
    for _ in range(MAX_DEPTH):
        where = {"not": where}
    with pytest.raises(InvalidDefinitionError, match="nested deeper"):
        parse_definition(a_definition(where))


def test_the_number_of_conditions_has_a_limit() -> None:
    nodes = [{"did": {"event": "e"}}] * MAX_NODES
    with pytest.raises(InvalidDefinitionError, match="more than 1000 conditions"):
        parse_definition(a_definition({"all": nodes}))


def test_the_number_of_passes_has_a_limit() -> None:
    nodes = [{"distinct": {"event": f"e{n}", "property": "color", "gte": 1}} for n in range(33)]
    with pytest.raises(InvalidDefinitionError, match="more than 32 of"):
        parse_definition(a_definition({"all": nodes}))


def test_equal_conditions_count_as_one_pass() -> None:
    node = {"distinct": {"event": "e", "property": "color", "gte": 1}}
    assert parse_definition(a_definition({"all": [node] * 40})).name == "a"


def test_a_long_text_is_refused() -> None:
    where = {"trait": {"name": "region", "eq": "x" * 1001}}
    with pytest.raises(InvalidDefinitionError, match="longer than 1000"):
        parse_definition(a_definition(where))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_is_read_or_refused_with_our_own_error(value: object) -> None:
    with pytest.raises(InvalidDefinitionError):
        parse_definition(a_definition(value))


def test_reading_definitions_needs_no_engine() -> None:
    code = "import sys, segments.rules.parse; print({'ibis','duckdb','pyarrow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
