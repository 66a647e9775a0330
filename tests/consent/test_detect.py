"""What identifies is found in many spellings; what every shop sends is let through."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.detect import identifying, suspicious

EMAILS = [
    "anna@example.org", "Anna.Mueller+tag@example.co.uk", "ANNA@EXAMPLE.ORG", "anna@localhost",
    "write to anna@example.org please", "<anna@example.org>", "mailto:anna@example.org",
    "anna%40example.org", "anna%2540example.org", "anna\uff20example.org", "anna\ufe6bexample.org",
    "?email=anna@example.org&x=1", "anna@münchen.example",
]  # fmt: skip
PHONES = [
    "+49 176 12345678", "+4917612345678", "004917612345678", "0049 (0)176 1234 5678",
    "0176 12345678", "0176/1234567", "0176-123-45678", "(0176) 123 45 67", "030 1234567",
    "0176.1234567", "+1 415 555 2671", "+1-202-555-0143", "tel:+4917612345678",
    "Tel.0176 12345678", "phone=017612345678", "49 176 12345678", "4917612345678",
    "+44 20 7946 0958", "+33 1 23 45 67 89", "call 0176 1234567!", "176 12345678",
    "0176\u20111234567",
    "\uff0b\uff14\uff19\uff11\uff17\uff16\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
    "%2B4917612345678", "(+49) 176 1234567",
]  # fmt: skip
ADDRESSES = [
    "192.168.0.1", "203.0.113.77", "203.0.113.77:8080", "ip:203.0.113.77", "ip=203.0.113.77",
    "from 203.0.113.77.", "203.000.113.077", "2001:db8::1", "2001:db8::1.", "[2001:db8::1]:443",
    "ip:2001:db8::1", "::1", "fe80::1%eth0", "::ffff:203.0.113.77",
    "2001:0db8:0000:0000:0000:0000:0000:0001", "2001%3Adb8%3A%3A1",
]  # fmt: skip
HARMLESS = [
    # article numbers (EAN, ISBN, ASIN), stock keeping units, order numbers
    "4006381333931", "9783161484100", "5901234123457", "8711253001202", "4260012345678",
    "978-3-16-148410-0", "978 3 16 148410 0", "B00004TFTG", "SKU-12345", "SKU-1234567890",
    "ABC-123-XL", "4052-1234-56", "A1B2C3D4E5", "100001", "1234567", "12345678", "123456789",
    "R-2026-000123", "order 2026-000123", "#12345", "product_12345678",
    # dates and times
    "2026-11-21", "2026-11-21T10:30:00", "2026-11-21T10:30:00.123Z", "2026-11-21 10:30",
    "21.11.2026", "1.2.2026", "21.11.2026 10:30", "11/21/2026", "21/11/26", "20261121",
    "20261121T103000", "10:30:15", "1700000000", "1700000000000",
    # prices and sizes
    "1.299,00", "1,299.00", "1299.00", "12.99", "19.99 EUR", "1 299,00 €", "EUR 1299.00", "50 %",
    "10%", "100%25", "XL", "42", "38/40", "W32/L34", "30 x 40 cm", "30x40x50", "1.5 l", "50ml",
    "size 10-12", "1/2", "1 2 3 4 5 6 7",
    # ids that SDKs make, versions, words
    "550e8400-e29b-41d4-a716-446655440000", "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "GA1.2.1234567890.1700000000", "v1.2.3", "1.2.3", "1.2.3.4.5", "999.1.1.1", "std::vector",
    "red/blue", "summer_sale_2026", "SUMMER20", "spring & summer", "10115 Berlin",
    "iPhone 15 Pro 256GB", "Zoë", "100% cotton", "½ l", "2010\u20132012",
    "a-campaign-with-a-name-of-exactly-43-letter", "",
]  # fmt: skip


def digests(value: bytes) -> list[str]:
    """Return an unkeyed digest in every usual form."""
    found = []
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
        raw = hashlib.new(name, value).digest()
        plain, url = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
        found += [raw.hex(), raw.hex().upper(), f"h_{raw.hex()}", f"{name}:{raw.hex()}", plain, url]
    return found


@pytest.mark.parametrize("text", [*EMAILS, *PHONES, *ADDRESSES])
def test_what_identifies_is_found(text: str) -> None:
    assert identifying(text)


@pytest.mark.parametrize("value", [b"anna@example.org", b"+4917612345678", b"203.0.113.77", b"u1"])
def test_unkeyed_digests_are_found_in_every_usual_form(value: bytes) -> None:
    assert [form for form in digests(value) if not identifying(form)] == []


def test_a_digest_in_url_base64_is_found_without_its_padding() -> None:
    raw = hashlib.sha256(b"anna@example.org").digest()
    assert identifying(base64.urlsafe_b64encode(raw).decode().rstrip("="))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_every_shop_sends_is_let_through(text: str) -> None:
    assert not identifying(text)


def test_the_region_decides_how_national_numbers_are_written() -> None:
    assert identifying("415-555-2671", "US")
    assert not identifying("415-555-2671", "DE")


@pytest.mark.parametrize("text", [*EMAILS, *PHONES, *ADDRESSES, *digests(b"anna@example.org")])
def test_the_cheap_search_clears_nothing_that_identifies(text: str) -> None:
    assert suspicious(text)


@given(st.text(max_size=80), st.sampled_from([*EMAILS, "+4917612345678", "203.0.113.77"]))
def test_surroundings_set_off_by_spaces_hide_nothing(around: str, hidden: str) -> None:
    spaced = around.replace("%", " ")
    assert identifying(f"{spaced} | {hidden} | {spaced}")


@given(st.text(max_size=120), st.sampled_from(["DE", "US", "XX"]))
def test_any_text_gets_an_answer(text: str, region: str) -> None:
    assert identifying(text, region) in (True, False)
