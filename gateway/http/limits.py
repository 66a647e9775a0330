"""Bounds what the body of one request may cost: raw bytes, and bytes after unpacking.

It must not know protocols, sources or what the bytes mean. Specification: RFC 9110 section 8.4,
RFC 1950, RFC 1952.
"""

import zlib
from collections.abc import Mapping

from starlette.types import Receive

from gateway.errors import (
    IncompleteBodyError,
    MalformedPayloadError,
    PayloadTooLargeError,
    UnsupportedEncodingError,
)
from gateway.settings import Limits

__all__ = ["inflate", "read_body"]

_MAX_LENGTH_DIGITS = 15

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP, _ZLIB = 31, 15  # zlib window bits: gzip wrapper, zlib wrapper
_WINDOW_BITS: Mapping[str, int] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


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


def _length(declared: str) -> int:
    if len(declared) > _MAX_LENGTH_DIGITS:
        raise PayloadTooLargeError("the body is too long")
    if not declared.isdecimal():
        raise MalformedPayloadError("the length of the body is not a number", "content_length")
    return int(declared)
