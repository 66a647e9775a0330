"""Bounds what one JSON text may cost and say twice: depth, keys, strings, twin keys.

It must not know protocols, sources or consent rules. The checks count on the raw bytes at C speed
and presume that a strict decoder reads the same bytes afterwards: they bound valid JSON and never
accept in its place. Specification: RFC 8259.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from json import JSONDecoder

import msgspec

from gateway.errors import MalformedPayloadError

__all__ = [
    "MAX_DEPTH",
    "MAX_KEYS",
    "MAX_KEY_BYTES",
    "MAX_STRING_BYTES",
    "check_event",
    "check_json_bounds",
    "strict_twins",
]

MAX_DEPTH = 16
MAX_KEYS = 512  # of one object
MAX_KEY_BYTES = 128
MAX_STRING_BYTES = 8_192
_MAX_CACHED = 256  # bytes of a consent object worth remembering

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
_TOO_MANY_KEYS = b":" * (MAX_KEYS + 1)
_NOT_SKELETON = bytes(byte for byte in range(256) if byte not in b"{}[]:")
_ESCAPED = re.compile(rb"\\u00[2-7]")


def check_event(raw: bytes) -> None:
    """Check one event: its bounds, and that nothing that names people or consent stands twice.

    Meant for each event of a request, before it is decoded.

    Raises:
        MalformedPayloadError: a bound is passed or a key stands twice.
    """
    check_json_bounds(raw)
    count = raw.count
    # Each name once, and no letter spelled by its number: then nothing can stand twice. What is
    # inside a consent object is read strictly by whoever reads it.
    if (
        count(b'"userId"') > 1
        or count(b'"anonymousId"') > 1
        or count(b'"previousId"') > 1
        or count(b'"context"') > 1
        or count(b'"consent"') > 1
        or count(b'"traits"') > 1
        or _ESCAPED.search(raw) is not None
    ):
        strict_twins(raw)


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
    if b'\\"' in raw or _has_long_run(raw):
        _check_strings(raw, _at_quotes(raw))


def _has_long_run(raw: bytes) -> bool:
    """Say whether more than a key's bytes follow some quote before the next one."""
    quote, end = raw.find(b'"'), len(raw) - MAX_KEY_BYTES - 1
    while 0 <= quote < end:
        # The last quote in reach: those before it have one in reach too.
        further = raw.rfind(b'"', quote + 1, quote + MAX_KEY_BYTES + 2)
        if further < 0:
            return True
        quote = further
    return False


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
