"""The only shape that leaves the door: an event stripped to what the person agreed to.

Only ``consent.gate`` builds one; readers of the log decode what the gate encoded. It holds no
identifier: whose it is stands beside it as a slot. Bytes start with a version marker.
"""

import msgspec

from consent.errors import SealBrokenError

__all__ = ["ConsentedEvent", "decode", "encode"]

_VERSION = b"\x01"


class ConsentedEvent(msgspec.Struct, frozen=True, array_like=True):
    """One admitted event (contracts: canonical event, without position and subject).

    ``t`` and ``received`` are UTC milliseconds, ``local_date`` days since 1970 in the site's zone.
    ``purposes`` is sorted: leaves granted and declared for this name. ``consent_index`` is the
    number of the record that allowed it, None where a one-event claim did. ``session`` is a MAC.
    ``properties`` holds declared ones only; money as ``value_minor`` and ``currency``.
    """

    id: str
    name: str
    t: int
    received: int
    local_date: int
    site: str
    source: str
    session: str | None
    purposes: tuple[str, ...]
    consent_index: int | None
    policy: str
    properties: dict[str, object]
    page: dict[str, str]
    campaign: dict[str, str]
    device: dict[str, str]
    geo: dict[str, str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConsentedEvent)


def encode(event: ConsentedEvent) -> bytes:
    """Return the event's stored bytes (version marker, then MessagePack)."""
    return _VERSION + _encoder.encode(event)


def decode(data: bytes) -> ConsentedEvent:
    """Read stored bytes back.

    Raises:
        SealBrokenError: the version is unknown or the bytes are not an event.
    """
    if data[:1] != _VERSION:
        raise SealBrokenError("event: unknown version marker")
    try:
        return _decoder.decode(data[1:])
    except msgspec.MsgspecError as error:
        raise SealBrokenError("event: not readable") from error
