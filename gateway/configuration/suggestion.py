"""Says what a misspelled name was probably meant to be.

Used in messages, so it shows only what looks like a name: a secret pasted into the wrong field
must not reach a log.
"""

import difflib
import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest", "one_slip_apart", "shown"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,39}")
_KEY_PREFIX = re.compile(r"(wk|sk|pk|EAA|ya29|AKIA|ghp)[_.\-A-Za-z0-9]*")
_LONG_LIST = 12


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that this one is probably a slip of, or None."""
    candidates = sorted(known)
    folded = name.casefold().replace("-", "_")
    for candidate in candidates:
        if one_slip_apart(folded, candidate.casefold().replace("-", "_")):
            return candidate
    found = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message: a suggestion, or the list of known names if it is short."""
    candidates = sorted(known)
    found = nearest(name, candidates)
    if found is not None:
        return f", did you mean {found!r}?"
    if 0 < len(candidates) <= _LONG_LIST:
        return f"; known: {', '.join(candidates)}"
    return ""


def one_slip_apart(left: str, right: str) -> bool:
    """Say whether two names are equal but for one letter more, less, other, or two swapped."""
    start = _shared(left, right)
    left, right = left[start:], right[start:]
    tail = _shared(left[::-1], right[::-1])
    left, right = left[: len(left) - tail], right[: len(right) - tail]
    swapped = len(left) == len(right) == 2 and left == right[::-1]  # noqa: PLR2004 - a pair
    return swapped or (len(left) <= 1 and len(right) <= 1)


def shown(value: str) -> str:
    """Return a name in quotes, or only the length of what does not look like a name."""
    if _NAME.fullmatch(value) and not _KEY_PREFIX.fullmatch(value):
        return repr(value)
    return f"a text of {len(value)} characters"


def _shared(left: str, right: str) -> int:
    """Return how many letters two names have in common from their start."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
