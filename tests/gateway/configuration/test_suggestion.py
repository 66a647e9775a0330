"""What a misspelled name was meant to be."""

import pytest

from gateway.configuration.suggestion import did_you_mean, nearest, one_slip_apart, shown


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("key", "key"), ("key", "ky"), ("key", "kkey"), ("key", "kex"), ("key", "kye"),
        ("", "a"), ("aab", "ab"), ("endpoint", "endponit"),
    ],
)  # fmt: skip
def test_one_slip(left: str, right: str) -> None:
    assert one_slip_apart(left, right)
    assert one_slip_apart(right, left)


@pytest.mark.parametrize(
    ("left", "right"), [("account", "audience"), ("key", "eyk"), ("audience", "audience_id")]
)
def test_more_than_one_slip(left: str, right: str) -> None:
    assert not one_slip_apart(left, right)


def test_a_slip_wins_over_a_mere_likeness() -> None:
    assert nearest("key_fil", ["key", "key_fill_level", "key_file"]) == "key_file"


def test_dash_and_case_do_not_hide_a_name() -> None:
    assert nearest("Token-File", ["kind", "token_file"]) == "token_file"


def test_a_short_list_is_shown_where_nothing_is_alike() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [str(number) for number in range(100, 120)]) == ""


@pytest.mark.parametrize("value", ["sk_live_42", "wk_42", "a b", "x" * 41, "ghp_abc", "p@ss", ""])
def test_what_may_be_a_secret_is_not_shown(value: str) -> None:
    assert shown(value) == f"a text of {len(value)} characters"


def test_a_name_is_shown() -> None:
    assert shown("Europe/Berlin") == "'Europe/Berlin'"
