"""A log line is one JSON object, and no value gets there that is not meant to."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry import configure

CANARIES = [
    "anna@example.org", "+49 176 12345678", "0176 12345678", "203.0.113.77", "2001:db8::1",
    "5f4dcc3b5aa765d61d8327deb882cf99",
]  # fmt: skip
INJECTIONS = [
    "a\nb",
    "a\r\nb",
    "\x1b[31mred",
    "a\u2028b",
    "a\u2029b",
    "a\x00b",
    '"}\n{"',
    "\x85",
    "\x0b",
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    configure("test", written)
    yield written
    structlog.reset_defaults()


def line(stream: io.StringIO, **fields: object) -> dict[str, Any]:
    """Log one event; return its line, which must be the only one."""
    stream.seek(0)
    stream.truncate()
    structlog.get_logger().info("something_happened", **fields)
    (found,) = stream.getvalue().splitlines()
    assert stream.getvalue().isascii()
    return dict(json.loads(found))


def test_a_line_names_process_level_time_and_event(stream: io.StringIO) -> None:
    found = line(stream)
    assert (found["process"], found["level"], found["event"]) == (
        "test",
        "info",
        "something_happened",
    )
    assert found["timestamp"].endswith("Z")


@pytest.mark.parametrize("value", [0, -5, 1.5, True, None, "meta", "sub.domain/x", "Error: (3)"])
def test_plain_values_of_listed_fields_are_shown(stream: io.StringIO, value: object) -> None:
    assert line(stream, reason=value)["reason"] == value


@pytest.mark.parametrize("value", ["anna", 5, None, ["anna"], {"a": "anna"}, b"anna"])
def test_of_any_other_field_the_type_is_all_that_is_shown(
    stream: io.StringIO, value: object
) -> None:
    assert line(stream, user=value)["user"] == f"<{type(value).__name__}>"


@pytest.mark.parametrize("canary", CANARIES)
def test_what_identifies_is_shown_in_no_field(stream: io.StringIO, canary: str) -> None:
    found = line(stream, reason=canary, name=f"for {canary}", error=canary, user=canary)
    assert {found[name] for name in ("reason", "name", "error", "user")} == {"<str>"}


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_value_breaks_the_line(stream: io.StringIO, text: str) -> None:
    assert line(stream, reason=text)["reason"] == "<str>"


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_name_of_a_field_or_event_breaks_the_line(stream: io.StringIO, text: str) -> None:
    stream.truncate(0)
    structlog.get_logger().info(text, **{text: 1})
    (found,) = stream.getvalue().splitlines()
    assert json.loads(found)["event"] == "<str>"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_not_shown(stream: io.StringIO, value: float) -> None:
    assert line(stream, seconds=value)["seconds"] == "<float>"


@pytest.mark.parametrize("value", [ValueError("anna@example.org"), ["x"], b"x", object()])
def test_of_a_listed_field_only_plain_types_are_shown(stream: io.StringIO, value: object) -> None:
    assert line(stream, error=value)["error"] == f"<{type(value).__name__}>"


def test_a_traceback_is_not_shown(stream: io.StringIO) -> None:
    try:
        int(CANARIES[0])
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "anna" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


@given(st.text(), st.text(), st.integers())
def test_any_values_make_one_line(text: str, other: str, number: int) -> None:
    written = io.StringIO()
    configure("test", written)
    structlog.get_logger().info(text, reason=other, count=number, other=text)
    structlog.reset_defaults()
    assert len(written.getvalue().splitlines()) == 1
    assert json.loads(written.getvalue())["count"] == number
