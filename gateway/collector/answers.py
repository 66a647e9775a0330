"""Reads the names in a choice: leaves, parents and category names become answers per leaf.

Pure. Where a leaf is named more than once, categories grant it if any of them does, and every
direct answer can only take away: the stricter reading.
"""

from collections.abc import Mapping, Sequence

from consent.errors import UnknownPurposeError
from consent.policy import Policy
from consent.purposes import PurposeSet, expand
from consent.state import read_answers
from gateway.errors import UnprocessableError

__all__ = ["read_offered", "read_withdrawn"]


def read_offered(policy: Policy, answers: Mapping[str, bool], notice: str) -> dict[str, bool]:
    """Return the answer per leaf; every purpose that the notice offers must have one.

    Raises:
        UnprocessableError: an unknown name, or an offered purpose without an answer.
    """
    categories = {name: granted for name, granted in answers.items() if name in policy.categories}
    found = read_answers(policy, categories)
    for name, granted in answers.items():
        if name in categories:
            continue
        for leaf in _leaves(policy, name, "answers"):
            found[leaf] = granted and found.get(leaf, True)
    missing = policy.offers.get(notice, frozenset()) - found.keys()
    if missing:
        raise UnprocessableError(f"no answer to {', '.join(sorted(missing))}", "answers")
    if not found:
        raise UnprocessableError("no answer", "answers")
    return dict(sorted(found.items()))


def read_withdrawn(policy: Policy, purposes: Sequence[str] | str) -> PurposeSet:
    """Return the leaves that are taken back; ``all`` means every one.

    Raises:
        UnprocessableError: an unknown name, or nothing named.
    """
    if purposes == "all":
        return frozenset(policy.leaves) - {"necessary"}
    if isinstance(purposes, str) or not purposes:
        raise UnprocessableError('a list of purposes, or "all"', "purposes")
    found: set[str] = set()
    for name in purposes:
        found |= policy.categories.get(name, frozenset()) or _leaves(policy, name, "purposes")
    return frozenset(found) - {"necessary"}


def _leaves(policy: Policy, name: str, field: str) -> PurposeSet:
    try:
        return expand([name], policy.leaves, field)
    except UnknownPurposeError:  # its message shows the name, which here comes from outside
        raise UnprocessableError("not a purpose, parent or category", field) from None
