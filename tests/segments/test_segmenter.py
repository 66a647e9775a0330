from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segments.rules.parse import parse_definition
from segments.segmenter import Ceilings, Segmenter, shown_size
from tests.segments.histories import ADS, DAY, ZONES, History

T = 1_774_785_600_000
CLICKED = parse_definition(
    {"name": "clicked", "purposes": [ADS], "where": {"did": {"event": "clicked"}}}
)


def pseudonym(slot: int) -> str:
    return f"sub_{9 - slot}"


@pytest.fixture
def history() -> History:
    history = History()
    for slot in (1, 2, 3):
        history.grant(slot, T - DAY, ADS).event(slot, "clicked", T - slot)
    return history


@pytest.fixture
def segmenter(history: History, tmp_path: Path) -> Iterator[Segmenter]:
    found = Segmenter(tmp_path / "warehouse.duckdb", history, pseudonym, ZONES)
    found.catch_up()
    yield found
    found.close()


def test_members_are_sorted_pseudonyms_with_version_instant_and_engine(
    segmenter: Segmenter,
) -> None:
    assert segmenter.evaluate([CLICKED], T)["clicked"] == {
        "members": ["sub_6", "sub_7", "sub_8"],
        "version": CLICKED.version,
        "at": T,
        "engine": "duckdb",
        "currency": None,
        "other_currency": 0,
    }


def test_members_for_an_audience_are_slots(segmenter: Segmenter) -> None:
    assert segmenter.members([CLICKED], T)["clicked"].persons == (1, 2, 3)


def test_a_small_size_is_not_shown(segmenter: Segmenter) -> None:
    assert segmenter.sizes([CLICKED], T) == {"clicked": "<10"}


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "<10"), (9, "<10"), (10, "10"), (12, "10"), (13, "15"), (101, "100")]
)
def test_sizes_are_rounded_to_multiples_of_five(size: int, shown: str) -> None:
    assert shown_size(size, 10) == shown


def test_an_explanation_names_the_person_by_pseudonym(segmenter: Segmenter) -> None:
    found = segmenter.explain(CLICKED, 2, T)
    assert (found["subject"], found["member"]) == ("sub_7", True)


def test_forgotten_slots_leave_no_row(segmenter: Segmenter, history: History) -> None:
    segmenter.forget([1])
    history.unreadable = frozenset({1})
    assert segmenter.members([CLICKED], T)["clicked"].persons == (2, 3)
    assert segmenter.catch_up() == 0


def test_calls_from_several_threads_do_not_disturb_each_other(segmenter: Segmenter) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: segmenter.members([CLICKED], T), range(8))
    assert {result["clicked"].persons for result in found} == {(1, 2, 3)}


def test_the_warehouse_survives_a_restart(history: History, tmp_path: Path) -> None:
    path = tmp_path / "again.duckdb"
    for events in (3, 0):
        segmenter = Segmenter(path, history, pseudonym, ZONES, Ceilings(memory="256MB", threads=1))
        assert segmenter.catch_up() == events
        assert segmenter.cursor().events == history.head()
        segmenter.close()
