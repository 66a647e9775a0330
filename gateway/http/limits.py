"""Bounds what one request may cost: raw and inflated bytes, depth, keys, strings, twin keys.

It must not know protocols, sources or consent rules. The JSON checks count on the raw bytes at C
speed and presume that a strict decoder reads the same bytes afterwards: they bound valid JSON and
never accept in its place. Specification: RFC 8259, RFC 9110 section 8.4, RFC 1950, RFC 1952.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from json import JSONDecoder

import msgspec
from starlette.types import Receive

from gateway.errors import (
    IncompleteBodyError,
    MalformedPayloadError,
    PayloadTooLargeError,
    UnsupportedEncodingError,
)
from gateway.settings import Limits

__all__ = [
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_KEY_BYTES",
    "MAX_STRING_BYTES",
    "check_json_bounds",
    "inflate",
    "read_body",
    "strict_twins",
]

MAX_DEPTH = 16
MAX_KEYS = 512  # of one object
MAX_KEY_BYTES = 128
MAX_STRING_BYTES = 8_192
_MAX_LENGTH_DIGITS = 15
_MAX_CACHED = 256  # bytes of a consent object worth remembering

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB = 31, 15  # zlib window bits: gzip wrapper, zlib wrapper
_WINDOW_BITS: Mapping[str, int] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}

# Objects in which no key may stand twice, at any depth below them.
_CONTAINERS = ("consent", "answers", "signals")
# Keys that may not stand twice in any object: what names people, or holds one of the above.
_SINGULAR = frozenset({
    *_CONTAINERS, "anonymousId", "anonymous_id", "batch", "categoryPreferences", "context", "email",
    "globalPrivacyControl", "gpc", "groupId", "identity_proof", "messageId", "phone", "previousId",
    "purposes", "traits", "userId", "user_id", "writeKey",
})  # fmt: skip
_CONTAINER_TOKENS = tuple(f'"{name}"'.encode() for name in _CONTAINERS)
_SINGULAR_BYTES = frozenset(name.encode() for name in _SINGULAR)

_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_LEAF = re.compile(rb"\{:*\}|\[\]")
_LONG_RUN = re.compile(rb'"[^"]{%d}' % (MAX_KEY_BYTES + 1))
_TOO_MANY_KEYS = b":" * (MAX_KEYS + 1)
_NOT_SKELETON = bytes(byte for byte in range(256) if byte not in b"{}[]:")


async def read_body(receive: Receive, headers: Mapping[str, str], limits: Limits) -> bytes:
    """Read a request's raw body, at most ``limits.max_body_bytes``.

    Raises:
        PayloadTooLargeError: the body is, or says it will be, longer.
        IncompleteBodyError: the sender left.
    """
    declared = headers.get("content-length")
    if declared is not None and _length(declared) > limits.max_body_bytes:
        raise PayloadTooLargeError("the body is too long")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limits.max_body_bytes:
            raise PayloadTooLargeError("the body is too long")
        return body
    pieces = bytearray()
    while message["type"] == "http.request":
        pieces += message.get("body", b"")
        if len(pieces) > limits.max_body_bytes:
            raise PayloadTooLargeError("the body is too long")
        if not message.get("more_body", False):
            return bytes(pieces)
        message = await receive()
    raise IncompleteBodyError("the body ended too early")


def inflate(body: bytes, content_encoding: str | None, limits: Limits) -> bytes:
    """Unpack gzip (named or seen by its magic bytes) or deflate, at most the inflated limit.

    Raises:
        UnsupportedEncodingError: another encoding, or several.
        PayloadTooLargeError: it would be longer than ``limits.max_inflated_bytes``.
        MalformedPayloadError: the stream is broken, cut short, or has something after it.
    """
    name = content_encoding.strip().lower() if content_encoding else ""
    if name in ("", "identity"):
        if body[:2] != _GZIP_MAGIC:
            return body
        name = "gzip"
    bits = _WINDOW_BITS.get(name)
    if bits is None:
        raise UnsupportedEncodingError("unknown or stacked content encoding", "content_encoding")
    stream = zlib.decompressobj(bits)
    try:
        plain = stream.decompress(body, limits.max_inflated_bytes + 1)
    except zlib.error as error:
        raise MalformedPayloadError("the compressed body is broken") from error
    if len(plain) > limits.max_inflated_bytes:
        raise PayloadTooLargeError("the unpacked body is too long")
    if not stream.eof:
        raise MalformedPayloadError("the compressed body ends too early")
    if stream.unused_data:
        raise MalformedPayloadError("something follows the compressed body")
    return plain


def check_json_bounds(raw: bytes) -> None:
    """Bound depth, keys per object, and the length of keys and strings (in UTF-8, unescaped).

    Raises:
        MalformedPayloadError: a bound is passed, the bytes are not UTF-8 (decoders raise
            UnicodeDecodeError then), or brackets or quotes do not pair.
    """
    if not raw.isascii():
        _check_utf8(raw)
    # Every bracket might open a level, every colon follow a key, and every run without a quote be
    # a key: upper bounds that ordinary events stay under, so that exact counts are for the rest.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or raw.count(b":") > MAX_KEYS:
        _check_skeleton(b"".join(_at_quotes(raw)[::2]).translate(None, _NOT_SKELETON))
    if b'\\"' in raw or _LONG_RUN.search(raw) is not None:
        _check_strings(raw, _at_quotes(raw))


def strict_twins(raw: bytes) -> None:
    """Refuse twin keys where they could make two readers see two consents or two people.

    Meant for one event or one consent call: on a whole batch it has to read everything.

    Raises:
        MalformedPayloadError: a twin key, however it is spelled, or JSON that cannot be read.
    """
    parts = _at_quotes(raw)
    names = list(filter(_SINGULAR_BYTES.__contains__, parts[1::2]))
    if len(set(names)) != len(names) or (b"\\" in raw and _has_escaped_key(parts)):
        _read_twins(raw)
        return
    for token in _CONTAINER_TOKENS:
        found = raw.count(token)
        if found > 1:  # one of them may be the end of a string, so which is the key?
            _read_twins(raw)
            return
        if found:
            _check_container(raw, raw.find(token) + len(token))


def _length(declared: str) -> int:
    if len(declared) > _MAX_LENGTH_DIGITS:
        raise PayloadTooLargeError("the body is too long")
    if not declared.isdecimal():
        raise MalformedPayloadError("the length of the body is not a number", "content_length")
    return int(declared)


def _at_quotes(raw: bytes) -> list[bytes]:
    """Cut at unescaped quotes: strings at odd places, what lies between them at even ones."""
    if b"\\" in raw:
        # Two bytes stay two bytes, so that places and lengths remain those of the input.
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    parts = raw.split(b'"')
    if len(parts) % 2 == 0:
        raise MalformedPayloadError("a string does not end")
    return parts


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedPayloadError("the body is not UTF-8") from error


def _check_skeleton(skeleton: bytes) -> None:
    for _ in range(MAX_DEPTH):
        if _TOO_MANY_KEYS in skeleton:
            raise MalformedPayloadError("an object has too many keys")
        if not skeleton:
            return
        skeleton = _LEAF.sub(b"", skeleton)
    if skeleton:
        raise MalformedPayloadError("nested too deeply, or brackets do not pair")


def _check_strings(raw: bytes, parts: Sequence[bytes]) -> None:
    starts: list[int] | None = None
    for place in [i for i, part in enumerate(parts) if len(part) > MAX_KEY_BYTES and i % 2]:
        is_key = parts[place + 1].lstrip()[:1] == b":"
        limit = MAX_KEY_BYTES if is_key else MAX_STRING_BYTES
        length = len(parts[place])
        if length > limit and b"\\" in raw:
            starts = starts or [0, *accumulate(len(part) + 1 for part in parts)]
            length = _unescaped_length(raw[starts[place] - 1 : starts[place] + length + 1])
        if length > limit:
            raise MalformedPayloadError(f"a {'key' if is_key else 'string'} is too long")


def _unescaped_length(quoted: bytes) -> int:
    try:
        return len(msgspec.json.decode(quoted, type=str).encode())
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedPayloadError("a string cannot be read") from error


def _has_escaped_key(parts: Sequence[bytes]) -> bool:
    return any(
        b"\\" in parts[place] and parts[place + 1].lstrip()[:1] == b":"
        for place in range(1, len(parts), 2)
    )


def _check_container(raw: bytes, start: int) -> None:
    """Read the value after a container's name, if it is a key."""
    end = raw.find(b"}}", start) + 2
    if start < end <= start + _MAX_CACHED and _is_clean_container(raw[start:end]):
        return
    try:
        _container_end(raw[start:].decode())
    except (ValueError, RecursionError) as error:
        raise MalformedPayloadError("a consent object cannot be read", "consent") from error


@lru_cache(maxsize=1_024)  # a site's visitors send few different answers
def _is_clean_container(after_name: bytes) -> bool:
    """Say whether these bytes are, as a whole, the colon and value of a container in order."""
    try:
        return _container_end(after_name.decode()) == len(after_name)
    except (ValueError, RecursionError, MalformedPayloadError):
        return False


def _container_end(after_name: str) -> int:
    colon = _COLON.match(after_name)
    return 0 if colon is None else _read_strictly(after_name, colon.end())[1]


def _read_twins(raw: bytes) -> None:
    try:
        _read_all(raw.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedPayloadError("the body is not JSON") from error


class _Twin:
    """Stands for an object that has a twin key somewhere in it."""


def _refuse_twins(pairs: list[tuple[str, object]]) -> type[_Twin] | None:
    names = [name for name, _ in pairs]
    doubled = len(set(names)) != len(names)
    if doubled and any(names.count(name) > 1 for name in _SINGULAR):
        raise MalformedPayloadError("a key stands twice")
    for name, value in pairs:
        if _holds_twin(value):
            if name in _CONTAINERS:
                raise MalformedPayloadError("a key stands twice", name)
            doubled = True
    return _Twin if doubled else None


def _refuse_any_twin(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise MalformedPayloadError("a key stands twice", "consent")


def _holds_twin(value: object) -> bool:
    return value is _Twin or (isinstance(value, list) and any(map(_holds_twin, value)))


def _skip(_literal: str) -> None:
    """Numbers are of no interest here; reading long ones would cost."""


_read_all = JSONDecoder(object_pairs_hook=_refuse_twins, parse_int=_skip, parse_float=_skip).decode
_read_strictly = JSONDecoder(
    object_pairs_hook=_refuse_any_twin, parse_int=_skip, parse_float=_skip
).raw_decode
