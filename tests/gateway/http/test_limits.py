import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from gateway.errors import (
    IncompleteBodyError,
    MalformedPayloadError,
    PayloadTooLargeError,
    UnsupportedEncodingError,
)
from gateway.http.limits import inflate, read_body
from gateway.settings import Limits
from gateway.strictjson import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_KEYS,
    MAX_STRING_BYTES,
    check_json_bounds,
    strict_twins,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "json" / "rfc8259.json").read_text("utf-8")
)
SMALL = Limits(max_body_bytes=10, max_inflated_bytes=100)


def _read(*messages: Message, **headers: str) -> bytes:
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(read_body(receive, named, SMALL))


def _piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


def test_body_in_one_piece_is_read() -> None:
    assert _read(_piece(b"x" * 10)) == b"x" * 10


def test_body_in_pieces_is_joined() -> None:
    assert _read(_piece(b"ab", more=True), _piece(b"", more=True), _piece(b"c")) == b"abc"


@pytest.mark.parametrize(
    "messages",
    [(_piece(b"x" * 11),), (_piece(b"x" * 6, more=True), _piece(b"x" * 5, more=True))],
)
def test_body_over_the_limit_is_refused(messages: tuple[Message, ...]) -> None:
    with pytest.raises(PayloadTooLargeError):
        _read(*messages)


@pytest.mark.parametrize("length", ["11", "9" * 5_000])
def test_body_that_will_be_over_the_limit_is_not_read(length: str) -> None:
    with pytest.raises(PayloadTooLargeError):
        _read(content_length=length)


def test_length_that_is_no_number_is_refused() -> None:
    with pytest.raises(MalformedPayloadError):
        _read(content_length="-1")


@pytest.mark.parametrize("messages", [(GONE,), (_piece(b"ab", more=True), GONE)])
def test_sender_that_leaves_is_an_error_of_its_own(messages: tuple[Message, ...]) -> None:
    with pytest.raises(IncompleteBodyError):
        _read(*messages)


# Compression

PLAIN = b"x" * 100
GZIP = gzip.compress(PLAIN)
ZLIB = zlib.compress(PLAIN)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PLAIN, None),
        (PLAIN, ""),
        (PLAIN, "identity"),
        (GZIP, "gzip"),
        (GZIP, " GZip "),
        (GZIP, "x-gzip"),
        (GZIP, None),
        (GZIP, "identity"),
        (ZLIB, "deflate"),
    ],
)
def test_body_is_unpacked(body: bytes, encoding: str | None) -> None:
    assert inflate(body, encoding, SMALL) == PLAIN


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,", "aws-chunked"]
)
def test_unknown_or_stacked_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedEncodingError):
        inflate(GZIP, encoding, SMALL)


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
def test_output_is_bounded(pack: Any, name: str) -> None:  # noqa: ANN401 - two overloads
    with pytest.raises(PayloadTooLargeError):
        inflate(pack(b"x" * 101), name, SMALL)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (GZIP[:-1], "gzip"),
        (GZIP[:5], "gzip"),
        (b"", "gzip"),
        (GZIP + b"x", "gzip"),
        (GZIP + GZIP, "gzip"),
        (GZIP[:-8] + b"\0" * 8, "gzip"),
        (PLAIN, "gzip"),
        (ZLIB, "gzip"),
        (GZIP, "deflate"),
        (zlib.compress(PLAIN, wbits=-15), "deflate"),
        (ZLIB + b"x", "deflate"),
        (b"\x1f\x8b", None),
    ],
)
def test_broken_stream_is_refused(body: bytes, encoding: str | None) -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        inflate(body, encoding, SMALL)
    assert type(caught.value) is MalformedPayloadError


@given(st.binary(max_size=300), st.sampled_from([None, "gzip", "deflate"]))
def test_any_bytes_are_unpacked_or_refused(body: bytes, encoding: str | None) -> None:
    try:
        assert len(inflate(body, encoding, SMALL)) <= 300
    except MalformedPayloadError:
        return


# Bounds of JSON


def _check(raw: bytes) -> None:
    check_json_bounds(raw)
    strict_twins(raw)
    msgspec.json.decode(raw)


@pytest.mark.parametrize("case", VECTORS["reject"], ids=lambda case: case["name"])
def test_text_that_is_not_json_is_refused(case: dict[str, str]) -> None:
    raw = bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode()
    with pytest.raises((MalformedPayloadError, msgspec.DecodeError)):
        _check(raw)


@pytest.mark.parametrize("case", VECTORS["accept"], ids=lambda case: case["name"])
def test_text_that_is_json_is_read(case: dict[str, str]) -> None:
    _check(case["text"].encode())


def _nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


MANY_KEYS = {f"k{i}": {"a": 1} for i in range(MAX_KEYS)}
WITHIN: dict[str, bytes] = {
    "depth of arrays": _nested(MAX_DEPTH),
    "depth of objects": _nested(MAX_DEPTH, '{"a":', "}"),
    "many shallow arrays": json.dumps([[]] * 1_000).encode(),
    "keys": json.dumps(MANY_KEYS).encode(),
    "keys of many objects": json.dumps([{"a": 1, "b": [{"c": 2}]}] * 600).encode(),
    "key": json.dumps({"k" * MAX_KEY_BYTES: 1}).encode(),
    "escaped key": b'{"' + b"\\u0061" * MAX_KEY_BYTES + b'":1}',
    "escaped quotes in a key": b'{"' + b'\\"' * MAX_KEY_BYTES + b'":1}',
    "string": json.dumps(["s" * MAX_STRING_BYTES]).encode(),
    "escaped string": json.dumps(["ü" * (MAX_STRING_BYTES // 2)]).encode(),
    "strings full of brackets": json.dumps(["{[:" * 100, '"{[:' * 100]).encode(),
    "long numbers": b"[" + b"1" * 300 + b"]",
}
BEYOND: dict[str, bytes] = {
    "depth of arrays": _nested(MAX_DEPTH + 1),
    "depth of objects": _nested(MAX_DEPTH + 1, '{"a":', "}"),
    "depth past every stack": _nested(200_000),
    "depth behind brackets in strings": json.dumps(["]" * 50]).encode()[:-1]
    + b","
    + _nested(MAX_DEPTH)
    + b"]",
    "keys": json.dumps({**MANY_KEYS, "one": 1}).encode(),
    "keys of an inner object": json.dumps([{"a": {**MANY_KEYS, "one": {}}}]).encode(),
    "keys around inner objects": json.dumps({f"k{i}": {} for i in range(MAX_KEYS + 1)}).encode(),
    "key": json.dumps({"k" * (MAX_KEY_BYTES + 1): 1}).encode(),
    "key before white space": b'{"' + b"k" * (MAX_KEY_BYTES + 1) + b'" \n\t:1}',
    "key of two-byte letters": json.dumps({"ü" * 65: 1}, ensure_ascii=False).encode(),
    "escaped key": b'{"' + b"\\u0061" * (MAX_KEY_BYTES + 1) + b'":1}',
    "escaped quotes in a key": b'{"' + b'\\"' * (MAX_KEY_BYTES + 1) + b'":1}',
    "escaped backslashes in a key": b'{"' + b"\\\\" * (MAX_KEY_BYTES + 1) + b'":1}',
    "string": json.dumps(["s" * (MAX_STRING_BYTES + 1)]).encode(),
    "string of quotes": json.dumps(['"' * (MAX_STRING_BYTES + 1)]).encode(),
    "escaped string": json.dumps(["ü" * (MAX_STRING_BYTES // 2 + 1)]).encode(),
    "long string that cannot be read": b'["' + b"\\ud800" * 2_000 + b'"]',
    "no end of a string": b'["' + b"s" * 200,
}


@pytest.mark.parametrize("name", WITHIN)
def test_what_is_within_the_bounds_passes(name: str) -> None:
    check_json_bounds(WITHIN[name])
    msgspec.json.decode(WITHIN[name])


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_the_bounds_is_refused(name: str) -> None:
    with pytest.raises(MalformedPayloadError):
        check_json_bounds(BEYOND[name])


def _facts(value: object, depth: int = 0) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        yield ("keys", len(value))
        for key, inner in value.items():
            yield ("key", len(key.encode()))
            yield from _facts(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _facts(inner, depth + 1)
    elif isinstance(value, str):
        yield ("string", len(value.encode()))
    yield ("depth", depth + isinstance(value, dict | list))


BOUNDS = {"keys": MAX_KEYS, "key": MAX_KEY_BYTES, "string": MAX_STRING_BYTES, "depth": MAX_DEPTH}
_text = st.text(st.sampled_from('ab"\\{}[]:,ü\n😀 '), max_size=6).flatmap(
    lambda text: st.sampled_from([text, text * 22, text * 1_400])
)
_key = st.text(st.sampled_from('ab"\\{}[]:,ü'), max_size=6).flatmap(
    lambda text: st.sampled_from([text, text * 22])
)
_trees = st.recursive(
    st.none() | st.integers() | _text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_key, inner, max_size=3)
        | inner.flatmap(lambda value: st.sampled_from([[[[[value]]]], {"a": {"b": {"c": value}}}]))
    ),
    max_leaves=12,
)


@given(_trees, st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}]))
def test_bounds_on_bytes_agree_with_the_decoded_tree(tree: object, style: dict[str, Any]) -> None:
    raw = json.dumps(tree, **style).encode()
    is_within = all(size <= BOUNDS[fact] for fact, size in _facts(tree))
    try:
        check_json_bounds(raw)
        passed = True
    except MalformedPayloadError:
        passed = False
    assert passed is is_within


# Twin keys

TWINS = {
    "identifier": '{"userId":"a","userId":"b"}',
    "identifier apart": '{"userId":"a","event":"x","properties":{"a":[1,{}]},"userId":"b"}',
    "identifier with white space": '{"userId" : "a", "userId"\n:\t"b"}',
    "identifier spelled with an escape": '{"userId":"a","\\u0075serId":"b"}',
    "identifier spelled with escapes twice": '{"\\u0075serId":"a","user\\u0049d":"b"}',
    "inner identifier": '{"traits":{"email":"a","email":"b"}}',
    "identifier in a list": '{"batch":[{"messageId":"a","messageId":"b"}]}',
    "context": '{"context":{"consent":{}},"context":{"consent":{}}}',
    "consent": '{"context":{"consent":{"a":1},"consent":{"a":2}}}',
    "consent spelled with an escape": '{"context":{"consent":{},"c\\u006fnsent":{}}}',
    "in consent": '{"context":{"consent":{"categoryPreferences":{"ads":false,"ads":true}}}}',
    "in consent, then more": '{"consent":{"c":{"ads":false,"ads":true},"d":{"e":{}}},"a":"b"}',
    "in consent spelled with an escape": '{"consent":{"ads":false,"\\u0061ds":true}}',
    "in consent spelled with a short escape": '{"consent":{"a/b":false,"a\\/b":true}}',
    "in a list in consent": '{"consent":{"list":[[{"a":1,"a":2}]]}}',
    "in consent spelled with an escape itself": '{"c\\u006fnsent":{"x":[{"ads":0,"ads":1}]}}',
    "in consent with no two braces together": '{"consent":{"a":1,"a":2},"b":1}',
    "in answers": '{"answers":{"ads":false,"ads":true}}',
    "in a consent that a string hides": '{"a":"\\"consent","consent":{"x":true,"x":false}}',
    "in the second of two consents": '{"a":{"consent":{}},"b":{"consent":{"x":1,"x":2}}}',
    "behind letters of two bytes": '{"a":"üüüü","consent":{"x":1,"x":2}}',
}
SINGLE = {
    "event": '{"userId":"a","context":{"consent":{"categoryPreferences":{"ads":true}}}}',
    "same key in different objects": '{"userId":"a","properties":{"userId":"a","context":1}}',
    "same key in objects of a list": '{"batch":[{"userId":"a"},{"userId":"b"}]}',
    "name as a value": '{"event":"consent","name":"userId","userId":"userId"}',
    "name as a value with consent": '{"event":"consent","consent":{"a":{"b":1}}}',
    "value that ends like a name": '{"a":"\\"consent"}',
    "other key": '{"properties":{"color":1,"color":2}}',
    "other key beside two names": '{"userId":"userId","properties":{"color":1,"color":[{}]}}',
    "escape in another key": '{"userId":"a","\\u0061":1,"b\\n":{"c":[]}}',
    "flat consent": '{"consent":"granted"}',
    "deep consent": '{"consent":{"a":{"b":{"c":[1,{"d":1e5}]}}}}',
    "long consent": json.dumps({"consent": {f"purpose_{i}": {"a": True} for i in range(40)}}),
    "long numbers": '{"userId":1,"a":{"userId":' + "9" * 5_000 + "}}",
}


@pytest.mark.parametrize("name", TWINS)
def test_twin_keys_about_people_or_consent_are_refused(name: str) -> None:
    for _ in range(2):  # the second time from memory
        with pytest.raises(MalformedPayloadError):
            strict_twins(TWINS[name].encode())


@pytest.mark.parametrize("name", SINGLE)
def test_keys_that_stand_once_where_it_matters_pass(name: str) -> None:
    for _ in range(2):
        strict_twins(SINGLE[name].encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"consent":{"a":',
        b'{"consent":\xff}',
        b'{"userId":1,"userId":\xff}',
        b'{"userId":1,"userId"',
        b'{"userId":"userId',
        b'{"userId":1,"a":{"userId":' + b"[" * 200_000,
        b'{"consent":' + b"[" * 200_000,
    ],
)
def test_text_that_cannot_be_read_for_twins_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedPayloadError):
        strict_twins(raw)
