"""Reading one's own consent: with the secret or a server key, and never a hint to others."""

from functools import partial
from typing import Any

import pytest

from consent.identifiers import Identifier
from gateway.errors import ForbiddenError
from tests.factories import Entrance, an_act, an_observation, at_the_door, device, user


async def read(
    entrance: Entrance, one: Identifier, secret: str | None = None, *, trusted: bool = False
) -> dict[str, Any]:
    source = entrance.policy.sources["web"]
    return await entrance.door.admit(
        partial(entrance.history.read, source, (one, secret, trusted)), reserved=True
    )


@at_the_door
async def test_the_device_reads_its_answers_and_their_records(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, storage=False))
    await entrance.choose(device(), act=an_act(analytics=False), secret="secret-1")
    found = await read(entrance, device(), "secret-1")
    assert found["answers"] == {"analytics": False, "storage": False}
    assert [(one["index"], one["answers"]["analytics"]) for one in found["history"]] == [
        (2, False),
        (1, True),
    ]


@at_the_door
async def test_a_server_key_reads_it_too(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    assert (await read(entrance, device(), trusted=True))["answers"] == {"analytics": True}


@pytest.mark.parametrize("secret", [None, "", "wrong"])
@pytest.mark.parametrize("one", [device(), device("unknown"), device("refused"), user()])
@at_the_door
async def test_others_get_one_answer_whether_or_not_the_id_is_known(
    entrance: Entrance, one: Identifier, secret: str | None
) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    await entrance.choose(device("refused"), act=an_act(analytics=False))
    await entrance.choose(user(), act=an_act(analytics=True), source="backend")
    with pytest.raises(ForbiddenError) as caught:
        await read(entrance, one, secret)
    assert str(caught.value) == "reading needs the device secret"


@at_the_door
async def test_a_refusal_kept_under_an_id_is_read_and_the_door_goes_on(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=False))
    found = await read(entrance, device(), trusted=True)
    assert found == {"answers": {"analytics": False}, "history": []}
    with pytest.raises(ForbiddenError):
        await read(entrance, device())
    assert (await entrance.outcome(an_observation()))[0] == "refused"


@at_the_door
async def test_of_someone_unknown_there_is_nothing_to_read(entrance: Entrance) -> None:
    found = await read(entrance, device("unknown"), trusted=True)
    assert found == {"answers": {}, "history": []}
