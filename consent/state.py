"""What a person agreed to, folded from consent records in the ledger's order.

Own choices (banner, API, import) and carried signals are kept apart: a carried refusal withdraws, a
carried grant never lifts an own or imported refusal, and an explicit later choice settles both.
Pure: knows neither stores nor clocks. "Newer" for own choices is the record number alone.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from consent.outcome import Reason
from consent.policy import Policy, Regime
from consent.purposes import GPC_REFUSES, LegalBasis, PurposeSet
from consent.signals.carried import Carried

__all__ = [
    "REPEAT_MS",
    "Act",
    "Choice",
    "Kind",
    "Standing",
    "State",
    "absorb",
    "claim",
    "fold",
    "intersect",
    "read_answers",
    "standing",
]


REPEAT_MS = 3_600_000
"""A carried refusal that still stands this much later is recorded again: it is newer then."""

_NOTHING_HEARD: Mapping[str, int] = MappingProxyType({})


class Kind(StrEnum):
    """Kinds of consent record."""

    OWN = "own"
    WITHDRAW = "withdraw"
    CARRIED = "carried"
    IMPORT = "import"
    LINK = "link"
    UNLINK = "unlink"


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """One answer in force. ``t`` is the time claimed (UTC ms); ``was`` says it undid a grant."""

    granted: bool
    index: int
    t: int
    was: bool = False


class State(msgspec.Struct, frozen=True):
    """Consent of one slot. ``gpc`` is the number of the record that first saw Sec-GPC, 0 if none.

    ``index`` is the newest record (0: none) and ``t`` the newest time claimed by one.
    """

    own: dict[str, Choice] = {}
    carried: dict[str, Choice] = {}
    gpc: int = 0
    acknowledged: bool = False
    index: int = 0
    t: int = 0


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One expression of will about a person, before it has a number.

    ``answers`` holds leaves only. ``t`` is the time claimed, ``received`` the server's (UTC ms).
    ``evidence`` goes into the record as it is: notice, version, language, method, layer, ui_hash …
    """

    kind: Kind
    answers: dict[str, bool]
    t: int
    received: int
    source: str
    gpc: bool = False
    gpc_acknowledged: bool = False
    evidence: dict[str, str | int | bool] = {}


class Standing(msgspec.Struct, frozen=True):
    """What holds for a person at one moment: granted leaves, and why others are denied.

    ``index`` is the newest record it rests on, None where no record does.
    """

    granted: PurposeSet
    denied: dict[str, Reason]
    index: int | None


def read_answers(policy: Policy, categories: Mapping[str, bool]) -> dict[str, bool]:
    """Turn category answers into leaf answers.

    A leaf named by several of the answered categories is granted if any of them is; a category
    that is absent, or that the policy does not know, says nothing.
    """
    answers: dict[str, bool] = {}
    for name, granted in categories.items():
        for leaf in policy.categories.get(name, frozenset()):
            answers[leaf] = granted or answers.get(leaf, False)
    return answers


def fold(state: State, act: Act, index: int) -> State:
    """Return the state after a record with this number.

    Own choices settle their purposes; carried answers stand beside them; an import sets a first
    record or refuses, and never widens.
    """
    own, carried = dict(state.own), dict(state.carried)
    for leaf, granted in sorted(act.answers.items()):  # a record has them sorted: equal bytes
        before = own.get(leaf)
        heard = carried.get(leaf)
        was = not granted and any(
            choice is not None and choice.granted for choice in (before, heard)
        )
        choice = Choice(granted, index, act.t, was)
        if act.kind is Kind.CARRIED:
            carried[leaf] = choice
        elif act.kind is Kind.IMPORT:
            if not granted or not state.index:
                own[leaf] = choice
        else:
            own[leaf] = choice
            carried.pop(leaf, None)
    return State(
        own=own,
        carried=carried,
        gpc=state.gpc or (index if act.gpc else 0),
        acknowledged=state.acknowledged or act.gpc_acknowledged,
        index=index,
        t=max(state.t, act.t),
    )


def absorb(
    state: State,
    answers: Mapping[str, bool],
    t: int,
    heard_at: Mapping[str, int] = _NOTHING_HEARD,
) -> tuple[dict[str, bool], bool]:
    """Return what carried answers change in a state, and whether time alone held a grant back.

    A refusal changes whatever it does not find refused lately. A grant changes nothing that is
    granted; it lifts a carried refusal that is not newer than ``t``, adds to a record that is not
    newer than ``t``, and never touches an own or imported refusal. ``heard_at``: when refusals
    that changed nothing were heard last (UTC ms), per leaf; an older grant does not lift those.
    """
    changes: dict[str, bool] = {}
    held_back = False
    for leaf, granted in answers.items():
        own, heard = state.own.get(leaf), state.carried.get(leaf)
        if own is not None and not own.granted:
            continue
        if not granted:
            if heard is None or heard.granted or t >= heard.t + REPEAT_MS:
                changes[leaf] = False
        elif heard is None and own is None:
            if t >= state.t:
                changes[leaf] = True
            else:
                held_back = True
        elif heard is not None and not heard.granted:
            if t >= max(heard.t, heard_at.get(leaf, 0)):
                changes[leaf] = True
            else:
                held_back = True
    return changes, held_back


def _verdict(leaf: str, state: State, regime: Regime) -> Reason | None:
    """Return NONE for granted, a reason for denied, None for unknown."""
    own, heard = state.own.get(leaf), state.carried.get(leaf)
    if state.gpc and leaf in GPC_REFUSES:
        lifted = own is not None and own.granted and own.index >= state.gpc
        if not lifted or (regime is not Regime.OPT_IN and not state.acknowledged):
            return Reason.GPC
    for choice in (own, heard):
        if choice is not None and not choice.granted:
            return Reason.CONSENT_WITHDRAWN if choice.was else Reason.CONSENT_REFUSED
    if own is None and heard is None:
        return None
    return Reason.NONE


def standing(state: State, policy: Policy, regime: Regime) -> Standing:
    """Return what a state grants and denies now. Silence denies under every regime.

    Purposes on a ground other than consent are granted; legitimate interest yields to a refusal.
    `necessary` is never a purpose to admit on, so it is never listed.
    """
    granted: set[str] = set()
    denied: dict[str, Reason] = {}
    for leaf, purpose in policy.leaves.items():
        if leaf == "necessary":
            continue
        verdict = _verdict(leaf, state, regime)
        if purpose.basis is LegalBasis.LEGITIMATE_INTEREST:
            verdict = verdict or Reason.NONE
        elif purpose.basis is not LegalBasis.CONSENT:
            verdict = Reason.NONE
        if verdict is Reason.NONE:
            granted.add(leaf)
        elif verdict is not None:
            denied[leaf] = verdict
    return Standing(frozenset(granted), denied, state.index or None)


def claim(base: Standing, answers: Mapping[str, bool], carried: Carried) -> Standing:
    """Return the standing for one event that brings its own answers and changes no state.

    Where the person has a record, the claim only narrows it; without one, the claim stands for
    this event alone. GPC beside the claim refuses what it always refuses.
    """
    denied = dict(base.denied)
    claimed = {leaf for leaf, granted in answers.items() if granted}
    for leaf, granted in answers.items():
        if not granted:
            denied.setdefault(leaf, Reason.CONSENT_REFUSED)
    if carried.gpc:
        denied.update(dict.fromkeys(GPC_REFUSES, Reason.GPC))
    if base.index is not None:
        claimed &= base.granted
    return Standing(frozenset(claimed - denied.keys()), denied, base.index)


def intersect(standings: Iterable[Standing]) -> Standing:
    """Return the standing of linked slots: granted by each of those that have a record.

    At least one standing must be given.
    """
    every = list(standings)
    ruled = [one for one in every if one.index is not None] or every
    granted = ruled[0].granted
    denied: dict[str, Reason] = {}
    for one in ruled:
        granted &= one.granted
        denied |= one.denied
    return Standing(granted, denied, max((one.index for one in ruled if one.index), default=None))
