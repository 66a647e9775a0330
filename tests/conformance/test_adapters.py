"""Every installed adapter against its example files: bytes in, observations and answer out.

A case is a folder ``tests/vectors/adapters/NAME/CASE`` (see the README.md beside them).
"""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consent.observation import Observation
from consent.outcome import Outcome
from consent.policy import SourcePolicy, Trust
from gateway.adapter import Adapter, Payload, load_adapters
from gateway.errors import MalformedPayloadError

VECTORS = Path(__file__).parents[1] / "vectors" / "adapters"
PAGES = Path(__file__).parents[2] / "docs" / "adapters"
ADAPTERS: Mapping[str, Adapter] = {adapter.name: adapter for adapter in load_adapters()}
CASES = sorted(path.parent for path in VECTORS.glob("*/*/request.http"))
SOURCE = SourcePolicy("web", "shop", Trust.PUBLIC)


def _id(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


def _expected(case: Path) -> dict[str, Any]:
    return dict(json.loads((case / "observations.json").read_text("utf-8")))


def _payload(case: Path, received: int) -> Payload:
    head, _, body = (case / "request.http").read_bytes().partition(b"\n\n")
    first, *lines = head.decode().splitlines()
    path, _, query = first.split()[1].partition("?")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Payload(
        path=path.rstrip("/"),
        query=query,
        headers=headers,
        body=body,
        source=SOURCE,
        region="DE",
        received=received,
    )


def _plain(observation: Observation) -> dict[str, Any]:
    """Show an observation as the example files do: what is empty is left out."""
    place = observation.place
    carried = observation.carried
    whole: dict[str, Any] = {
        "name": observation.name,
        "t": observation.t,
        "message_id": observation.message_id,
        "identifiers": {each.type.value: each.value for each in observation.identifiers},
        "previous": observation.previous and observation.previous.value,
        "proof": observation.proof,
        "categories": dict(carried.categories),
        "gpc": carried.gpc,
        "malformed": carried.malformed,
        "session": observation.session,
        "properties": dict(observation.properties),
        "traits": dict(observation.traits),
        "contact": {each.type.value: each.value for each in observation.contact},
        "place": {
            name: text for name in ("url", "referrer", "title") if (text := getattr(place, name))
        },
        "touch": dict(observation.touch.values),
        "invalid": observation.invalid,
    }
    return {name: value for name, value in whole.items() if value or name == "t"}


def test_every_adapter_has_examples() -> None:
    assert {case.parent.name for case in CASES} == ADAPTERS.keys()


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_request_becomes_the_observations_of_its_example(case: Path) -> None:
    expected = _expected(case)
    payload = _payload(case, expected["received"])
    adapter = ADAPTERS[case.parent.name]
    if "malformed" in expected:
        with pytest.raises(MalformedPayloadError) as caught:
            adapter.parse(payload)
        assert caught.value.field == expected["malformed"]
    else:
        assert [_plain(each) for each in adapter.parse(payload)] == expected["observations"]


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_request_names_the_write_key_of_its_example(case: Path) -> None:
    payload = _payload(case, 0)
    found = ADAPTERS[case.parent.name].write_key(
        payload.path, payload.query, payload.headers, payload.body
    )
    assert found == _expected(case)["write_key"]


@pytest.mark.parametrize(
    "case", [each for each in CASES if (each / "reply.json").exists()], ids=_id
)
def test_answer_is_that_of_its_example(case: Path) -> None:
    expected = json.loads((case / "reply.json").read_text("utf-8"))
    outcomes = [Outcome(name) for name in expected["outcomes"]]
    reply = ADAPTERS[case.parent.name].reply(_payload(case, 0), outcomes)
    assert (reply.status, json.loads(reply.body)) == (expected["status"], expected["body"])


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_observations_obey_the_contract(case: Path) -> None:
    expected = _expected(case)
    if "malformed" in expected:
        return
    for each in ADAPTERS[case.parent.name].parse(_payload(case, expected["received"])):
        assert each.t <= each.received == expected["received"]
        assert each.source == "web"
        assert len({identifier.type for identifier in each.identifiers}) == len(each.identifiers)
        with pytest.raises(TypeError):
            pickle.dumps(each)


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))
def test_routes_are_distinct_and_without_trailing_slash(adapter: Adapter) -> None:
    paths = [(route.method, route.path) for route in adapter.routes]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("/") and not path.endswith("/") for _, path in paths)


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_page_of_the_adapter_lists_the_example(case: Path) -> None:
    assert f"| `{case.name}` |" in (PAGES / f"{case.parent.name}.md").read_text("utf-8")


@pytest.mark.parametrize("name", ADAPTERS)
def test_examples_printed_on_the_page_are_the_files(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text("utf-8")
    printed = re.findall(r"^```(?:http|json)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    files = {path.read_text("utf-8").rstrip() for path in (VECTORS / name).glob("*/*")}
    assert printed
    assert {block.rstrip() for block in printed} <= files
