"""Segment's consent object is read strictly: whatever is not plain is malformed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.errors import MalformedSignalError
from consent.signals.carried import read_categories


@pytest.mark.parametrize(
    ("raw", "answers"),
    [
        (b'{"categoryPreferences":{"a":true,"b":false}}', {"a": True, "b": False}),
        (b'{"categoryPreferences":{}}', {}),
        (b"{}", {}),
        (b"null", {}),
        (b'{"categoryPreferences":{"a":true},"more":[1]}', {"a": True}),
    ],
)
def test_what_is_plain_is_read(raw: bytes, answers: dict[str, bool]) -> None:
    assert read_categories(raw) == answers


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"true",
        b"[]",
        b'"yes"',
        b"\xff",
        b'{"categoryPreferences":null}',
        b'{"categoryPreferences":[]}',
        b'{"categoryPreferences":{"a":1}}',
        b'{"categoryPreferences":{"a":"true"}}',
        b'{"categoryPreferences":{"a":null}}',
        b'{"categoryPreferences":{"a":true,"a":false}}',
        b'{"categoryPreferences":{"a":true},"categoryPreferences":{}}',
        b'{"categoryPreferences":{"' + b"a" * 129 + b'":true}}',
        json.dumps({"categoryPreferences": {f"c{n}": True for n in range(65)}}).encode(),
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda raw: raw[:40].decode("latin-1") or "empty",
)
def test_what_is_not_plain_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedSignalError):
        read_categories(raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_answers_or_malformed(raw: bytes) -> None:
    try:
        found = read_categories(raw)
    except MalformedSignalError:
        return
    assert all(isinstance(answer, bool) for answer in found.values())


def test_the_message_shows_nothing_of_what_was_sent() -> None:
    with pytest.raises(MalformedSignalError) as caught:
        read_categories(b'{"categoryPreferences":{"anna@example.org":"x"}}')
    assert "anna" not in str(caught.value)
