"""Keyed transformations: as the standard says, apart for every site, type and domain."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.identifiers import Identifier, IdentifierType
from consent.pseudonym import Domain, IdentifierMac, References, identifier_message

VECTORS = Path(__file__).parents[1] / "vectors" / "pseudonyms" / "identifier-macs.json"
KEY = b"k" * 32


@pytest.mark.parametrize("row", json.loads(VECTORS.read_text("utf-8")), ids=lambda row: row["type"])
def test_an_identifier_becomes_the_mac_of_the_vectors(row: dict[str, Any]) -> None:
    macs = IdentifierMac(1, {"shop": bytes.fromhex(row["key"])})
    found = macs("shop", Identifier(IdentifierType(row["type"]), row["value"]))
    assert found == b"\x01" + bytes.fromhex(row["hmac_sha256"])


@given(st.binary(max_size=64), st.text(max_size=40))
def test_the_prepared_mac_equals_the_plain_one(key: bytes, value: str) -> None:
    macs = IdentifierMac(2, {"shop": key})
    plain = hmac.digest(key, identifier_message("user_id", value), "sha256")
    assert macs("shop", Identifier(IdentifierType.USER_ID, value)) == b"\x02" + plain


def test_a_key_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        IdentifierMac(1, {"shop": b"k" * 65})


def test_sites_types_and_epochs_never_meet() -> None:
    one, other = IdentifierMac(1, {"a": KEY, "b": b"o" * 32}), IdentifierMac(2, {"a": KEY})
    ids = [Identifier(kind, "x") for kind in IdentifierType]
    every = [macs(site, it) for macs, site in ((one, "a"), (one, "b"), (other, "a")) for it in ids]
    assert len(set(every)) == len(every)


def test_a_mac_is_no_unkeyed_digest() -> None:
    macs = IdentifierMac(1, {"shop": KEY})
    found = macs("shop", Identifier(IdentifierType.EMAIL, "anna@example.org"))
    assert hashlib.sha256(b"anna@example.org").digest() not in found


REFERENCES = References({"a": KEY, "b": b"o" * 32})


def test_deduplication_keys_differ_by_site_source_and_id() -> None:
    cases = [("a", "web", "1"), ("b", "web", "1"), ("a", "app", "1"), ("a", "web", "2")]
    assert len({REFERENCES.dedup(*case) for case in cases}) == len(cases)


def test_source_and_id_cannot_be_shifted_into_each_other() -> None:
    assert REFERENCES.dedup("a", "we", "b1") != REFERENCES.dedup("a", "web", "1")


def test_content_is_keyed() -> None:
    assert REFERENCES.content("a", b"x") != REFERENCES.content("b", b"x")
    assert len(REFERENCES.content("a", b"x")) == 8


def test_printed_macs_carry_a_prefix_that_no_digest_has() -> None:
    assert REFERENCES.text("a", "order_id", "x").startswith("mac:")
    assert REFERENCES.session("a", "x").startswith("ses_")
    assert Domain(KEY)(1).startswith("sub_")


def test_kinds_of_reference_never_meet() -> None:
    kinds = ("order_id", "message_id")
    assert len({REFERENCES.text("a", kind, "x") for kind in kinds}) == len(kinds)
    assert REFERENCES.session("a", "x")[4:] != REFERENCES.text("a", "order_id", "x")[4:]


def test_domains_print_different_pseudonyms_for_one_slot() -> None:
    assert Domain(KEY)(5) != Domain(b"o" * 32)(5)
    assert Domain(KEY, "meta_")(5) == Domain(KEY)(5).replace("sub_", "meta_")
