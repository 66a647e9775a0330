"""Identifiers have one canonical form and never show themselves."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.errors import MalformedIdentifierError
from consent.identifiers import Identifier, IdentifierType, canonical, identify

USER, EMAIL, PHONE = IdentifierType.USER_ID, IdentifierType.EMAIL, IdentifierType.PHONE


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        (USER, "  u1 ", "u1"),
        (USER, "U1", "U1"),
        (USER, "Zoe\u0308", "Zoë"),
        (EMAIL, " Anna@Example.ORG ", "anna@example.org"),
        (EMAIL, "a+b@sub.example.org", "a+b@sub.example.org"),
        (PHONE, "0176 1234567", "+491761234567"),
        (PHONE, "+49 (0)176 1234567", "+491761234567"),
        (PHONE, "0049 176 1234567", "+491761234567"),
    ],
)
def test_one_form_whatever_was_sent(kind: IdentifierType, sent: str, kept: str) -> None:
    assert canonical(kind, sent) == kept


def test_the_region_reads_national_numbers() -> None:
    assert canonical(PHONE, "415 555 2671", "US") == "+14155552671"


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (USER, ""),
        (USER, "   "),
        (USER, "u\n1"),
        (USER, "u\x001"),
        (USER, "x" * 257),
        (EMAIL, "anna"),
        (EMAIL, "anna@localhost"),
        (EMAIL, "a b@example.org"),
        (EMAIL, "a@b@example.org"),
        (EMAIL, "a@" + "x" * 249 + ".org"),
        (PHONE, "call me"),
        (PHONE, "+49 1"),
        (PHONE, "+1 2345"),
    ],
)
def test_what_has_no_form_is_malformed(kind: IdentifierType, sent: str) -> None:
    with pytest.raises(MalformedIdentifierError) as caught:
        identify(kind, sent)
    assert not sent.strip() or sent not in str(caught.value)


@given(st.sampled_from(list(IdentifierType)), st.text(max_size=60))
def test_the_canonical_form_is_stable(kind: IdentifierType, text: str) -> None:
    try:
        once = canonical(kind, text)
    except MalformedIdentifierError:
        return
    assert canonical(kind, once) == once


def test_an_identifier_shows_its_type_only() -> None:
    assert repr(identify(EMAIL, "anna@example.org")) == "<Identifier email>"


def test_an_identifier_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be serialised"):
        pickle.dumps(Identifier(USER, "u1"))
