"""Decides whether an event may be kept, for which purposes, and says why.

Pure and total: policy, standing, signals, event name and field names in, a ``Decision`` out. It is
given names, never values, and no clock. Order and precedence follow the purpose decision of the
product's consent design: malformed signals first, then what is denied, then what is granted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consent.outcome import Reason
from consent.policy import Policy, SourcePolicy
from consent.purposes import PurposeSet
from consent.signals.carried import Carried
from consent.state import Standing

__all__ = ["Decision", "decide"]

_GRAVEST = (
    Reason.GPC,
    Reason.CONSENT_WITHDRAWN,
    Reason.CONSENT_REFUSED,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an event is kept or not.

    ``purposes`` are those it is kept for (empty: refused). ``fields`` are the field names that
    may stay. ``considered`` lists every purpose declared for the event with its reason, NONE
    meaning granted.
    """

    purposes: PurposeSet
    reason: Reason
    fields: frozenset[str]
    considered: Mapping[str, Reason]
    policy: str

    @property
    def admitted(self) -> bool:
        """Say whether the event may be kept."""
        return self.reason is Reason.NONE


def decide(
    policy: Policy,
    source: SourcePolicy,
    standing: Standing,
    carried: Carried,
    event: tuple[str, Iterable[str]],
) -> Decision:
    """Decide one event; ``event`` is its name and its field names.

    A source's own default only narrows. `necessary` never admits an event on its own.
    """
    name, field_names = event
    declared = policy.declared_for(name) - {"necessary"}
    allowed = declared & source.narrow if source.narrow else declared
    considered = {
        leaf: Reason.NONE
        if leaf in standing.granted
        else standing.denied.get(leaf, Reason.CONSENT_UNKNOWN)
        for leaf in sorted(allowed)
    }
    purposes = allowed & standing.granted
    reason = Reason.NONE
    if carried.malformed:
        reason = Reason.SIGNAL_MALFORMED
    elif not declared:
        reason = Reason.PURPOSE_UNDECLARED
    elif not allowed:
        reason = Reason.SOURCE_NARROWED
    elif not purposes:
        found = set(considered.values())
        reason = next((grave for grave in _GRAVEST if grave in found), Reason.CONSENT_UNKNOWN)
    if reason is not Reason.NONE:
        return Decision(frozenset(), reason, frozenset(), considered, policy.version)
    kept = frozenset(
        field
        for field in field_names
        if field not in policy.fields or policy.fields[field] & purposes
    )
    return Decision(purposes, reason, kept, considered, policy.version)
