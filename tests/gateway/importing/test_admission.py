"""Imported consent: it may be a first record, takes away, never widens; rows pass the same door."""

from collections.abc import Callable

import pytest

from tests.gateway.importing.shops import Shop

ALL = {"functional": "true", "analytics": "true", "marketing": "true"}
NONE = dict.fromkeys(ALL, "false")
Order = Callable[..., dict[str, object]]


def _consent(t: int, **answers: str) -> dict[str, object]:
    return {"person": "u1", "t": t, "notice": "web", "version": "3"} | answers


def test_an_imported_grant_may_be_the_first_record(shop: Shop, order: Order) -> None:
    assert shop.run("orders", order(**ALL)).outcomes == {("accepted", ""): 1}
    (record,) = shop.records()
    assert record["kind"] == "import"
    assert {"analytics", "audience_sync", "identity_link"} <= set(record["granted"])


def test_a_row_without_any_consent_is_refused(shop: Shop, order: Order) -> None:
    assert shop.run("orders", order()).outcomes == {("refused", "consent_unknown"): 1}
    assert (shop.events(), shop.records()) == ([], [])


def test_a_recorded_consent_admits_rows_that_bring_none(shop: Shop, order: Order) -> None:
    shop.run("consents", _consent(5, **ALL))
    assert shop.run("orders", order()).outcomes == {("accepted", ""): 1}


def test_an_imported_grant_never_lifts_a_recorded_refusal(shop: Shop, order: Order) -> None:
    shop.run("consents", _consent(5, **NONE))
    assert shop.run("consents", _consent(6, **ALL)).outcomes == {("refused", "consent_conflict"): 1}
    assert shop.run("orders", order(**ALL)).outcomes == {("refused", "consent_refused"): 1}


def test_an_imported_grant_never_widens_a_record(shop: Shop, order: Order) -> None:
    shop.run("consents", _consent(5, analytics="true"))
    shop.run("orders", order(**ALL))
    (event,) = shop.events()
    assert event["purposes"] == ["analytics", "audience_insight"]
    assert len(shop.records()) == 1


def test_an_imported_refusal_is_recorded_and_holds(shop: Shop, order: Order) -> None:
    shop.run("orders", order(1, **ALL))
    summary = shop.run("orders", order(2, **NONE), order(3))
    assert summary.outcomes == {("refused", "consent_withdrawn"): 2}
    first, second = shop.records()
    assert (second["kind"], second["granted"]) == ("import", [])
    assert set(second["answers"]) == set(first["answers"])


def test_a_refusal_by_a_stranger_makes_no_person_and_is_recorded_once(
    shop: Shop, order: Order
) -> None:
    for _ in range(2):
        shop.run("orders", order(1, **NONE), order(2, **NONE))
    assert len(shop.records()) == 1
    assert shop.events() == []


def test_what_a_consent_row_changes_decides_its_outcome(shop: Shop) -> None:
    grant, refuse = _consent(5, **ALL), _consent(6, analytics="false")
    assert shop.run("consents", grant, grant, refuse, refuse).outcomes == {
        ("accepted", ""): 2,
        ("duplicate", ""): 2,
    }


@pytest.mark.parametrize("known", [{}, {"analytics": "true"}])
def test_a_refusal_holds_for_every_id_of_the_row(
    shop: Shop, order: Order, known: dict[str, str]
) -> None:
    device = order(1, person="d1", person_type="anonymous_id")
    shop.run("orders", device | ALL, order(2, **known))
    shop.run("orders", order(3, anonymous_id="d1", **NONE))
    assert shop.run("orders", device | {"order_id": "A-4"}).outcomes == {
        ("refused", "consent_withdrawn"): 1
    }


def test_a_refusal_known_of_an_id_is_not_recorded_again(shop: Shop, order: Order) -> None:
    row = order(1, anonymous_id="d1", **NONE)
    shop.run("orders", row)
    shop.run("orders", row, row | {"person": "u2"})
    assert len(shop.records()) == 3


def test_a_row_links_the_ids_it_states_where_linking_is_granted(shop: Shop, order: Order) -> None:
    shop.run("orders", order(1, anonymous_id="d1", **ALL))
    shop.run("orders", order(2, person="d1", person_type="anonymous_id"))
    assert len({event["subject"] for event in shop.events()}) == 1


def test_importing_a_file_twice_stores_and_records_nothing_twice(shop: Shop, order: Order) -> None:
    rows = [order(1, **ALL), order(2), order(3, refund_of="A-1")]
    shop.run("orders", *rows)
    assert shop.run("orders", *rows).outcomes == {("duplicate", ""): 3}
    assert (len(shop.events()), len(shop.records())) == (3, 1)


def test_the_time_of_receipt_makes_no_other_order(shop: Shop, order: Order) -> None:
    rows = [order(1, received=5, **ALL), order(1, received=6)]
    assert shop.run("orders", *rows).outcomes == {("accepted", ""): 1, ("duplicate", ""): 1}


def test_what_is_remembered_of_rows_before_is_bounded(
    shop: Shop, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.importing.admission._MAX_SETTLED", 1)
    rows = [order(number, person=f"u{number % 3}", **ALL) for number in range(12)]
    assert shop.run("orders", *rows).outcomes == {("accepted", ""): 12}
    assert len(shop.records()) == 3


def test_the_same_order_with_another_amount_is_a_conflict(shop: Shop, order: Order) -> None:
    shop.run("orders", order(1, **ALL))
    assert shop.run("orders", order(1, value="13")).outcomes == {("conflict", ""): 1}
    assert [event["properties"]["value_minor"] for event in shop.events()] == [1250]


def test_undeclared_properties_are_not_kept(shop: Shop, order: Order) -> None:
    shop.run("orders", order(1, color="red", shoe="43", **ALL))
    (event,) = shop.events()
    assert event["properties"]["color"] == "red"
    assert "shoe" not in event["properties"]


def test_people_rows_become_traits_and_sealed_contact_data(shop: Shop) -> None:
    row = {"person": "u1", "region": "BY", "email": "a@example.org"} | ALL
    assert shop.run("people", row).outcomes == {("accepted", ""): 1}
    (event,) = shop.events()
    assert event["properties"] == {"traits": {"region": "BY"}}
    assert b"a@example.org" not in b"".join(
        path.read_bytes() for path in shop.data.path.iterdir() if path.is_file()
    )


def test_malformed_rows_are_counted_at_the_door(shop: Shop, order: Order) -> None:
    summary = shop.run("orders", order(t="soon"), order(value=[]))
    assert summary.outcomes == {("invalid", "malformed"): 2}
    assert dict(summary.faults) == {"t: a time without an offset": 1, "value: not an amount": 1}


@pytest.mark.parametrize("rows", [1, 199, 201, 2_001])
def test_every_row_has_one_outcome(shop: Shop, order: Order, rows: int) -> None:
    summary = shop.run("orders", *(order(number, **ALL) for number in range(rows)))
    assert (summary.rows, summary.outcomes) == (rows, {("accepted", ""): rows})
    assert len(shop.events()) == rows
