"""A policy contradicts nothing, and its version changes with whatever a decision rests on."""

from typing import Any

import pytest

from consent.errors import InvalidPolicyError
from consent.policy import Regime, SitePolicy, SourcePolicy, Trust
from consent.purposes import LEAVES
from tests.factories import a_policy

UNKNOWN = frozenset({"tracking"})


@pytest.mark.parametrize(
    "change",
    [
        {"default": UNKNOWN},
        {"events": {"order_completed": UNKNOWN}},
        {"categories": {"all": UNKNOWN}},
        {"offers": {"web": UNKNOWN}},
        {"fields": {"coupon": UNKNOWN}},
    ],
)
def test_an_undeclared_purpose_makes_the_policy_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicyError, match="tracking"):
        a_policy(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"leaves": {name: LEAVES[name] for name in list(LEAVES)[:-1]}},
        {"categories": {}},
        {"offers": {}},
        {"events": {}},
        {"default": frozenset({"analytics"})},
        {"properties": frozenset()},
        {"traits": frozenset()},
        {"contact": frozenset()},
        {"fields": {"coupon": frozenset({"analytics"})}},
        {"paths": ()},
        {"sites": {"shop": SitePolicy("shop", "x.example", "UTC", Regime.OPT_OUT)}},
        {"sources": {"web": SourcePolicy("web", "shop", Trust.PUBLIC, frozenset({"analytics"}))}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_version_names_everything_that_was_declared(change: dict[str, Any]) -> None:
    assert a_policy(**change).version != a_policy().version


def test_the_version_does_not_depend_on_the_order_of_declaration() -> None:
    turned = dict(reversed(list(a_policy().categories.items())))
    assert a_policy(categories=turned).version == a_policy().version


def test_a_version_that_is_given_stays() -> None:
    assert a_policy(version="1").version == "1"


def test_an_unknown_event_uses_the_default() -> None:
    policy = a_policy()
    assert policy.declared_for("never_heard_of") == policy.default
