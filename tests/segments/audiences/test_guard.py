import pytest

from segments.audiences.guard import covers, may_release, shown_size, still_enough

SYNC = frozenset({"audience_sync"})


def test_consent_covers_only_if_every_purpose_is_granted() -> None:
    both = SYNC | {"ads_personalised"}
    assert covers(both, SYNC)
    assert not covers(SYNC, both)


def test_no_record_is_a_denial() -> None:
    assert not covers(None, SYNC)


def test_no_purpose_is_a_denial() -> None:
    assert not covers(SYNC, frozenset())


@pytest.mark.parametrize(
    ("size", "waiting", "leaves"),
    [(49, 49, False), (50, 50, True), (500, 49, False), (500, 50, True), (49, 50, False)],
)
def test_neither_a_small_audience_nor_a_small_addition_leaves(
    size: int, waiting: int, *, leaves: bool
) -> None:
    assert may_release(size, waiting, 50) is leaves


def test_a_release_that_shrank_below_the_minimum_stays() -> None:
    assert not still_enough(sent=0, batch=49, rest=0, k=50)


def test_the_last_batch_of_a_large_release_goes() -> None:
    assert still_enough(sent=49, batch=1, rest=0, k=50)
    assert still_enough(sent=0, batch=1, rest=49, k=50)


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0"), (1, "< 50"), (49, "< 50"), (50, "50"), (54, "50"), (55, "55")]
)
def test_small_sizes_are_hidden_and_others_rounded(size: int, shown: str) -> None:
    assert shown_size(size, 50) == shown
