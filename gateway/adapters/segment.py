"""The Segment HTTP Tracking API: its calls, single or in batches, to observations.

It must not know consent rules, stores or the network. IP address and user agent are never read.
Specification: Segment "HTTP API" and "Spec" (common fields, e-commerce V2).
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import ClassVar

import msgspec

from consent.errors import MalformedIdentifierError, MalformedSignalError
from consent.identifiers import Identifier, IdentifierType, identify
from consent.observation import Observation, Place, Touch
from consent.outcome import Outcome
from consent.signals.carried import Carried, read_categories
from gateway.adapter import Payload, Reply, Route
from gateway.commerce import commerce_properties
from gateway.errors import MalformedPayloadError
from gateway.strictjson import check_event
from gateway.timing import corrected, instant
from gateway.vocabulary import event_name

__all__ = ["SegmentAdapter"]

_BATCH, _TELEMETRY = "batch", "telemetry"
_TYPES = ("identify", "track", "page", "screen", "group", "alias")
# analytics-next posts to the first letter of the type; `/v1/m` takes its own counters.
_KINDS: Mapping[str, str] = {
    **{f"/v1/{kind}": kind for kind in _TYPES},
    **{f"/v1/{kind[0]}": kind for kind in _TYPES},
    **dict.fromkeys(("/v1/batch", "/v1/import", "/v1/b"), _BATCH),
    "/v1/m": _TELEMETRY,
}
_MAX_EVENT_BYTES = 32_768  # Segment's limit for one event
_MAX_MESSAGE_ID = 128
_MAX_CACHED_CONSENT = 2_048
_HASH_BYTES = 16
_NOTHING = msgspec.Raw(b"")
_OK = Reply(200, b'{"success":true}')
# `code` and `message` must both be there: an SDK takes an error without them for a network fault.
_INVALID = Reply(
    400,
    b'{"success":false,"code":"invalid_event","message":"The event cannot be read.",'
    b'"error":"The event cannot be read.","status":400}',
)
_FIELD = re.compile(r" - at `\$\.?([^`]*)`$")
_ON = (True, "1", "true")
_PAGE_FIELDS = ("url", "referrer", "title", "path", "search", "name")
_CONTACT_TRAITS = {"email": IdentifierType.EMAIL, "phone": IdentifierType.PHONE}
_TOUCH_FIELDS = {
    "name": "campaign", "campaign": "campaign", "source": "source", "medium": "medium",
    "term": "term", "content": "content",
}  # fmt: skip

_USER_ID, _ANONYMOUS_ID = IdentifierType.USER_ID, IdentifierType.ANONYMOUS_ID

_Id = str | int | float | None


class _Page(msgspec.Struct):
    url: str | None = None
    referrer: str | None = None
    title: str | None = None


class _Context(msgspec.Struct):
    consent: msgspec.Raw = _NOTHING
    gpc: object = None
    global_privacy_control: object = msgspec.field(name="globalPrivacyControl", default=None)
    session_id: object = msgspec.field(name="sessionId", default=None)
    identity_proof: str | None = None
    page: _Page | None = None
    campaign: dict[str, object] | None = None
    traits: dict[str, object] | None = None


class _Item(msgspec.Struct, rename="camel"):
    type: str | None = None
    event: str | None = None
    message_id: _Id = None
    user_id: _Id = None
    anonymous_id: _Id = None
    previous_id: _Id = None
    group_id: _Id = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, object] | None = None
    traits: dict[str, object] | None = None
    context: _Context | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    write_key: str | None = None
    metadata: msgspec.Raw = msgspec.field(name="_metadata", default=_NOTHING)


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    context: _Context | None = None
    sent_at: str | None = None
    write_key: str | None = None


class _Keyed(msgspec.Struct, rename="camel"):
    write_key: str | None = None


class _Lasting(msgspec.Struct, rename="camel"):
    """What a retry repeats byte by byte: neither `sentAt` nor `_metadata` (retry counts)."""

    type: msgspec.Raw = _NOTHING
    event: msgspec.Raw = _NOTHING
    message_id: msgspec.Raw = _NOTHING
    user_id: msgspec.Raw = _NOTHING
    anonymous_id: msgspec.Raw = _NOTHING
    previous_id: msgspec.Raw = _NOTHING
    group_id: msgspec.Raw = _NOTHING
    name: msgspec.Raw = _NOTHING
    category: msgspec.Raw = _NOTHING
    properties: msgspec.Raw = _NOTHING
    traits: msgspec.Raw = _NOTHING
    context: msgspec.Raw = _NOTHING
    timestamp: msgspec.Raw = _NOTHING
    original_timestamp: msgspec.Raw = _NOTHING


_decode_item = msgspec.json.Decoder(_Item).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_keyed = msgspec.json.Decoder(_Keyed).decode
_decode_lasting = msgspec.json.Decoder(_Lasting).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_CONTEXT = _Context()
_NOWHERE = Place()
_UNTOUCHED = Touch()


class _Frame(msgspec.Struct, frozen=True):
    """What all items of one request share; times are UTC milliseconds."""

    source: str
    region: str
    received: int
    gpc: bool
    key: str | None
    sent: int | None = None
    context: _Context | None = None


class SegmentAdapter:
    """Segment's calls under ``/v1``, long and short paths, and the batch forms."""

    name: ClassVar[str] = "segment"
    routes: ClassVar[tuple[Route, ...]] = tuple(Route("POST", path) for path in _KINDS)

    def write_key(
        self, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> str | None:
        """Return the key of the Authorization header (Basic, Bearer), else the body's."""
        del path, query
        key = _header_key(headers.get("authorization", ""))
        if key is None:
            try:
                key = _decode_keyed(body).write_key
            except _UNREADABLE:
                return None  # nothing that could be told apart from a request without a key
        return key or None

    def parse(self, payload: Payload) -> Sequence[Observation]:
        """Return the observations of one call or batch, in order; none for SDK counters.

        Raises:
            MalformedPayloadError: not JSON of the call's shape, or two different write keys.
        """
        kind = _KINDS[payload.path]
        if kind == _TELEMETRY:
            return ()
        if kind != _BATCH:
            return (_single(payload, kind),)
        return _batch(payload)

    def reply(self, payload: Payload, outcomes: Sequence[Outcome]) -> Reply:
        """Answer 200 whatever consent decided; 400 only to a single call nobody can read."""
        if _KINDS[payload.path] in _TYPES and Outcome.INVALID in outcomes:
            return _INVALID
        return _OK


@lru_cache(maxsize=1024)
def _header_key(header: str) -> str | None:
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _frame(payload: Payload, sent: str | None, key: str | None, context: _Context | None) -> _Frame:
    header_key = _header_key(payload.headers.get("authorization", ""))
    if header_key is not None and key and key != header_key:
        raise MalformedPayloadError("differs from the Authorization header", "writeKey")
    return _Frame(
        payload.source.name,
        payload.region,
        payload.received,
        payload.headers.get("sec-gpc") == "1",
        header_key or key or None,
        _sent(sent),
        context,
    )


def _sent(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return instant(text, "sentAt")
    except MalformedPayloadError:
        return None  # without it the event's own time stands, uncorrected


def _single(payload: Payload, kind: str) -> Observation:
    check_event(payload.body)
    try:
        item = _decode_item(payload.body)
    except msgspec.ValidationError as error:
        frame = _frame(payload, None, None, None)
        return _invalid(frame, "", _reason(error))
    except _UNREADABLE as error:
        raise MalformedPayloadError("not JSON") from error
    frame = _frame(payload, None, item.write_key, None)
    return _observation(item, kind, payload.body, frame)


def _batch(payload: Payload) -> list[Observation]:
    try:
        whole = _decode_batch(payload.body)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        raise MalformedPayloadError("not a batch", found[1] if found else "batch") from error
    except _UNREADABLE as error:
        raise MalformedPayloadError("not JSON") from error
    frame = _frame(payload, whole.sent_at, whole.write_key, whole.context)
    return [_member(bytes(raw), frame) for raw in whole.batch]


def _member(raw: bytes, frame: _Frame) -> Observation:
    if len(raw) > _MAX_EVENT_BYTES:
        return _invalid(frame, "", "event: too_large")
    try:
        check_event(raw)
        item = _decode_item(raw)
    except MalformedPayloadError as error:
        return _invalid(frame, "", f"event: {error}")
    except msgspec.ValidationError as error:
        return _invalid(frame, "", _reason(error))
    except _UNREADABLE:
        return _invalid(frame, "", "event: not JSON")
    return _observation(item, item.type or "", raw, frame)


def _reason(error: msgspec.ValidationError) -> str:
    """Name the field; the message of msgspec names types, never values."""
    text = str(error)
    found = _FIELD.search(text)
    field = (found.group(1) if found else "") or "event"
    return f"{field}: {_FIELD.sub('', text)}"


def _digest(raw: bytes) -> bytes:
    """Return a digest that retries of one event share: `sentAt` and `_metadata` are not in it."""
    try:
        lasting = _decode_lasting(raw)
    except _UNREADABLE:
        return _hash(raw)
    return _hash(b"\n".join(map(bytes, msgspec.structs.astuple(lasting))))


def _item_digest(item: _Item, raw: bytes) -> bytes:
    """Return what `_digest` promises; compact JSON, as every browser sends it, is only cut."""
    if item.sent_at is not None:
        cut = raw.replace(b',"sentAt":"%b"' % item.sent_at.encode(), b"")
        if len(cut) == len(raw):
            return _digest(raw)
        raw = cut
    if item.metadata is not _NOTHING:
        cut = raw.replace(b',"_metadata":' + bytes(item.metadata), b"")
        if len(cut) == len(raw):
            return _digest(raw)
        raw = cut
    return _hash(raw)


def _hash(raw: bytes) -> bytes:
    return sha256(raw).digest()[:_HASH_BYTES]


def _invalid(frame: _Frame, message_id: str, reason: str) -> Observation:
    return Observation(
        source=frame.source,
        name="invalid",
        t=frame.received,
        received=frame.received,
        message_id=message_id,
        invalid=reason,
    )


def _derived_id(digest: bytes) -> str:
    # "#" is in no alphabet of message ids: the door turns this one into a keyed MAC.
    return f"body#{digest.hex()}"


def _observation(item: _Item, kind: str, raw: bytes, frame: _Frame) -> Observation:
    message_id = "" if item.message_id is None else str(item.message_id)
    try:
        _check(item, kind, raw, frame)
        observation = _common(item, message_id or _derived_id(_item_digest(item, raw)), frame)
        _READERS[kind](observation, item, frame.region)
    except MalformedPayloadError as error:
        reason = f"{error.field}: {error}"
    except MalformedIdentifierError as error:
        reason = str(error)
    else:
        return observation
    return _invalid(frame, message_id[:_MAX_MESSAGE_ID], reason)


def _check(item: _Item, kind: str, raw: bytes, frame: _Frame) -> None:
    if len(raw) > _MAX_EVENT_BYTES:
        raise MalformedPayloadError("too_large", "event")
    if kind not in _READERS:
        raise MalformedPayloadError("unknown", "type")
    if item.message_id is not None and len(str(item.message_id)) > _MAX_MESSAGE_ID:
        raise MalformedPayloadError("too long", "messageId")
    if item.write_key and item.write_key != frame.key:
        raise MalformedPayloadError("differs from the request's", "writeKey")


def _common(item: _Item, message_id: str, frame: _Frame) -> Observation:
    """Build what every call has; merges the batch's context into ``item``."""
    context = _NO_CONTEXT if item.context is None else item.context
    if frame.context is not None:
        context = _merged(item.context, frame.context)
    item.context = context
    properties = item.properties or {}
    written = item.original_timestamp or item.timestamp
    sent = frame.sent if item.sent_at is None else _sent(item.sent_at)
    page = context.page
    return Observation(
        source=frame.source,
        name="",
        t=corrected(instant(written) if written else None, sent, frame.received),
        received=frame.received,
        message_id=message_id,
        identifiers=_identifiers(item),
        proof=context.identity_proof,
        carried=_carried(context, gpc=frame.gpc),
        session=_text(properties.pop("session_id", None) or context.session_id),
        properties=properties,
        traits=_without_contact(context.traits) if context.traits else {},
        place=_NOWHERE
        if page is None
        else Place(url=page.url or "", referrer=page.referrer or "", title=page.title or ""),
        touch=Touch(values=_campaign(context.campaign)) if context.campaign else _UNTOUCHED,
    )


def _merged(own: _Context | None, shared: _Context) -> _Context:
    """Lay an item's context over the batch's, field by field (Segment "HTTP API", batch)."""
    if own is None:
        return shared
    pairs = zip(msgspec.structs.astuple(own), msgspec.structs.astuple(shared), strict=True)
    return _Context(
        *(theirs if mine is None or mine is _NOTHING else mine for mine, theirs in pairs)
    )


def _carried(context: _Context, *, gpc: bool) -> Carried:
    raw = bytes(context.consent)
    signalled = gpc or context.gpc in _ON or context.global_privacy_control in _ON
    if len(raw) > _MAX_CACHED_CONSENT:
        return _read_carried(raw, gpc=signalled)
    return _known_carried(raw, signalled)


@lru_cache(maxsize=4096)  # a site sends few different answers: a handful of categories
def _known_carried(raw: bytes, gpc: bool) -> Carried:  # noqa: FBT001 - keywords slow the cache
    return _read_carried(raw, gpc=gpc)


def _read_carried(raw: bytes, *, gpc: bool) -> Carried:
    if not raw:
        return Carried(gpc=gpc)
    try:
        return Carried(read_categories(raw), gpc=gpc)
    except MalformedSignalError:
        return Carried(gpc=gpc, malformed=True)


def _identifiers(item: _Item) -> tuple[Identifier, ...]:
    user = _identifier(_USER_ID, item.user_id)
    device = _identifier(_ANONYMOUS_ID, item.anonymous_id)
    if user is None:
        return () if device is None else (device,)
    return (user,) if device is None else (user, device)


def _identifier(kind: IdentifierType, value: _Id) -> Identifier | None:
    if value is None or value == "":
        return None
    return identify(kind, value if type(value) is str else str(value))


def _text(value: object) -> str | None:
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int or type(value) is float else None


def _campaign(sent: Mapping[str, object]) -> dict[str, object]:
    return {
        _TOUCH_FIELDS[name]: value
        for name, value in sent.items()
        if name in _TOUCH_FIELDS and isinstance(value, str) and value
    }


def _without_contact(traits: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in traits.items() if name not in _CONTACT_TRAITS}


def _contact(traits: Mapping[str, object], region: str) -> tuple[Identifier, ...]:
    found: list[Identifier] = []
    for name, kind in _CONTACT_TRAITS.items():
        text = _text(traits.get(name))
        if text is None:
            continue
        try:
            found.append(identify(kind, text, region))
        except MalformedIdentifierError:
            continue  # no address, so there is nothing to keep
    return tuple(found)


def _read_track(observation: Observation, item: _Item, _region: str) -> None:
    if item.event is None:
        raise MalformedPayloadError("missing", "event")
    observation.name = event_name(item.event)
    observation.properties = commerce_properties(observation.properties)


def _read_page(observation: Observation, item: _Item, _region: str) -> None:
    properties = dict(observation.properties)
    own = {name: _text(properties.pop(name, None)) for name in _PAGE_FIELDS}
    place = observation.place
    observation.place = Place(
        url=own["url"] or place.url,
        referrer=own["referrer"] or place.referrer,
        title=own["title"] or place.title or item.name or own["name"] or "",
    )
    if item.category is not None:
        properties.setdefault("category", item.category)
    observation.name = "page_viewed"
    observation.properties = commerce_properties(properties)


def _read_screen(observation: Observation, item: _Item, region: str) -> None:
    _read_page(observation, item, region)
    observation.name = "screen_viewed"


def _read_identify(observation: Observation, item: _Item, region: str) -> None:
    known = item.context.traits if item.context is not None else None
    traits = {**(known or {}), **(item.traits or {})}
    observation.name = "person_updated"
    observation.properties = {}
    observation.traits = _without_contact(traits)
    observation.contact = _contact(traits, region)


def _read_group(observation: Observation, item: _Item, _region: str) -> None:
    # Traits of a group describe an organisation, so they are the event's, not the person's.
    described = _without_contact(item.traits or {})
    if (group := _text(item.group_id)) is not None:
        described["group_id"] = group
    observation.name = "group_updated"
    observation.properties = commerce_properties(described)


def _read_alias(observation: Observation, item: _Item, _region: str) -> None:
    observation.previous = _identifier(_ANONYMOUS_ID, item.previous_id)
    if observation.previous is None:
        raise MalformedPayloadError("missing", "previousId")
    observation.name = "person_updated"
    observation.properties = {}
    observation.traits = {}


_READERS: Mapping[str, Callable[[Observation, _Item, str], None]] = {
    "identify": _read_identify,
    "track": _read_track,
    "page": _read_page,
    "screen": _read_screen,
    "group": _read_group,
    "alias": _read_alias,
}
