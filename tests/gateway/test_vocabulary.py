import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MalformedPayloadError
from gateway.vocabulary import CANONICAL_NAMES, CONSENT_UPDATED, event_name


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("Product Viewed", "product_viewed"),
        ("product viewed", "product_viewed"),
        ("PRODUCT VIEWED", "product_viewed"),
        ("  Product   Viewed ", "product_viewed"),
        ("ProductViewed", "product_viewed"),
        ("productViewed", "product_viewed"),
        ("view_item", "product_viewed"),
        ("Viewed Product", "product_viewed"),
        ("Product Added", "added_to_cart"),
        ("add_to_cart", "added_to_cart"),
        ("Product Removed", "removed_from_cart"),
        ("Checkout Started", "checkout_started"),
        ("begin_checkout", "checkout_started"),
        ("Payment Info Entered", "payment_added"),
        ("Order Completed", "order_completed"),
        ("purchase", "order_completed"),
        ("Order Refunded", "order_refunded"),
        ("refund", "order_refunded"),
        ("Products Searched", "searched"),
        ("search", "searched"),
        ("add_to_wishlist", "wishlist_added"),
        ("Signed Up", "signed_up"),
        ("Signed In", "logged_in"),
        ("login", "logged_in"),
        ("generate_lead", "lead_submitted"),
        ("share", "shared"),
        ("Segment Consent Preference Updated", CONSENT_UPDATED),
    ],
)
def test_spellings_have_one_canonical_name(sent: str, expected: str) -> None:
    assert event_name(sent) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("Größe gewählt", "grosse_gewahlt"),
        ("Café—Besuch", "cafe_besuch"),
        ("HTMLParser used", "html_parser_used"),
        ("step 2", "step_2"),
        ("№5", "no5"),
        ("x" * 64, "x" * 64),
    ],
)
def test_custom_names_are_folded(sent: str, expected: str) -> None:
    assert event_name(sent) == expected


@pytest.mark.parametrize("sent", ["", " ", "…", "注文", "x" * 65, "x" * 300])
def test_names_with_nothing_or_too_much_left_are_refused(sent: str) -> None:
    with pytest.raises(MalformedPayloadError):
        event_name(sent)


@pytest.mark.parametrize(
    "sent",
    [
        "Mail to erika@shop.example",
        "mail erika%40shop.example",
        "call +49 30 901820",
        "visit from 203.0.113.9",
        "visit from 2001:db8::9",
        "seen 5d41402abc4b2a76b9719d911017c592",
        "customer 4711-0815",
        "user a1b2c3d4e5f6g7",
    ],
)
def test_names_that_may_identify_are_refused_before_folding_hides_it(sent: str) -> None:
    with pytest.raises(MalformedPayloadError, match="identifier"):
        event_name(sent)


def test_refusal_does_not_repeat_the_name() -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        event_name("mail erika@shop.example", "en")
    assert "erika" not in str(caught.value)
    assert caught.value.field == "en"


@pytest.mark.parametrize("name", sorted(CANONICAL_NAMES))
def test_canonical_names_stay_themselves(name: str) -> None:
    assert event_name(name) == name


@given(st.text(max_size=80))
def test_result_is_always_a_name(sent: str) -> None:
    try:
        found = event_name(sent)
    except MalformedPayloadError:
        return
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", found)
    assert len(found) <= 64
    assert event_name(found) == found
