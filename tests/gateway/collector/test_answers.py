"""Names in a choice become answers per leaf, in the stricter reading."""

import pytest

from consent.purposes import LEAVES, PARENTS
from gateway.collector.answers import read_offered, read_withdrawn
from gateway.errors import UnprocessableError
from tests.factories import a_policy

POLICY = a_policy(offers={"web": frozenset({"analytics", "storage"})})
MARKETING = PARENTS["marketing"]


def test_leaves_parents_and_categories_are_understood() -> None:
    answers = {"functional": True, "analytics": False, "personalization": True}
    found = read_offered(POLICY, answers, "web")
    assert {leaf for leaf, granted in found.items() if granted} == {
        "storage", "functional", "content_basic", "content_profile", "content_personalised",
    }  # fmt: skip
    assert found["analytics"] is False


@pytest.mark.parametrize("answers", [{}, {"storage": True}, {"marketing": True}])
def test_an_offered_purpose_without_an_answer_is_an_error(answers: dict[str, bool]) -> None:
    with pytest.raises(UnprocessableError, match="analytics"):
        read_offered(POLICY, answers, "web")


def test_without_a_notice_some_answer_is_needed() -> None:
    with pytest.raises(UnprocessableError, match="no answer"):
        read_offered(POLICY, {}, "")


def test_a_direct_answer_only_takes_away() -> None:
    answers = {"marketing": True, "audience_sync": False, "measurement": False, "analytics": True}
    found = read_offered(POLICY, answers, "")
    assert {leaf for leaf in MARKETING if not found[leaf]} == {"audience_sync"}
    assert found["analytics"] is False


def test_of_two_direct_answers_the_refusal_counts() -> None:
    answers = {"personalization": False, "content_basic": True}
    assert read_offered(POLICY, answers, "")["content_basic"] is False


@pytest.mark.parametrize("name", ["anna@example.org", "Analytics", ""])
def test_an_unknown_name_is_an_error_that_does_not_repeat_it(name: str) -> None:
    with pytest.raises(UnprocessableError) as caught:
        read_offered(POLICY, {"storage": True, "analytics": True, name: False}, "web")
    assert not name or name not in str(caught.value)
    assert caught.value.__cause__ is None


def test_everything_can_be_withdrawn_at_once() -> None:
    assert read_withdrawn(POLICY, "all") == frozenset(LEAVES) - {"necessary"}


def test_leaves_parents_and_categories_can_be_withdrawn() -> None:
    found = read_withdrawn(POLICY, ["functional", "analytics", "marketing", "necessary"])
    assert found == {"storage", "functional", "analytics", "identity_link"} | MARKETING


@pytest.mark.parametrize("purposes", ["", "analytics", [], ["analytics", "unheard_of"]])
def test_what_names_nothing_known_is_an_error(purposes: list[str] | str) -> None:
    with pytest.raises(UnprocessableError):
        read_withdrawn(POLICY, purposes)
