import pytest

from gateway.commerce import commerce_properties


def test_unknown_properties_are_kept_as_sent() -> None:
    sent = {"size": "XL", "nested": {"a": [1]}, "Color": None}
    assert commerce_properties(sent) == sent


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"productId": 7}, {"product_id": "7"}),
        ({"product_id": "p"}, {"product_id": "p"}),
        ({"sku": True}, {}),
        ({"order_id": ""}, {}),
        ({"orderId": "o", "paymentMethod": "card"}, {"order_id": "o", "payment_method": "card"}),
    ],
)
def test_ids_are_text_under_one_name(sent: dict[str, object], kept: dict[str, object]) -> None:
    assert commerce_properties(sent) == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"price": 1.5}, {"price_minor": 150}),
        ({"price": 150, "currency": "jpy"}, {"price_minor": 150, "currency": "JPY"}),
        ({"price": "a lot"}, {}),
        ({"tax": 1, "shipping": "2", "discount": 0.5},
         {"tax_minor": 100, "shipping_minor": 200, "discount_minor": 50}),
        ({"value_minor": 7, "price_minor": 7.5}, {"value_minor": 7}),
        ({"currency": "Euro"}, {}),
    ],
)  # fmt: skip
def test_money_is_whole_minor_units(sent: dict[str, object], kept: dict[str, object]) -> None:
    assert commerce_properties(sent) == kept


@pytest.mark.parametrize(
    ("sent", "worth"),
    [
        ({"revenue": 1, "total": 2, "value": 3}, 100),
        ({"total": 2, "value": 3}, 200),
        ({"value": 3}, 300),
        ({"revenue": "free", "total": 2}, 200),
        ({"revenue": 1, "value_minor": 9}, 100),
        ({"revenue": "free"}, None),
    ],
)
def test_worth_is_revenue_then_total_then_value(sent: dict[str, object], worth: int | None) -> None:
    assert commerce_properties(sent).get("value_minor") == worth


@pytest.mark.parametrize(
    ("value", "kept"),
    [(2, 2), (1.5, 1.5), ("3", 3), ("3.5", None), ("9" * 10, None), (True, None), (None, None)],
)
def test_quantity_is_a_number(value: object, kept: object) -> None:
    assert commerce_properties({"quantity": value}).get("quantity") == kept


def test_products_become_items_with_known_fields_only() -> None:
    line = {"productId": 1, "sku": "s", "name": "Runner", "price": 2.5, "quantity": 2, "url": "u"}
    found = commerce_properties({"products": [line, {"id": "x"}, "junk"], "currency": "EUR"})
    assert found["items"] == [
        {"product_id": "1", "sku": "s", "quantity": 2, "price_minor": 250},
        {"product_id": "x"},
    ]


@pytest.mark.parametrize("value", [None, "p-1", {"product_id": "p-1"}])
def test_products_that_are_no_list_are_dropped(value: object) -> None:
    assert commerce_properties({"products": value}) == {}


def test_items_are_limited() -> None:
    found = commerce_properties({"items": [{"id": n} for n in range(600)]})["items"]
    assert isinstance(found, list)
    assert len(found) == 500
