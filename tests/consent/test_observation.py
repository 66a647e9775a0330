"""A raw event shows nothing of itself and does not leave its request."""

import json
import pickle
from collections.abc import Callable

import msgspec
import pytest

from consent.observation import Observation, Place, Touch
from tests.factories import an_observation, user

CANARY = "anna@example.org"
RAW = an_observation(
    identifiers=(user(CANARY),),
    message_id=CANARY,
    session=CANARY,
    properties={CANARY: CANARY},
    traits={"email": CANARY},
    place=Place(CANARY, CANARY, CANARY),
    touch=Touch({"source": CANARY}),
)


@pytest.mark.parametrize("shown", [repr, str, "{}".format, lambda it: repr([it, {1: it}])])
def test_no_value_is_shown(shown: Callable[[object], str]) -> None:
    assert CANARY not in "".join(map(shown, (RAW, RAW.place, RAW.touch, RAW.identifiers)))


@pytest.mark.parametrize(
    "leak", [pickle.dumps, json.dumps, msgspec.json.encode, msgspec.msgpack.encode]
)
def test_it_cannot_be_serialised(leak: Callable[[Observation], object]) -> None:
    with pytest.raises(TypeError):
        leak(RAW)
