"""Own choices, carried signals and imports: which one stands, rule by rule."""

import pytest

from consent.outcome import Reason
from consent.policy import Regime
from consent.purposes import GPC_REFUSES, LegalBasis, Purpose
from consent.signals.carried import Carried
from consent.state import (
    REPEAT_MS,
    Act,
    Kind,
    Standing,
    State,
    absorb,
    claim,
    intersect,
    read_answers,
    standing,
)
from tests.factories import NOW, a_policy, a_state, an_act

POLICY = a_policy()
OWN, CARRIED, IMPORT, WITHDRAW = Kind.OWN, Kind.CARRIED, Kind.IMPORT, Kind.WITHDRAW


def stands(state: State, regime: Regime = Regime.OPT_IN) -> Standing:
    return standing(state, POLICY, regime)


def reason(state: State, leaf: str = "analytics") -> Reason | None:
    found = stands(state)
    return Reason.NONE if leaf in found.granted else found.denied.get(leaf)


@pytest.mark.parametrize("regime", list(Regime))
def test_silence_grants_nothing_under_any_regime(regime: Regime) -> None:
    assert stands(State(), regime) == Standing(frozenset(), {}, None)


def test_an_own_grant_grants_its_leaf_alone() -> None:
    assert stands(a_state(an_act(OWN, analytics=True))).granted == {"analytics"}


def test_the_newer_own_choice_is_the_one_with_the_higher_number_whatever_its_time() -> None:
    late = an_act(OWN, t=5, analytics=False)
    assert reason(a_state(an_act(OWN, t=99, analytics=True), late)) is Reason.CONSENT_WITHDRAWN


def test_a_refusal_that_undid_nothing_is_a_refusal() -> None:
    assert reason(a_state(an_act(OWN, analytics=False))) is Reason.CONSENT_REFUSED


def test_a_carried_refusal_withdraws_an_own_grant() -> None:
    state = a_state(an_act(OWN, analytics=True), an_act(CARRIED, analytics=False))
    assert reason(state) is Reason.CONSENT_WITHDRAWN


def test_a_later_carried_grant_brings_the_own_grant_back_into_force() -> None:
    state = a_state(
        an_act(OWN, analytics=True),
        an_act(CARRIED, analytics=False),
        an_act(CARRIED, analytics=True),
    )
    assert reason(state) is Reason.NONE


def test_an_own_later_choice_settles_what_was_carried() -> None:
    state = a_state(an_act(CARRIED, analytics=False), an_act(OWN, analytics=True))
    assert reason(state) is Reason.NONE
    assert not state.carried


def test_a_withdrawal_settles_what_was_carried() -> None:
    state = a_state(an_act(CARRIED, analytics=True), an_act(WITHDRAW, analytics=False))
    assert reason(state) is Reason.CONSENT_WITHDRAWN


def test_a_carried_grant_recorded_beside_an_own_refusal_does_not_lift_it() -> None:
    state = a_state(an_act(OWN, analytics=False), an_act(CARRIED, analytics=True))
    assert reason(state) is Reason.CONSENT_REFUSED


def test_an_import_may_set_the_first_record() -> None:
    assert reason(a_state(an_act(IMPORT, analytics=True))) is Reason.NONE


@pytest.mark.parametrize("first", [OWN, CARRIED, IMPORT, WITHDRAW])
def test_an_imported_grant_never_widens_a_record(first: Kind) -> None:
    state = a_state(an_act(first, storage=False), an_act(IMPORT, analytics=True))
    assert reason(state) is None


def test_an_imported_refusal_is_recorded_and_withdraws() -> None:
    state = a_state(an_act(OWN, analytics=True), an_act(IMPORT, analytics=False))
    assert reason(state) is Reason.CONSENT_WITHDRAWN


def test_the_state_keeps_the_newest_index_and_time() -> None:
    state = a_state(an_act(OWN, t=9, analytics=True), an_act(OWN, t=3, analytics=True))
    assert (state.index, state.t) == (2, 9)


# -- what carried answers change ------------------------------------------------------------------


def carried_after(*acts: Kind, t: int, granted: bool) -> dict[str, bool]:
    """Absorb an answer of time ``t`` into refusals of time NOW."""
    state = a_state(*(an_act(kind, analytics=False) for kind in acts))
    return absorb(state, {"analytics": granted}, t)[0]


@pytest.mark.parametrize("kind", [OWN, WITHDRAW, IMPORT])
def test_a_carried_grant_never_lifts_an_own_or_imported_refusal(kind: Kind) -> None:
    assert carried_after(kind, t=NOW + 1_000, granted=True) == {}


@pytest.mark.parametrize("kind", [OWN, WITHDRAW, IMPORT])
@pytest.mark.parametrize("granted", [True, False])
def test_what_was_refused_in_person_is_settled_for_carried_answers(
    kind: Kind,
    granted: bool,  # noqa: FBT001 - a table
) -> None:
    assert carried_after(kind, t=NOW + 10 * REPEAT_MS, granted=granted) == {}


@pytest.mark.parametrize(("t", "lifts"), [(NOW + 1, True), (NOW, True), (NOW - 1, False)])
def test_a_carried_grant_lifts_a_carried_refusal_unless_it_is_older(t: int, lifts: bool) -> None:  # noqa: FBT001 - a table
    assert carried_after(CARRIED, t=t, granted=True) == ({"analytics": True} if lifts else {})


def test_time_that_holds_a_grant_back_is_told() -> None:
    state = a_state(an_act(CARRIED, analytics=False))
    assert absorb(state, {"analytics": True}, NOW - 1) == ({}, True)


def test_a_grant_older_than_a_refusal_heard_again_does_not_lift_it() -> None:
    state = a_state(an_act(CARRIED, t=NOW, analytics=False))
    heard = {"analytics": NOW + 100}
    assert absorb(state, {"analytics": True}, NOW + 50, heard) == ({}, True)
    assert absorb(state, {"analytics": True}, NOW + 100, heard) == ({"analytics": True}, False)


@pytest.mark.parametrize(("later", "again"), [(REPEAT_MS, True), (REPEAT_MS - 1, False)])
def test_a_refusal_that_still_stands_is_recorded_again_after_a_while(
    later: int,
    again: bool,  # noqa: FBT001 - a table
) -> None:
    assert bool(carried_after(CARRIED, t=NOW + later, granted=False)) is again


def test_a_late_offline_queue_adds_nothing_to_a_newer_record() -> None:
    state = a_state(an_act(OWN, storage=True))
    assert absorb(state, {"analytics": True}, NOW - 1) == ({}, True)


def test_a_carried_grant_as_new_as_the_record_adds_to_it() -> None:
    state = a_state(an_act(OWN, storage=True))
    assert absorb(state, {"analytics": True}, NOW) == ({"analytics": True}, False)


@pytest.mark.parametrize("kind", [OWN, CARRIED])
def test_a_carried_grant_changes_nothing_that_is_granted(kind: Kind) -> None:
    state = a_state(an_act(kind, analytics=True))
    assert absorb(state, {"analytics": True}, NOW) == ({}, False)


@pytest.mark.parametrize("kind", [OWN, CARRIED])
def test_a_carried_refusal_counts_however_old_it_is(kind: Kind) -> None:
    state = a_state(an_act(kind, analytics=True))
    assert absorb(state, {"analytics": False}, 1) == ({"analytics": False}, False)


# -- categories -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "storage"),
    [
        ({"functional": True, "measurement": False}, True),
        ({"functional": False, "measurement": True}, True),
        ({"functional": False, "measurement": False}, False),
        ({"measurement": False}, False),
    ],
)
def test_a_leaf_named_by_several_categories_is_granted_if_one_is(
    sent: dict[str, bool],
    storage: bool,  # noqa: FBT001 - a table
) -> None:
    assert read_answers(POLICY, sent)["storage"] is storage


def test_an_absent_category_says_nothing() -> None:
    assert "ads_basic" not in read_answers(POLICY, {"measurement": True})


def test_an_unknown_category_grants_nothing() -> None:
    assert read_answers(POLICY, {"marketing ": True, "Marketing": True}) == {}


# -- Global Privacy Control -----------------------------------------------------------------------

MARKETING = dict.fromkeys(GPC_REFUSES, True)
SEEN = an_act(CARRIED, gpc=True)


def test_gpc_refuses_every_marketing_leaf_and_nothing_else() -> None:
    state = a_state(an_act(OWN, analytics=True, **MARKETING), SEEN)
    assert stands(state).granted == {"analytics"}
    assert set(stands(state).denied) == GPC_REFUSES
    assert set(stands(state).denied.values()) == {Reason.GPC}


def test_a_later_own_choice_lifts_gpc() -> None:
    state = a_state(SEEN, an_act(OWN, **MARKETING))
    assert stands(state).granted >= GPC_REFUSES


def test_an_own_choice_made_in_sight_of_gpc_lifts_it() -> None:
    assert stands(a_state(an_act(OWN, gpc=True, **MARKETING))).granted >= GPC_REFUSES


@pytest.mark.parametrize("kind", [CARRIED, IMPORT])
def test_a_carried_or_imported_grant_never_lifts_gpc(kind: Kind) -> None:
    assert not stands(a_state(SEEN, an_act(kind, **MARKETING))).granted & GPC_REFUSES


def test_gpc_seen_again_does_not_undo_the_choice_that_lifted_it() -> None:
    state = a_state(SEEN, an_act(OWN, **MARKETING), SEEN)
    assert stands(state).granted >= GPC_REFUSES


@pytest.mark.parametrize("regime", [Regime.OPT_OUT, Regime.NOTICE])
def test_where_silence_may_mean_yes_lifting_gpc_takes_an_acknowledgement(regime: Regime) -> None:
    blind = a_state(SEEN, an_act(OWN, **MARKETING))
    told = a_state(SEEN, an_act(OWN, gpc_acknowledged=True, **MARKETING))
    assert not stands(blind, regime).granted
    assert stands(told, regime).granted == GPC_REFUSES


# -- grounds other than consent -------------------------------------------------------------------


def on_ground(basis: LegalBasis, *acts: Act) -> Standing:
    leaves = {
        "necessary": Purpose("necessary", basis=LegalBasis.NONE_REQUIRED),
        "lookalike": Purpose("lookalike", basis=basis),
    }
    policy = a_policy(
        leaves=leaves, categories={}, offers={}, events={}, default=frozenset({"lookalike"})
    )
    return standing(a_state(*acts), policy, Regime.OPT_IN)


def test_a_contract_needs_no_consent() -> None:
    assert on_ground(LegalBasis.CONTRACT).granted == {"lookalike"}


def test_legitimate_interest_needs_no_consent_but_yields_to_a_refusal() -> None:
    refused = on_ground(LegalBasis.LEGITIMATE_INTEREST, an_act(OWN, lookalike=False))
    assert on_ground(LegalBasis.LEGITIMATE_INTEREST).granted == {"lookalike"}
    assert refused.denied == {"lookalike": Reason.CONSENT_REFUSED}


def test_legitimate_interest_yields_to_gpc() -> None:
    assert on_ground(LegalBasis.LEGITIMATE_INTEREST, SEEN).denied == {"lookalike": Reason.GPC}


# -- claims and links -----------------------------------------------------------------------------

NOBODY = stands(State())
NONE = Carried()


def test_a_claim_about_nobody_stands_for_one_event_and_names_no_record() -> None:
    found = claim(NOBODY, {"analytics": True, "storage": False}, NONE)
    assert found == Standing(frozenset({"analytics"}), {"storage": Reason.CONSENT_REFUSED}, None)


def test_a_claim_only_narrows_a_record() -> None:
    base = stands(a_state(an_act(OWN, analytics=True, storage=True)))
    found = claim(base, {"analytics": True, "functional": True, "storage": False}, NONE)
    assert (set(found.granted), found.index) == ({"analytics"}, 1)


def test_a_claim_never_lifts_what_a_record_refuses() -> None:
    base = stands(a_state(an_act(OWN, analytics=False)))
    found = claim(base, {"analytics": True}, NONE)
    assert (found.granted, found.denied) == (frozenset(), {"analytics": Reason.CONSENT_REFUSED})


def test_gpc_beside_a_claim_refuses_what_it_always_refuses() -> None:
    found = claim(NOBODY, {"ads_basic": True, "analytics": True}, Carried(gpc=True))
    assert found.granted == {"analytics"}


def test_linked_people_keep_what_each_with_a_record_grants() -> None:
    one = stands(a_state(an_act(OWN, analytics=True, storage=True)))
    other = stands(a_state(an_act(OWN, storage=True, analytics=False)))
    found = intersect([one, NOBODY, other])
    assert (set(found.granted), found.index) == ({"storage"}, 1)
    assert found.denied == {"analytics": Reason.CONSENT_REFUSED}


def test_linked_people_without_any_record_are_nobody() -> None:
    assert intersect([NOBODY, NOBODY]) == NOBODY


def test_answers_of_a_category_are_leaves_only() -> None:
    assert set(read_answers(POLICY, {"marketing": True})) <= set(POLICY.leaves)
