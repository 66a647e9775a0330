from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money import currency_code, minor_units


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        (59.9, "EUR", 5990),
        (1200, "JPY", 1200),
        (1200.5, "JPY", 1200),
        (1.2345, "BHD", 1234),
        (1.2355, "BHD", 1236),
        (0.125, "USD", 12),
        (0.135, "USD", 14),
        (1.005, "EUR", 100),
        (1.015, "EUR", 102),
        ("19.99", "EUR", 1999),
        ("1e2", "EUR", 10_000),
        (1e-7, "EUR", 0),
        (2.5, "CLF", 25_000),
        (-20.5, "EUR", -2050),
        (7, None, 700),
        (7, "ZZZ", 700),
    ],
)
def test_amounts_become_minor_units_of_their_currency(
    value: object, currency: str | None, expected: int
) -> None:
    assert minor_units(value, currency) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "19,99",
        "1_000",
        "NaN",
        "Infinity",
        "٣",
        "9" * 40,
        "9" * 16,
        "1e99",
        1e300,
        1e15,
        [1],
        {},
    ],
)
def test_what_is_no_amount_is_none(value: object) -> None:
    assert minor_units(value, "EUR") is None


def test_an_amount_that_only_fits_before_scaling_is_none() -> None:
    assert minor_units(2**52, "BHD") is None


@given(st.decimals(-(10**9), 10**9, places=4))
def test_text_and_exact_decimal_arithmetic_agree(amount: Decimal) -> None:
    exact = int((amount * 100).to_integral_value(ROUND_HALF_EVEN))
    assert minor_units(f"{amount:f}", "EUR") == exact


@given(st.integers(-(10**12), 10**12))
def test_numbers_with_two_digits_survive_the_binary_fraction(cents: int) -> None:
    assert minor_units(cents / 100, "EUR") == cents


@pytest.mark.parametrize(("value", "expected"), [("EUR", "EUR"), (" usd ", "USD")])
def test_currency_is_upper_case(value: str, expected: str) -> None:
    assert currency_code(value) == expected


@pytest.mark.parametrize("value", ["Euro", "€", "E1R", "ÄÖÜ", "", None, 978, "E" * 40])
def test_what_is_no_currency_is_none(value: object) -> None:
    assert currency_code(value) is None
