"""P2: decisions are total and repeatable, and one refusal more never permits more."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consent.decision import decide
from consent.outcome import Reason
from consent.policy import Regime, SourcePolicy, Trust
from consent.purposes import LEAVES, LegalBasis, PurposeSet
from consent.signals.carried import Carried
from consent.state import Act, Kind, Standing, State, absorb, claim, fold, intersect, standing
from gateway.collector.people import pack, unpack
from tests.factories import a_policy

SOME = ("analytics", "storage", "audience_sync", "identity_link")
POLICY = a_policy()
TIMES = st.integers(0, 20_000_000)
ANSWERS = st.dictionaries(st.sampled_from(SOME), st.booleans())
CHOICES = (Kind.OWN, Kind.WITHDRAW, Kind.IMPORT)


def _act(kind: Kind, answers: dict[str, bool], t: int, *, gpc: bool, told: bool) -> Act:
    return Act(
        kind=kind, answers=answers, t=t, received=t, source="web", gpc=gpc, gpc_acknowledged=told
    )


def _acts(kinds: Sequence[Kind] = tuple(Kind)) -> st.SearchStrategy[Act]:
    return st.builds(
        _act, st.sampled_from(kinds), ANSWERS, TIMES, gpc=st.booleans(), told=st.booleans()
    )


REFUSALS = st.builds(
    lambda kind, leaf, t: _act(kind, {leaf: False}, t, gpc=False, told=False),
    st.sampled_from([*CHOICES, Kind.CARRIED]),
    st.sampled_from(SOME),
    TIMES,
)
REGIMES = st.sampled_from(list(Regime))
STANDINGS = st.builds(
    Standing,
    st.frozensets(st.sampled_from(sorted(LEAVES))),
    st.dictionaries(st.sampled_from(sorted(LEAVES)), st.sampled_from(list(Reason))),
    st.one_of(st.none(), st.integers(1, 9)),
)


def folded(acts: Sequence[Act]) -> State:
    state = State()
    for index, act in enumerate(acts, 1):
        state = fold(state, act, index)
    return state


def lived(acts: Sequence[Act]) -> State:
    """Do as the door does: a carried act counts only as far as it changes something."""
    state, index = State(), 0
    for act in acts:
        answers = act.answers
        if act.kind is Kind.CARRIED:
            answers, _ = absorb(state, act.answers, act.t)
            if not answers and not (act.gpc and not state.gpc):
                continue
        index += 1
        kept = _act(act.kind, dict(answers), act.t, gpc=act.gpc, told=act.gpc_acknowledged)
        state = fold(state, kept, index)
    return state


def granted(state: State, regime: Regime = Regime.OPT_IN) -> PurposeSet:
    return standing(state, POLICY, regime).granted


@given(st.lists(_acts(), max_size=8))
def test_replaying_the_records_gives_the_same_state_byte_for_byte(acts: list[Act]) -> None:
    turned = [
        _act(
            act.kind,
            dict(reversed(act.answers.items())),
            act.t,
            gpc=act.gpc,
            told=act.gpc_acknowledged,
        )
        for act in acts
    ]
    assert pack(folded(acts)) == pack(folded(turned))
    assert pack(unpack(pack(folded(acts)))) == pack(folded(acts))


@given(st.lists(_acts(), max_size=8), REGIMES)
def test_every_leaf_is_granted_or_denied_or_unknown_never_two(
    acts: list[Act], regime: Regime
) -> None:
    found = standing(folded(acts), POLICY, regime)
    assert not found.granted & found.denied.keys()
    assert (found.granted | found.denied.keys()) <= set(LEAVES) - {"necessary"}
    assert Reason.NONE not in found.denied.values()


@given(st.lists(_acts(), max_size=6), REFUSALS, st.integers(0, 6), REGIMES)
def test_one_more_refusal_never_permits_more(
    acts: list[Act], refusal: Act, place: int, regime: Regime
) -> None:
    more = [*acts[:place], refusal, *acts[place:]]
    assert granted(folded(more), regime) <= granted(folded(acts), regime)


@given(
    st.lists(_acts(), max_size=6),
    REFUSALS,
    st.integers(0, 6),
)
def test_one_more_refusal_never_permits_more_at_the_door(
    acts: list[Act], refusal: Act, place: int
) -> None:
    more = [*acts[:place], refusal, *acts[place:]]
    assert granted(lived(more)) <= granted(lived(acts))


@given(st.lists(_acts(), max_size=6), REFUSALS)
def test_a_refusal_holds_at_once(acts: list[Act], refusal: Act) -> None:
    assert not granted(lived([*acts, refusal])) & refusal.answers.keys()


@given(st.lists(_acts(), max_size=6))
def test_no_carried_signal_lifts_an_own_or_imported_refusal(acts: list[Act]) -> None:
    state = lived(acts)
    refused = {leaf for leaf, choice in state.own.items() if not choice.granted}
    everything = dict.fromkeys(SOME, True)
    changes, _ = absorb(state, everything, 10**9)
    assert not changes.keys() & refused


@given(st.lists(_acts(), min_size=1, max_size=6), TIMES)
def test_what_is_older_than_every_record_grants_nothing(acts: list[Act], t: int) -> None:
    state = lived(acts)
    changes, _ = absorb(state, dict.fromkeys(SOME, True), min(t, state.t - 1))
    held = [leaf for leaf in changes if (heard := state.carried.get(leaf)) and heard.t > t]
    assert held == []


@given(STANDINGS, ANSWERS, st.booleans())
def test_a_claim_about_someone_with_a_record_never_widens_it(
    base: Standing,
    answers: dict[str, bool],
    gpc: bool,  # noqa: FBT001 - drawn
) -> None:
    found = claim(base, answers, Carried(gpc=gpc))
    refused = {leaf for leaf, answer in answers.items() if not answer}
    assert not found.granted & (refused | base.denied.keys())
    assert base.index is None or found.granted <= base.granted


@given(st.lists(STANDINGS, min_size=1, max_size=4))
def test_linking_never_widens_what_a_record_grants(sides: list[Standing]) -> None:
    found = intersect(sides)
    assert all(found.granted <= side.granted for side in sides if side.index is not None)


@given(
    STANDINGS,
    st.text(max_size=20),
    st.lists(st.text(max_size=9)),
    st.booleans(),
    st.frozensets(st.sampled_from(sorted(LEAVES))),
)
def test_a_decision_is_total_and_repeats_itself(
    base: Standing,
    name: str,
    fields: list[str],
    malformed: bool,  # noqa: FBT001 - drawn
    narrow: frozenset[str],
) -> None:
    source = SourcePolicy("web", "shop", Trust.PUBLIC, narrow)
    given_: tuple[Any, ...] = (POLICY, source, base, Carried(malformed=malformed), (name, fields))
    found = decide(*given_)
    assert found == decide(*given_)
    assert found.admitted == bool(found.purposes)
    assert found.purposes <= base.granted & POLICY.declared_for(name)
    assert not (malformed and found.admitted)


def test_consent_is_the_ground_of_all_that_these_properties_rest_on() -> None:
    assert {LEAVES[leaf].basis for leaf in SOME} == {LegalBasis.CONSENT}
