"""The front's application: routes, and a lifespan that commits what waits before it ends."""

import asyncio
from pathlib import Path

import pytest

from tests.factories import rows
from tests.gateway.http.front import Front, a_front, at_the_front, choice


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/track", 404),
        ("GET", "/v1/consent/withdraw", 405),
        ("DELETE", "/v1/consent", 405),
        ("GET", "/v1/balance", 404),
        ("GET", "/metrics", 404),
        ("POST", "/health/live", 405),
    ],
)
@at_the_front
async def test_only_what_belongs_to_the_collector_is_served(
    front: Front, method: str, path: str, status: int
) -> None:
    assert (await front.client.request(method, path)).status_code == status


def test_a_choice_survives_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with a_front(tmp_path) as front:
            secret = (await front.choose(choice())).json()["device_secret"]
        async with a_front(tmp_path) as front:
            found = await front.read(anonymous_id="d1", secret=secret)
            assert found.json()["answers"]["analytics"] is True

    asyncio.run(run())
    assert rows(tmp_path / "data" / "front.db", "SELECT count(*) FROM records") == [(1,)]
