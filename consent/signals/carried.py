"""What a tracker said about consent beside an event: category answers and Sec-GPC.

Reads Segment's ``context.consent.categoryPreferences`` strictly. An unreadable object is
``malformed`` and grants nothing. TCF, GPP and gcd texts are not read here yet: they grant nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from consent.errors import MalformedSignalError

__all__ = ["Carried", "read_categories"]

_MAX_CATEGORIES = 64
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Carried:
    """Carried signals of one event.

    ``categories``: category name → answer, as sent. ``gpc``: the Global Privacy Control signal
    is present. ``malformed``: a signal was there and could not be read.
    """

    categories: Mapping[str, bool] = field(default_factory=dict)
    gpc: bool = False
    malformed: bool = False


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedSignalError("consent: a key stands twice")
    return found


def read_categories(raw: bytes) -> dict[str, bool]:
    """Read the JSON text of a Segment ``context.consent`` object into category answers.

    Source: Segment consent specification, ``categoryPreferences``. A category that is not listed
    says nothing. An empty or missing ``categoryPreferences`` says nothing.

    Raises:
        MalformedSignalError: not an object, a key stands twice, or an answer is not a boolean.
    """
    try:
        whole = json.loads(raw, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise MalformedSignalError("consent: not readable") from error
    if whole is None:
        return {}
    if not isinstance(whole, dict):
        raise MalformedSignalError("consent: not an object")
    answers = whole.get("categoryPreferences", {})
    if not isinstance(answers, dict) or len(answers) > _MAX_CATEGORIES:
        raise MalformedSignalError("consent.categoryPreferences: not a short object")
    for name, answer in answers.items():
        if not isinstance(answer, bool) or len(name) > _MAX_NAME:
            raise MalformedSignalError("consent.categoryPreferences: an answer is not a boolean")
    return answers
