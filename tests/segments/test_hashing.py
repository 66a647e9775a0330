"""Platform normal forms and digests, against the vector files in tests/vectors/identifiers."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segments.errors import IdentifierRejectedError
from segments.hashing import EMAIL_FAMILIES, PHONE_FAMILIES, Rejection, digest, normal_form

VECTORS = Path(__file__).parents[1] / "vectors" / "identifiers"
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
TRUNK_ZERO_KEPT = "5bf58a75c888488d3ef7d0256835119889bdfd2cbdaa8a3b20438caed6536f94"


def rows(name: str) -> list[Any]:
    return list(json.loads((VECTORS / f"{name}.json").read_text()))


@pytest.mark.parametrize("row", [row for row in rows("email-families") if "digest" in row])
def test_email_family_has_the_published_form_and_digest(row: dict[str, str]) -> None:
    assert normal_form("email", row["family"], row["input"]) == row["normal_form"]
    found = digest("email", row["family"], row["input"], encoding=row["encoding"])
    assert found == row["digest"]


@pytest.mark.parametrize("family", PHONE_FAMILIES)
@pytest.mark.parametrize("row", rows("phone-families"))
def test_phone_family_agrees_for_every_spelling(row: dict[str, str], family: str) -> None:
    raw = digest("phone", family, row["input"], region=row["region"])
    assert raw == digest("phone", family, row["e164"]) == row[family]


def test_bracketed_trunk_zero_is_not_kept() -> None:
    assert digest("phone", "P2", "+49 (0)171 2345678", region="DE") != TRUNK_ZERO_KEPT


@pytest.mark.parametrize("row", rows("published"))
def test_vendor_example_agrees(row: dict[str, str]) -> None:
    kind, family, region = row["kind"], row["family"], row.get("region")
    assert normal_form(kind, family, row["input"], region=region) == row["normal_form"]
    found = digest(kind, family, row["input"], encoding=row["encoding"], region=region)
    assert found == row["digest"]


@pytest.mark.parametrize(
    "row", rows("rejected") + [row for row in rows("email-families") if "rejected" in row]
)
def test_value_without_a_form_is_rejected_with_its_reason(row: dict[str, str]) -> None:
    with pytest.raises(IdentifierRejectedError) as caught:
        digest(row.get("kind", "email"), row["family"], row["input"])
    assert caught.value.reason == row["rejected"]


@pytest.mark.parametrize("row", rows("edge-cases"))
def test_edge_case_has_the_documented_digest(row: dict[str, str]) -> None:
    assert (
        digest(row["kind"], row["family"], row["input"], encoding=row["encoding"])
        == (row["digest"])
    )


def test_base64_look_alike_that_does_not_decode_is_an_address_error() -> None:
    not_canonical = base64.b64encode(b"x" * 32).decode()[:-2] + "é="
    with pytest.raises(IdentifierRejectedError) as caught:
        digest("email", "E1", not_canonical)
    assert caught.value.reason == Rejection.NOT_AN_ADDRESS


def test_rejection_does_not_show_the_value() -> None:
    with pytest.raises(IdentifierRejectedError) as caught:
        digest("email", "E1", "jane doe@example.de")
    assert "jane" not in str(caught.value)


@given(st.sampled_from(sorted(EMAIL_FAMILIES)), st.text(max_size=80))
def test_no_text_whatever_gives_the_empty_digest(family: str, value: str) -> None:
    try:
        found = digest("email", family, value)
    except IdentifierRejectedError:
        return
    assert found != EMPTY_DIGEST
    assert len(found) == 64


@given(st.sampled_from(sorted(PHONE_FAMILIES)), st.text(alphabet="+0123456789 ()/-", max_size=24))
def test_phone_form_is_digits_with_a_country(family: str, value: str) -> None:
    try:
        form = normal_form("phone", family, value, region="DE")
    except IdentifierRejectedError:
        return
    assert form.removeprefix("+").isdigit()
    assert not form.startswith("0")
