"""Readiness says what is amiss."""

import asyncio
import json

import pytest
from starlette.requests import Request

from gateway.http.health import live, ready

REQUEST = Request({"type": "http"})


@pytest.mark.parametrize(("amiss", "status"), [("", 200), ("the store is broken", 503)])
def test_ready_is_503_with_the_reason_while_something_is_amiss(amiss: str, status: int) -> None:
    answer = ready(lambda: amiss)(REQUEST)
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)).get("reason", "") == amiss


def test_live_only_says_that_the_process_answers() -> None:
    assert asyncio.run(live(REQUEST)).status_code == 200
