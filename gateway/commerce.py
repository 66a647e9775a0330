"""Properties of e-commerce events: what trackers call them to the one vocabulary.

It must not know events, consent or a wire format; what it does not know it hands on untouched, and
the door drops what the policy does not declare. Source: Segment "Spec: V2 Ecommerce Events".
"""

from collections.abc import Callable, Mapping

from gateway.money import currency_code, minor_units

__all__ = ["commerce_properties"]

# Revenue first: it excludes shipping and tax, so sums of it are comparable between shops; the
# total stands in where a shop sends no revenue, and the generic value last.
_WORTH = ("revenue", "total", "value")
_MAX_ITEMS = 500
_MAX_COUNT_DIGITS = 9


def commerce_properties(sent: Mapping[str, object]) -> dict[str, object]:
    """Return properties in the vocabulary: ids as text, money in minor units, `items`.

    What cannot be read as what its name promises is left out. Unknown names are kept as sent.
    """
    code = currency_code(sent["currency"]) if "currency" in sent else None
    kept: dict[str, object] = {}
    for name, value in sent.items():
        shape = _PROPERTIES.get(name)
        if shape is None:
            kept[name] = value
        elif (found := shape[1](value, code)) is not None:
            kept[shape[0]] = found
    # Every worth is left out above, so a complete copy has none: most events end here.
    if len(kept) < len(sent) and (worth := _worth(sent, code)) is not None:
        kept["value_minor"] = worth
    return kept


def _worth(sent: Mapping[str, object], code: str | None) -> int | None:
    for name in _WORTH:
        if name in sent and (found := minor_units(sent[name], code)) is not None:
            return found
    return None


def _items(value: object, code: str | None) -> list[dict[str, object]] | None:
    if not isinstance(value, list):
        return None
    return [_item(line, code) for line in value[:_MAX_ITEMS] if isinstance(line, dict)]


def _item(sent: Mapping[str, object], code: str | None) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, (target, read) in _ITEM.items():
        if name in sent and (found := read(sent[name], code)) is not None:
            kept.setdefault(target, found)
    return kept


def _text(value: object, _code: str | None) -> str | None:
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int or type(value) is float else None


def _count(value: object, _code: str | None) -> float | None:
    if type(value) is int or type(value) is float:
        return value
    digits = isinstance(value, str) and value.isascii() and value.isdigit()
    return int(str(value)) if digits and len(str(value)) <= _MAX_COUNT_DIGITS else None


def _whole(value: object, _code: str | None) -> int | None:
    return value if type(value) is int else None


def _code(_value: object, code: str | None) -> str | None:
    return code


def _read_elsewhere(_value: object, _code: str | None) -> None:
    return None


_Shape = tuple[str, Callable[[object, str | None], object]]

_ITEM: Mapping[str, _Shape] = {
    "product_id": ("product_id", _text),
    "productId": ("product_id", _text),
    "id": ("product_id", _text),
    "sku": ("sku", _text),
    "category": ("category", _text),
    "quantity": ("quantity", _count),
    "price": ("price_minor", minor_units),
    "price_minor": ("price_minor", _whole),
}
_IDS = ("product_id", "order_id", "checkout_id", "cart_id", "list_id", "promotion_id", "sku")
_PROPERTIES: Mapping[str, _Shape] = {
    **{name: (name, _text) for name in _IDS},
    "productId": ("product_id", _text),
    "orderId": ("order_id", _text),
    "checkoutId": ("checkout_id", _text),
    "cartId": ("cart_id", _text),
    "listId": ("list_id", _text),
    "promotionId": ("promotion_id", _text),
    "paymentMethod": ("payment_method", _text),
    "shippingMethod": ("shipping_method", _text),
    "quantity": ("quantity", _count),
    "currency": ("currency", _code),
    **{name: (f"{name}_minor", minor_units) for name in ("price", "shipping", "tax", "discount")},
    **{
        f"{name}_minor": (f"{name}_minor", _whole)
        for name in ("price", "value", "shipping", "tax", "discount")
    },
    **dict.fromkeys(("products", "items"), ("items", _items)),
    **dict.fromkeys(_WORTH, ("value_minor", _read_elsewhere)),
}
