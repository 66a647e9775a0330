"""The people of the demo's shop: seeded, synthetic, and each with a story about consent.

Nobody here exists: addresses are under example.org (RFC 2606), telephone numbers from the ranges
that the German regulator keeps free for films ("Rufnummern für Medienproduktionen").
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gateway.demo.chance import Random

__all__ = ["Answers", "Shopper", "Story", "shoppers"]

Answers = Mapping[str, bool]
"""Category → answer, as the shop's banner sends it."""

# Berlin, Frankfurt, Hamburg, Cologne and Munich: a thousand free numbers each.
_FREE_NUMBERS = ("+493023125", "+496990009", "+494066969", "+492214710", "+498999998")
_REGIONS = {
    "NW": 21, "BY": 16, "BW": 13, "NI": 10, "HE": 8, "RP": 5, "SN": 5, "BE": 5, "SH": 4, "BB": 3,
    "ST": 3, "TH": 3, "HH": 2, "MV": 2, "SL": 1, "HB": 1,
}  # fmt: skip
_AGES = {"18-29": 24, "30-39": 26, "40-49": 22, "50-64": 20, "65+": 8}
_ALL = ("functional", "analytics", "marketing")


class Story(Enum):
    """What a person does about consent, with its share of all people in per cent."""

    GRANTED = 52
    REFUSED = 16
    PARTIAL = 14
    WITHDRAWN = 8
    NEVER_ASKED = 10


@dataclass(frozen=True, slots=True)
class Shopper:
    """One person. ``device`` is set for those who also visit without being logged in."""

    user_id: str
    email: str
    phone: str | None
    region: str
    age_band: str
    story: Story
    device: str | None
    visits: int

    def answers(self, *, second_half: bool) -> Answers | None:
        """Return what the shop's banner sends along, None where nobody was ever asked."""
        if self.story is Story.NEVER_ASKED:
            return None
        if self.story is Story.REFUSED or (self.story is Story.WITHDRAWN and second_half):
            return dict.fromkeys(_ALL, False)
        return {**dict.fromkeys(_ALL, True), "marketing": self.story is not Story.PARTIAL}


def shoppers(count: int, random: Random) -> list[Shopper]:
    """Return people in a fixed order; the same random state gives the same people."""
    stories = list(Story)
    found = []
    for number in range(count):
        free, last = divmod(number, 1000)
        phone = f"{_FREE_NUMBERS[free]}{last:03}" if free < len(_FREE_NUMBERS) else None
        has_device = random.random() < 0.4  # noqa: PLR2004 - a share of people
        found.append(
            Shopper(
                user_id=f"c-{number + 1:05}",
                email=f"shopper.{number + 1:05}@example.org",
                phone=phone if random.random() < 0.6 else None,  # noqa: PLR2004 - as above
                region=_pick(_REGIONS, random),
                age_band=_pick(_AGES, random),
                story=random.choices(stories, [story.value for story in stories])[0],
                device=str(uuid.UUID(int=random.getrandbits(128), version=4))
                if has_device
                else None,
                visits=random.choices((1, 2, 3, 4, 6), (34, 30, 18, 12, 6))[0],
            )
        )
    return found


def _pick(weights: Mapping[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]
