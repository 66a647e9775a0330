"""What the installed SDKs send today is what the example files say, retries included."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from consent.observation import Observation
from consent.policy import SourcePolicy, Trust
from gateway.adapter import Payload
from gateway.adapters.segment import SegmentAdapter
from tests.sdk.recorder import Recorded, recorder
from tests.sdk.runners import CALLS, deliver

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parent / "vectors" / "adapters" / "segment"
RECEIVED = 1_795_251_601_000


def _parsed(request: Recorded) -> Sequence[Observation]:
    payload = Payload(
        path=request.path,
        query="",
        headers=request.headers,
        body=request.body,
        source=SourcePolicy("backend", "shop", Trust.SERVER),
        region="DE",
        received=RECEIVED,
    )
    return SegmentAdapter().parse(payload)


def test_sdk_sends_what_the_example_holds(sdk: str) -> None:
    with recorder() as running:
        deliver(sdk, running.url, "sk_test", CALLS)
    expected = json.loads((EXAMPLES / f"{sdk}-sdk-batch" / "observations.json").read_text("utf-8"))
    found = [
        (each.message_id, each.name, each.properties)
        for request in running.requests
        for each in _parsed(request)
    ]
    assert found == [
        (each["message_id"], each["name"], each.get("properties", {}))
        for each in expected["observations"]
    ]


def test_sdk_repeats_an_event_so_that_it_is_known_again(sdk: str) -> None:
    with recorder([503]) as running:
        deliver(sdk, running.url, "sk_test", CALLS[:2])
    failed, *repeated = [
        {each.message_id for each in _parsed(request)} for request in running.requests
    ]
    assert failed <= set().union(*repeated)


def test_sdk_reports_a_failed_delivery(sdk: str) -> None:
    # The control of the other tests: a failed answer is seen, so silence means success.
    with recorder([400]) as running, pytest.raises(AssertionError):
        deliver(sdk, running.url, "sk_test", CALLS[:1])
    assert len(running.requests) == 1


def test_lock_of_the_node_packages_names_no_address() -> None:
    text = (FOLDER / "node" / "package-lock.json").read_text("utf-8")
    assert "http" not in text
    assert all("integrity" in each for name, each in json.loads(text)["packages"].items() if name)
