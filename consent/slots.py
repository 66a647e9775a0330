"""People as slots: random numbers, the clusters that linking makes of them, and when it may.

A slot says nothing about whose it is. Linking needs a statement of both ids by someone trusted, and
`identity_link` granted by each side that has a record. Pure: the index itself is a table elsewhere.
"""

from collections.abc import Callable, Sequence

from consent.state import Standing

__all__ = ["MAX_CLUSTER", "may_link", "merged", "new_slot"]

MAX_CLUSTER = 10
"""A larger cluster is no person but a shared device or a test id: it is quarantined."""


def new_slot(random_bytes: Callable[[int], bytes]) -> int:
    """Return a random positive 63-bit number."""
    return (int.from_bytes(random_bytes(8), "big") >> 1) or 1


def may_link(sides: Sequence[Standing]) -> bool:
    """Say whether the sides of a statement may be linked.

    Each side that has a record grants `identity_link`, and at least one has a record.
    """
    ruled = [side for side in sides if side.index is not None]
    return bool(ruled) and all("identity_link" in side.granted for side in ruled)


def merged(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """Return the slots of two clusters as one; its name is the first slot of the first."""
    return tuple(dict.fromkeys((*first, *second)))
