"""The canary search itself: every form and every file, checked on canaries planted by hand."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.canary import Canary, Trace, file_traces, search
from tests.e2e.planting import CANARIES

EMAIL = CANARIES[0]
HASHES = ("md5", "sha1", "sha256")

Write = Callable[[bytes], bytes]


def written(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield a text in every form, made without the search's own code."""
    raw = text.encode()
    yield from (
        ("plain", raw),
        ("folded", text.casefold().encode()),
        ("upper", text.upper().encode()),
    )
    yield "url", quote(text, safe="").encode()
    yield "url, lower", quote(text, safe="").lower().encode()
    yield "url, twice", quote(quote(text, safe=""), safe="").encode()
    yield "hex", raw.hex().encode()
    yield "upper hex", raw.hex().upper().encode()
    yield "json", json.dumps(text).encode()
    for shift in range(3):
        yield f"base64 after {shift}", base64.b64encode(b"~" * shift + raw + b"~")
        yield f"base64url after {shift}", base64.urlsafe_b64encode(b"~" * shift + raw + b"~")
    for name in HASHES:
        digest = hashlib.new(name, raw).digest()
        yield f"{name} bytes", digest
        yield f"{name} hex", digest.hex().encode()
        yield f"{name} upper hex", digest.hex().upper().encode()
        yield f"{name} base64", base64.b64encode(digest)
        yield f"{name} base64url", base64.urlsafe_b64encode(digest)


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.kind)
def test_the_search_sees_every_form(canary: Canary) -> None:
    for text in canary.spellings:
        for form, content in written(text):
            trace = Trace("here", b"\x00before" + content + b"after\xff")
            assert canary.kind in {one.kind for one in search(CANARIES, [trace])}, form


def test_the_search_sees_a_number_as_integer() -> None:
    number = 4915155501987
    for packed in (number.to_bytes(8, "big"), number.to_bytes(8, "little")):
        assert {one.kind for one in search(CANARIES, [Trace("here", packed)])} == {"phone"}


@pytest.mark.parametrize(
    "name", ["server.log", "data/audit.jsonl", "keys/x.key", "core", "x.db-wal"]
)
def test_the_search_sees_every_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{{"event":"x","value":"{EMAIL.value}"}}\n')
    assert {one.where for one in search(CANARIES, file_traces(tmp_path))} == {f"file {name}"}


def test_the_search_sees_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / f"{EMAIL.value}.tmp").touch()
    assert search(CANARIES, file_traces(tmp_path))


def test_the_search_sees_nothing_where_nothing_is() -> None:
    other = b"kanarie@example.org +4915155501986 203.0.113.20 2001:db8::1 Xaverina kc7f"
    assert search(CANARIES, [Trace("here", other)]) == []
