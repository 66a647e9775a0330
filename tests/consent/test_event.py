"""Stored bytes read back as what was stored, or not at all."""

import msgspec
import pytest

from consent.errors import SealBrokenError
from consent.event import ConsentedEvent, decode, encode

EVENT = ConsentedEvent(
    id="m1", name="page_viewed", t=1, received=2, local_date=3, site="shop", source="web",
    session=None, purposes=("analytics",), consent_index=1, policy="p",
    properties={"items": [{"quantity": 1}]}, page={}, campaign={}, device={}, geo={},
)  # fmt: skip


def test_an_event_reads_back() -> None:
    assert decode(encode(EVENT)) == EVENT


def test_stored_bytes_say_their_version() -> None:
    assert encode(EVENT)[:1] == b"\x01"


@pytest.mark.parametrize(
    "data", [b"", b"\x02" + encode(EVENT)[1:], b"\x01", b"\x01\xc0", encode(EVENT)[:-1]]
)
def test_what_is_no_event_is_broken(data: bytes) -> None:
    with pytest.raises(SealBrokenError):
        decode(data)


def test_what_stands_does_not_change() -> None:
    with pytest.raises(AttributeError):
        EVENT.name = "other"  # type: ignore[misc] # that it is frozen is the point
    assert msgspec.structs.replace(EVENT, name="other") != EVENT
