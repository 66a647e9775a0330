"""What is left of an event: declared, typed, and free of what identifies."""

import hashlib
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.detect import identifying
from consent.observation import Place, Touch
from consent.pseudonym import References
from consent.redact import Redactor
from tests.factories import a_policy

CANARIES = [
    "anna@example.org", "+4917612345678", "0176 1234567", "203.0.113.77", "2001:db8::1",
    hashlib.sha256(b"anna@example.org").hexdigest(),
]  # fmt: skip
REDACTOR = Redactor(a_policy(), References({"shop": b"r" * 32}))


def properties(**raw: object) -> dict[str, object]:
    return REDACTOR.properties("shop", raw)[0]


def item(**raw: object) -> dict[str, object]:
    found = properties(items=[raw])["items"]
    assert isinstance(found, list)
    return dict(found[0])


def page(url: str = "", referrer: str = "") -> dict[str, str]:
    return REDACTOR.page("shop", Place(url=url, referrer=referrer, title="Anna's basket"))


# -- properties -----------------------------------------------------------------------------------


def test_a_declared_property_stays_and_an_undeclared_one_is_only_named() -> None:
    found = REDACTOR.properties("shop", {"size": "XL", "mood": "good", "items": []})
    assert found == ({"size": "XL", "items": []}, ["mood"])


def test_a_field_that_the_decision_does_not_keep_goes_without_a_trace() -> None:
    found = REDACTOR.properties("shop", {"size": "XL", "color": "red"}, frozenset({"color"}))
    assert found == ({"color": "red"}, [])


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("name", ["size", "coupon", "query", "category", "brand", "currency"])
def test_a_text_that_identifies_is_dropped(name: str, canary: str) -> None:
    assert properties(**{name: canary}) == {}
    assert properties(**{name: f"for {canary} only"}) == {}


def test_no_property_is_kept_unread() -> None:
    raw = dict.fromkeys(a_policy().properties, "anna@example.org")
    assert not [value for value in properties(**raw).values() if not str(value).startswith("mac:")]


@pytest.mark.parametrize("value", [True, False, 0, 12, 999_999, 1.5, -3])
def test_small_numbers_and_truths_stay(value: float) -> None:
    assert properties(quantity=value) == {"quantity": value}


@pytest.mark.parametrize("value", [4917612345678, 4917612345678.0, -4917612345678, 2**53, 1e300])
@pytest.mark.parametrize("name", ["quantity", "value_minor", "size"])
def test_numbers_that_somebody_can_be_called_at_are_dropped(name: str, value: float) -> None:
    assert properties(**{name: value}) == {}


def test_a_large_harmless_number_stays() -> None:
    assert properties(value_minor=1_234_567) == {"value_minor": 1_234_567}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, {"a": 1}, object()])
def test_what_is_no_plain_value_is_dropped(value: object) -> None:
    assert properties(size=value) == {}


@pytest.mark.parametrize("value", ["", "x" * 257])
def test_empty_and_long_texts_are_dropped(value: str) -> None:
    assert properties(size=value) == {}


def test_of_a_list_the_harmless_texts_stay() -> None:
    assert properties(size=["S", "anna@example.org", 5, "M"]) == {"size": ["S", "M"]}
    assert properties(size=["anna@example.org"]) == {}
    assert properties(size=["a"] * 50) == {"size": ["a"] * 20}


# -- items ----------------------------------------------------------------------------------------


def test_an_item_keeps_the_fields_of_the_list_and_no_other() -> None:
    kept = {"product_id": "p1", "sku": "s", "category": "c", "brand": "b", "variant": "v",
            "coupon": "k", "quantity": 2, "price_minor": 995, "position": 1}  # fmt: skip
    assert item(**kept, name="Anna's shoes", url="https://x.example", giftcard=True) == kept


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("name", ["category", "brand", "variant", "coupon"])
def test_a_text_of_an_item_that_identifies_is_dropped(name: str, canary: str) -> None:
    assert item(**{name: canary}) == {}


@pytest.mark.parametrize("name", ["quantity", "price_minor", "position"])
def test_a_number_of_an_item_that_somebody_can_be_called_at_is_dropped(name: str) -> None:
    assert item(**{name: 4917612345678}) == {}


@pytest.mark.parametrize("raw", [{"quantity": "2"}, {"product_id": 5}, {"sku": ""}])
def test_a_field_of_an_item_has_its_type(raw: dict[str, object]) -> None:
    assert item(**raw) == {}


def test_items_are_a_short_list_of_objects() -> None:
    assert properties(items=5) == {}
    assert properties(items=["anna@example.org", {}]) == {"items": [{}]}
    assert properties(items=[{}] * 200) == {"items": [{}] * 100}


# -- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "p1",
        "A_b.c:d-1",
        "4006381333931",
        "x" * 64,
        str(uuid.UUID(int=0x00491761234567800049176123456780, version=4)),
        "ajs-next-1700000000000-550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_looks_like_an_id_stays(value: str) -> None:
    assert REDACTOR.reference("shop", "order_id", value) == value


@pytest.mark.parametrize(
    "value",
    [*CANARIES, "x" * 65, "with space", "ü", "order/1", "a\n", "017612345678", "", "203.0.113.77"],
)
def test_what_does_not_becomes_a_mac(value: str) -> None:
    found = REDACTOR.reference("shop", "order_id", value)
    assert found.startswith("mac:")
    assert not value or value not in found


@pytest.mark.parametrize("name", ["product_id", "sku", "order_id", "checkout_id", "refund_of"])
def test_an_id_property_that_identifies_becomes_the_same_mac_every_time(name: str) -> None:
    once, twice = (properties(**{name: "anna@example.org"})[name] for _ in range(2))
    assert once == twice == REDACTOR.reference("shop", name, "anna@example.org")


def test_an_empty_id_property_is_dropped() -> None:
    assert properties(product_id="") == {}


def test_a_bare_uuid_stays_as_message_id_alone() -> None:
    bare = uuid.UUID(int=5, version=4).hex
    assert REDACTOR.reference("shop", "message_id", bare) == bare
    assert REDACTOR.reference("shop", "order_id", bare).startswith("mac:")


@pytest.mark.parametrize("canary", [b"anna@example.org", b"+4917612345678", b"203.0.113.77"])
def test_an_md5_is_no_message_id(canary: bytes) -> None:
    found = hashlib.md5(canary).hexdigest()  # noqa: S324, TID251 - what must not pass
    assert REDACTOR.reference("shop", "message_id", found).startswith("mac:")


# -- traits ---------------------------------------------------------------------------------------


def test_declared_traits_stay_and_others_are_only_named() -> None:
    raw = {"region": "BY", "age_band": "anna@example.org", "first_name": "Anna"}
    assert REDACTOR.traits("shop", raw) == ({"region": "BY"}, ["first_name"])


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://shop.example/", {"host": "shop.example", "path": "/"}),
        ("https://shop.example", {"host": "shop.example", "path": "/"}),
        ("https://SHOP.example:8443/search?q=anna", {"host": "shop.example", "path": "/search"}),
        ("https://shop.example/search/#anna", {"host": "shop.example", "path": "/search"}),
        (
            "https://shop.example/products/anna@example.org",
            {"host": "shop.example", "path": "/products/:product"},
        ),
        ("https://shop.example/products/1/reviews", {"host": "shop.example"}),
        ("https://shop.example/users/anna", {"host": "shop.example"}),
        ("https://anna:secret@shop.example/", {"host": "shop.example", "path": "/"}),
        ("https://a@anna.miller:secret@shop.example/", {"host": "shop.example", "path": "/"}),
        ("https://anna%40mail.example/", {}),
        ("https://anna_miller.example/", {}),
        ("https://shop.example\\@anna.example/", {}),
        ("https://203.0.113.77/", {"path": "/"}),
        ("//shop.example/", {}),
        ("/search?q=anna", {}),
        ("data:text/plain,anna@example.org", {}),
        ("anna@example.org", {}),
        ("", {}),
    ],
)
def test_of_a_page_host_and_declared_path_stay(url: str, kept: dict[str, str]) -> None:
    assert page(url) == kept


@pytest.mark.parametrize(
    ("referrer", "kept"),
    [
        ("https://search.example/?q=anna", {"referrer": "search.example"}),
        ("https://203.0.113.77/x", {}),
        ("android-app://com.example/", {"referrer": "com.example"}),
        ("anna", {}),
    ],
)
def test_of_a_referrer_the_host_stays(referrer: str, kept: dict[str, str]) -> None:
    assert page(referrer=referrer) == kept


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_part_of_path_query_or_fragment_stays(path: str, query: str) -> None:
    found = page(f"https://shop.example/products/{path}?{query}#{query}")
    assert set(found.values()) <= {"shop.example", "/products/:product", "/", "/search"}


def test_a_policy_without_paths_keeps_none() -> None:
    bare = Redactor(a_policy(paths=()), References({"shop": b"r" * 32}))
    assert bare.page("shop", Place("https://shop.example/")) == {"host": "shop.example"}


# -- campaigns ------------------------------------------------------------------------------------


def test_campaign_parameters_stay_unless_they_identify() -> None:
    touch = Touch({"source": "news", "term": "anna@example.org", "content": 5, "clickid": "x"})
    assert REDACTOR.campaign("shop", touch) == {"source": "news"}


# -- all together ---------------------------------------------------------------------------------

VALUES: Any = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=40),
        st.sampled_from(CANARIES),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [found for inner in value.values() for found in texts(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in texts(inner)]
    return [value] if isinstance(value, str) else []


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(a_policy().properties)), VALUES, max_size=6))
def test_no_kept_text_identifies(raw: dict[str, object]) -> None:
    kept = [text for text in texts(properties(**raw)) if not text.startswith("mac:")]
    assert [text for text in kept if identifying(text)] == []


def test_strings_found_harmless_are_remembered_within_a_bound() -> None:
    redactor = Redactor(a_policy(), References({"shop": b"r" * 32}))
    for number in range(9_000):
        redactor.properties("shop", {"size": f"s{number}"})
    assert len(redactor._clean) <= 8_192
