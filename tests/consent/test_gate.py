"""The gate: what is refused is not read; what is admitted carries what it was admitted for."""

from typing import Any

import pytest

from consent.gate import Admitted, Gate, Refusal
from consent.observation import Place, Touch
from consent.outcome import Reason
from consent.policy import SitePolicy
from consent.pseudonym import References
from consent.signals.carried import Carried
from consent.state import Standing
from tests.factories import NOW, a_policy, an_observation, categories

CANARY = "anna@example.org"
GRANTED = Standing(frozenset({"analytics", "audience_sync", "storage"}), {}, 4)
REFUSED = Standing(frozenset(), {"analytics": Reason.CONSENT_WITHDRAWN}, 4)


def a_gate(**policy: Any) -> Gate:  # noqa: ANN401 - any field of the policy
    changed = a_policy(**policy)
    return Gate(changed, References(dict.fromkeys(changed.sites, b"r" * 32)))


def admitted(gate: Gate | None = None, **observed: Any) -> Admitted:  # noqa: ANN401 - any field
    gate = gate or a_gate()
    found = gate.admit(an_observation(**observed), gate.policy.sources["web"], GRANTED)
    assert isinstance(found, Admitted)
    return found


class Unread(dict[str, object]):
    """Fails whoever looks into it."""

    def items(self) -> Any:  # noqa: ANN401 - never returns
        raise AssertionError("a refused event was read")

    __iter__ = __getitem__ = items  # type: ignore[assignment] # each of them fails


def test_a_refused_event_is_read_no_further_than_its_name() -> None:
    gate = a_gate()
    observation = an_observation(properties=Unread(a=1), traits=Unread(a=1))
    found = gate.admit(observation, gate.policy.sources["web"], REFUSED)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.CONSENT_WITHDRAWN


def test_an_admitted_event_names_purposes_record_and_policy() -> None:
    event = admitted().event
    assert event.purposes == ("analytics", "audience_sync")
    assert (event.consent_index, event.policy) == (4, a_policy().version)


def test_nothing_that_identifies_is_left() -> None:
    event = admitted(
        message_id=CANARY,
        session=CANARY,
        properties={"size": CANARY, "order_id": CANARY, CANARY: 1},
        traits={"region": CANARY, "email": CANARY},
        place=Place(f"https://shop.example/?e={CANARY}", f"https://x.example/{CANARY}", CANARY),
        touch=Touch({"source": CANARY}),
    ).event
    assert "anna" not in repr(event)
    assert (event.id[:4], str(event.session)[:4]) == ("mac:", "ses_")
    assert (event.device, event.geo) == ({}, {})


def test_traits_stand_in_one_property_and_undeclared_names_are_told() -> None:
    found = admitted(properties={"mood": 1}, traits={"region": "BY", "first_name": "Anna"})
    assert found.event.properties == {"traits": {"region": "BY"}}
    assert found.undeclared == ["mood", "first_name"]


def test_an_event_without_a_place_has_no_page() -> None:
    assert (admitted().event.page, admitted().event.campaign) == ({}, {})


def test_place_and_campaign_are_kept_as_far_as_they_may() -> None:
    event = admitted(place=Place("https://shop.example/"), touch=Touch({"source": "news"})).event
    assert event.page == {"host": "shop.example", "path": "/"}
    assert event.campaign == {"source": "news"}


def test_a_field_of_a_purpose_that_is_not_granted_goes() -> None:
    fields = {"coupon": frozenset({"lookalike"}), "region": frozenset({"lookalike"})}
    found = admitted(
        a_gate(fields=fields),
        properties={"coupon": "C", "size": "S"},
        traits={"region": "BY", "age_band": "30"},
    )
    assert found.event.properties == {"size": "S", "traits": {"age_band": "30"}}


def test_traits_of_which_none_may_stay_leave_no_trace() -> None:
    assert admitted(traits={"first_name": "Anna"}).event.properties == {}


@pytest.mark.parametrize(
    ("zone", "t", "days"),
    [
        ("Europe/Berlin", 1_767_222_000_000, 20_454),  # 2025-12-31T23:00Z is New Year there
        ("Europe/Berlin", 1_767_221_999_999, 20_453),
        ("UTC", 1_767_222_000_000, 20_453),
        ("Asia/Kathmandu", 1_767_204_900_000, 20_454),  # +05:45
        ("UTC", 0, 0),
    ],
)
def test_the_local_date_is_that_of_the_site(zone: str, t: int, days: int) -> None:
    gate = a_gate(sites={"shop": SitePolicy("shop", "shop.example", zone)})
    assert admitted(gate, t=t).event.local_date == days


def test_equal_categories_give_one_object() -> None:
    gate = a_gate()
    once, again = (gate.answers(categories(marketing=True)) for _ in range(2))
    assert once is again
    assert gate.answers(Carried()) == {}


def test_a_malformed_signal_is_refused_though_the_same_was_admitted_before() -> None:
    gate = a_gate()
    admitted(gate)
    observation = an_observation(carried=Carried(malformed=True))
    found = gate.decide(observation, gate.policy.sources["web"], GRANTED)
    assert found.reason is Reason.SIGNAL_MALFORMED


def test_a_decision_seen_before_does_not_hide_a_refusal() -> None:
    gate = a_gate()
    admitted(gate)
    assert not gate.decide(an_observation(), gate.policy.sources["web"], REFUSED).admitted


def test_an_answer_seen_before_is_the_same_answer() -> None:
    gate = a_gate()
    assert admitted(gate, message_id="a").event.purposes == admitted(gate).event.purposes


def test_what_is_remembered_is_bounded() -> None:
    gate = a_gate()
    for number in range(5_000):
        gate.answers(Carried({f"c{number}": True}))
    assert len(gate._answers) <= 4_096


def test_the_time_of_the_event_is_kept_beside_that_of_its_arrival() -> None:
    event = admitted(t=NOW - 5, received=NOW).event
    assert (event.t, event.received) == (NOW - 5, NOW)
