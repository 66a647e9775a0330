"""The demo's people are the same every time, nobody in truth, and of every kind of story."""

import phonenumbers

from gateway.demo.chance import seeded
from gateway.demo.people import Story, shoppers

PEOPLE = shoppers(2_000, seeded(1))


def test_the_same_seed_gives_the_same_people() -> None:
    assert shoppers(50, seeded(7)) == shoppers(50, seeded(7))


def test_addresses_lie_under_a_reserved_domain_and_are_unique() -> None:
    emails = {one.email for one in PEOPLE}
    assert len(emails) == len(PEOPLE)
    assert all(email.endswith("@example.org") for email in emails)


def test_numbers_are_possible_unique_and_kept_free_for_fiction() -> None:
    numbers = [one.phone for one in PEOPLE if one.phone is not None]
    assert len(numbers) == len(set(numbers)) > 1_000
    assert all(number.startswith(("+493023125", "+496990009")) for number in numbers)
    assert all(phonenumbers.is_possible_number(phonenumbers.parse(n)) for n in numbers)


def test_people_beyond_the_free_numbers_have_none() -> None:
    assert shoppers(5_001, seeded(1))[-1].phone is None


def test_every_story_has_about_its_share() -> None:
    for story in Story:
        share = sum(one.story is story for one in PEOPLE) / len(PEOPLE)
        assert abs(share - story.value / 100) < 0.03


def test_the_answers_follow_the_story() -> None:
    told = {one.story: one for one in PEOPLE}
    assert told[Story.NEVER_ASKED].answers(second_half=False) is None
    early, late = (told[Story.WITHDRAWN].answers(second_half=half) for half in (False, True))
    assert early == {"functional": True, "analytics": True, "marketing": True}
    assert late == dict.fromkeys(early, False) == told[Story.REFUSED].answers(second_half=False)
    partial = told[Story.PARTIAL].answers(second_half=True)
    assert partial == {"functional": True, "analytics": True, "marketing": False}
