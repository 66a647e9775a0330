"""Slots say nothing; linking needs the word of each side that has a record."""

import pytest

from consent.slots import may_link, merged, new_slot
from consent.state import Standing

NOBODY = Standing(frozenset(), {}, None)
WILLING = Standing(frozenset({"identity_link"}), {}, 1)
OTHERWISE = Standing(frozenset({"analytics"}), {}, 2)


@pytest.mark.parametrize(
    ("sides", "linked"),
    [
        ((WILLING, WILLING), True),
        ((WILLING, NOBODY), True),
        ((NOBODY, WILLING), True),
        ((NOBODY, NOBODY), False),
        ((WILLING, OTHERWISE), False),
        ((OTHERWISE, NOBODY), False),
        ((), False),
    ],
)
def test_each_side_with_a_record_must_grant_it_and_one_must_have_one(
    sides: tuple[Standing, ...],
    linked: bool,  # noqa: FBT001 - a table
) -> None:
    assert may_link(sides) is linked


def test_a_merged_cluster_holds_each_slot_once_and_keeps_the_first_name() -> None:
    assert merged((3, 1), (1, 2)) == (3, 1, 2)


@pytest.mark.parametrize(("random", "slot"), [(b"\x00", 1), (b"\xff", 2**63 - 1), (b"\x80", None)])
def test_a_slot_is_a_positive_63_bit_number(random: bytes, slot: int | None) -> None:
    found = new_slot(lambda n: random * n)
    assert 0 < found < 2**63
    assert slot in (None, found)
