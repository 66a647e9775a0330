"""Seeded randomness: every demo tells the same story. Never for anything secret."""

from random import Random  # noqa: TID251 - repeatable on purpose

__all__ = ["Random", "seeded"]


def seeded(seed: int) -> Random:
    """Return a source of randomness that repeats itself."""
    return Random(seed)  # noqa: S311 - a story, not a secret
