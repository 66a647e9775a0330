"""Columns mean what contracts and policy say; a mapping renames them; others are listed once."""

from pathlib import Path

import pytest

from gateway.errors import UnreadableFileError
from gateway.importing.columns import Columns, read_mapping
from tests.gateway.importing.shops import Shop


def _columns(shop: Shop, kind: str = "orders", **mapping: str) -> Columns:
    return Columns(kind, shop.settings.policy, mapping)


def test_cells_are_sorted_by_what_they_are(shop: Shop) -> None:
    cells = _columns(shop).sort({"person": "u", "coupon": "X", "analytics": "true", "shoe": 43})
    assert (cells.own, cells.further) == ({"person": "u"}, {"coupon": "X"})
    assert cells.consent == {"analytics": "true"}


@pytest.mark.parametrize("name", ["marketing", "measurement", "audience_sync", "consent.analytics"])
def test_categories_parents_and_leaves_are_consent_columns(shop: Shop, name: str) -> None:
    assert _columns(shop).sort({name: "true"}).consent == {name.removeprefix("consent."): "true"}


def test_traits_belong_to_people_and_properties_to_events(shop: Shop) -> None:
    row = {"region": "BY", "color": "red"}
    assert _columns(shop, "people").sort(row).further == {"region": "BY"}
    assert _columns(shop, "events").sort(row).further == {"color": "red"}
    assert _columns(shop, "consents").sort(row).further == {}


def test_a_mapping_renames_columns_and_marks_numbers(shop: Shop) -> None:
    columns = _columns(shop, kunde="person", groesse="size:number")
    cells = columns.sort({"kunde": "u", "groesse": "43"})
    assert (cells.own, cells.further) == ({"person": "u"}, {"size": "43"})
    assert columns.numbers == {"size"}


def test_an_unknown_column_is_listed_once(shop: Shop) -> None:
    columns = _columns(shop)
    for _ in range(3):
        columns.sort({"shoe": 43})
    assert columns.unknown == ["shoe"]


def test_the_list_of_unknown_columns_is_bounded(shop: Shop) -> None:
    columns = _columns(shop)
    columns.sort({f"name {number}": 1 for number in range(2_000)})
    assert len(columns.unknown) == 100


@pytest.mark.parametrize(
    ("kind", "header", "missing"),
    [
        ("events", "id,person,name", "t"),
        ("people", "email", "person"),
        ("orders", "person,order_id,t,value", "currency"),
        ("orders", "person,order_id,t,currency", "value"),
        ("consents", "person,t,notice,version", "purposes"),
        ("consents", "person,t,analytics", "notice, version"),
    ],
)
def test_a_header_without_a_required_column_is_unreadable(
    shop: Shop, kind: str, header: str, missing: str
) -> None:
    with pytest.raises(UnreadableFileError, match=f"no column {missing}"):
        _columns(shop, kind).check(header.split(","))


def test_two_columns_of_one_meaning_are_unreadable(shop: Shop) -> None:
    with pytest.raises(UnreadableFileError, match="one meaning"):
        _columns(shop, "people", kunde="person").check(["kunde", "person"])


@pytest.mark.parametrize(
    ("kind", "row", "missing"),
    [
        ("events", {"id": "1", "person": "u", "name": "x"}, "t"),
        ("orders", {"person": "u", "order_id": "1", "t": 1, "currency": "EUR"}, "value"),
        ("consents", {"person": "u", "t": 1, "notice": "web", "version": "3"}, "purposes"),
        ("people", {"person": "u"}, None),
    ],
)
def test_a_row_names_the_required_cell_that_is_empty(
    shop: Shop, kind: str, row: dict[str, object], missing: str | None
) -> None:
    columns = _columns(shop, kind)
    assert columns.missing(columns.sort(row)) == missing


@pytest.mark.parametrize(
    ("name", "text"), [("m.toml", 'Kunde = "person"'), ("m.json", '{"Kunde": "person"}')]
)
def test_a_mapping_is_read_from_toml_or_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_mapping(tmp_path / name) == {"Kunde": "person"}


@pytest.mark.parametrize(("name", "text"), [("m.toml", "a b"), ("m.json", "[]"), ("m.toml", "a=1")])
def test_a_mapping_of_another_shape_is_unreadable(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableFileError):
        read_mapping(tmp_path / name)


def test_a_mapping_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"m\.toml"):
        read_mapping(tmp_path / "m.toml")
