"""Admission: what a decision rests on, in which order, and what it says."""

from typing import Any

import pytest

from consent.decision import Decision, decide
from consent.outcome import Reason
from consent.policy import SourcePolicy, Trust
from consent.signals.carried import Carried
from consent.state import Standing
from tests.factories import a_policy

WEB = SourcePolicy("web", "shop", Trust.PUBLIC)


def decided(granted: set[str], event: str = "page_viewed", **given: Any) -> Decision:  # noqa: ANN401 - parts of a case
    standing = Standing(frozenset(granted), given.get("denied", {}), 1)
    policy = given.get("policy") or a_policy()
    carried = Carried(malformed=given.get("malformed", False))
    return decide(
        policy, given.get("source", WEB), standing, carried, (event, given.get("fields", ()))
    )


def test_one_granted_purpose_of_the_declared_ones_admits() -> None:
    found = decided({"analytics", "storage"})
    assert found.admitted
    assert found.purposes == {"analytics"}


def test_what_is_granted_but_not_declared_for_the_event_does_not_admit() -> None:
    found = decided({"storage", "functional"})
    assert (found.admitted, found.reason) == (False, Reason.CONSENT_UNKNOWN)


def test_a_named_event_uses_its_own_declaration() -> None:
    assert decided({"ads_measurement"}, "order_completed").admitted
    assert not decided({"ads_measurement"}, "something_else").admitted


def test_necessary_never_admits_alone() -> None:
    policy = a_policy(default=frozenset({"necessary"}))
    assert decided({"necessary"}, policy=policy).reason is Reason.PURPOSE_UNDECLARED


def test_necessary_is_never_among_the_purposes_kept_for() -> None:
    policy = a_policy(default=frozenset({"necessary", "analytics"}))
    assert decided({"necessary", "analytics"}, policy=policy).purposes == {"analytics"}


def test_an_event_without_declared_purposes_is_refused() -> None:
    assert decided({"analytics"}, policy=a_policy(default=frozenset())).reason is (
        Reason.PURPOSE_UNDECLARED
    )


def test_a_malformed_signal_refuses_whatever_is_granted() -> None:
    assert decided({"analytics"}, malformed=True).reason is Reason.SIGNAL_MALFORMED


def test_a_source_narrows_what_is_granted() -> None:
    narrow = SourcePolicy("web", "shop", Trust.PUBLIC, frozenset({"analytics"}))
    assert decided({"analytics", "audience_sync"}, source=narrow).purposes == {"analytics"}


def test_a_source_never_adds_a_purpose() -> None:
    wide = SourcePolicy("web", "shop", Trust.PUBLIC, frozenset({"analytics", "storage"}))
    assert decided({"storage"}, source=wide).reason is Reason.CONSENT_UNKNOWN


def test_a_source_that_leaves_nothing_says_so() -> None:
    other = SourcePolicy("web", "shop", Trust.PUBLIC, frozenset({"storage"}))
    assert decided({"analytics"}, source=other).reason is Reason.SOURCE_NARROWED


@pytest.mark.parametrize(
    ("denied", "gravest"),
    [
        ([Reason.CONSENT_REFUSED, Reason.CONSENT_WITHDRAWN, Reason.GPC], Reason.GPC),
        ([Reason.CONSENT_REFUSED, Reason.CONSENT_WITHDRAWN], Reason.CONSENT_WITHDRAWN),
        ([Reason.CONSENT_REFUSED], Reason.CONSENT_REFUSED),
        ([], Reason.CONSENT_UNKNOWN),
    ],
)
def test_the_gravest_reason_is_the_one_told(denied: list[Reason], gravest: Reason) -> None:
    leaves = ("analytics", "audience_insight", "audience_sync")
    assert decided(set(), denied=dict(zip(leaves, denied, strict=False))).reason is gravest


def test_every_purpose_that_was_considered_is_named_with_its_reason() -> None:
    found = decided({"analytics"}, denied={"audience_sync": Reason.GPC})
    assert found.considered == {
        "ads_personalised": Reason.CONSENT_UNKNOWN,
        "analytics": Reason.NONE,
        "audience_insight": Reason.CONSENT_UNKNOWN,
        "audience_sync": Reason.GPC,
    }


def test_a_field_with_a_purpose_of_its_own_stays_only_for_that_purpose() -> None:
    policy = a_policy(fields={"coupon": frozenset({"audience_sync"})})
    fields = ("coupon", "size")
    assert decided({"analytics"}, policy=policy, fields=fields).fields == {"size"}
    assert decided({"audience_sync"}, policy=policy, fields=fields).fields == {"coupon", "size"}


def test_a_refusal_keeps_no_field_and_no_purpose() -> None:
    found = decided(set(), fields=("size",))
    assert (found.purposes, found.fields) == (frozenset(), frozenset())


def test_a_decision_names_the_policy_it_was_made_under() -> None:
    policy = a_policy()
    assert decided({"analytics"}, policy=policy).policy == policy.version
