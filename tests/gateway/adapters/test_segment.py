import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.observation import Observation
from consent.outcome import Outcome
from consent.policy import SourcePolicy, Trust
from gateway.adapter import Payload
from gateway.adapters.segment import SegmentAdapter
from gateway.errors import MalformedPayloadError

ADAPTER = SegmentAdapter()
RECEIVED = 1_795_251_601_000
BASIC = "Basic " + b64encode(b"wk_1:").decode()
CLICK: Mapping[str, Any] = {
    "type": "track",
    "event": "clicked",
    "messageId": "m-1",
    "anonymousId": "device-1",
    "timestamp": "2026-11-21T09:00:00.000Z",
    "context": {"consent": {"categoryPreferences": {"analytics": True}}},
}
NAMELESS = {name: value for name, value in CLICK.items() if name != "messageId"}


def a_payload(
    body: object, path: str = "/v1/track", headers: Mapping[str, str] | None = None
) -> Payload:
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return Payload(
        path=path,
        query="",
        headers={"authorization": BASIC} if headers is None else headers,
        body=raw,
        source=SourcePolicy("web", "shop", Trust.PUBLIC),
        region="DE",
        received=RECEIVED,
    )


def parsed(body: object, path: str = "/v1/track") -> Observation:
    (found,) = ADAPTER.parse(a_payload(body, path))
    return found


def a_key(headers: Mapping[str, str], body: bytes = b"{}") -> str | None:
    return ADAPTER.write_key("/v1/track", "", headers, body)


@pytest.mark.parametrize(
    "kind", ["identify", "track", "page", "screen", "group", "alias", "batch", "import"]
)
def test_every_call_has_its_path(kind: str) -> None:
    assert f"/v1/{kind}" in {route.path for route in ADAPTER.routes}


@pytest.mark.parametrize("letter", list("itpsgabm"))
def test_every_short_form_has_its_path(letter: str) -> None:
    assert f"/v1/{letter}" in {route.path for route in ADAPTER.routes}


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (BASIC, "wk_1"),
        ("basic " + b64encode(b"wk_1").decode(), "wk_1"),
        ("Bearer wk_1", "wk_1"),
        ("Bearer ", None),
        ("Basic !", None),
        ("Basic " + b64encode(b"\xff:").decode(), None),
        ("Basic " + b64encode(b":x").decode(), None),
        ("Digest wk_1", None),
        ("", None),
    ],
)
def test_key_is_read_from_the_header(header: str, key: str | None) -> None:
    assert a_key({"authorization": header}) == key


def test_header_wins_over_body() -> None:
    assert a_key({"authorization": BASIC}, b'{"writeKey":"wk_2"}') == "wk_1"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"writeKey":"wk_2","batch":[]}', "wk_2"),
        (b'{"writeKey":""}', None),
        (b'{"writeKey":5}', None),
        (b"[", None),
        (b'{"writeKey":"\xff"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_key_is_read_from_the_body_without_a_header(body: bytes, key: str | None) -> None:
    assert a_key({}, body) == key


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_two_different_keys_are_refused(path: str) -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        ADAPTER.parse(a_payload({**CLICK, "batch": [], "writeKey": "wk_2"}, path))
    assert caught.value.field == "writeKey"
    assert "wk_" not in str(caught.value)


def test_item_with_the_key_of_the_body_is_fine_without_a_header() -> None:
    item = {**CLICK, "writeKey": "wk_1"}
    body = {"writeKey": "wk_1", "batch": [item]}
    (found,) = ADAPTER.parse(a_payload(body, "/v1/batch", headers={}))
    assert found.invalid is None


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b'{"a":"\xff', b'{"event":"\xff"}'])
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_bytes_that_are_no_json_are_malformed(body: bytes, path: str) -> None:
    with pytest.raises(MalformedPayloadError):
        ADAPTER.parse(a_payload(body, path))


def test_endless_nesting_is_malformed() -> None:
    deep = b'{"properties":' + b'{"a":' * 100_000
    with pytest.raises(MalformedPayloadError):
        ADAPTER.parse(a_payload(deep))


def test_item_that_is_no_text_spoils_only_itself() -> None:
    good = json.dumps(CLICK).encode()
    body = b'{"batch":[{"event":"\xff"},' + good + b"]}"
    first, second = ADAPTER.parse(a_payload(body, "/v1/batch"))
    assert (first.invalid, second.invalid) == ("event: the body is not UTF-8", None)


def test_single_call_with_a_wrong_type_names_the_field() -> None:
    found = parsed({**CLICK, "context": {"page": {"url": 5}}})
    assert found.invalid is not None
    assert found.invalid.startswith("context.page.url: ")


def test_invalid_observation_repeats_no_value() -> None:
    found = parsed({**CLICK, "userId": {"secret": "erika@shop.example"}})
    assert "erika" not in f"{found.invalid}"


@pytest.mark.parametrize(
    "change",
    [
        {"sentAt": "2026-11-21T09:00:00.250Z"},
        {"sentAt": "2026-11-21T09:00:09.250Z"},
        {"_metadata": {"retryCount": 2}},
        {"sentAt": "2026-11-21T09:00:09.250Z", "_metadata": {"bundled": ["Segment.io"]}},
    ],
)
def test_retries_of_one_event_have_one_hash(change: dict[str, object]) -> None:
    assert parsed({**NAMELESS, **change}).message_id == parsed(NAMELESS).message_id


@pytest.mark.parametrize("first", [{"sentAt": "1"}, {"_metadata": {"a": 1}}])
def test_retries_hash_equal_when_the_volatile_field_stands_first(first: dict[str, Any]) -> None:
    one = {**first, **NAMELESS}
    other = {**{name: "2" if name == "sentAt" else {} for name in first}, **NAMELESS}
    assert parsed(one).message_id == parsed(other).message_id


def test_retries_hash_equal_when_the_json_is_spaced() -> None:
    one, other = (
        parsed(json.dumps({**NAMELESS, "sentAt": text}, indent=1).encode()) for text in ("1", "2")
    )
    assert one.message_id == other.message_id


@pytest.mark.parametrize(
    "change",
    [
        {"event": "scrolled"},
        {"properties": {"a": 1}},
        {"anonymousId": "device-2"},
        {"timestamp": "2026-11-21T09:00:00.001Z"},
        {"context": {}},
    ],
)
@pytest.mark.parametrize("sent", [{}, {"sentAt": "2026-11-21T09:00:00.250Z"}])
def test_another_body_has_another_hash(change: dict[str, object], sent: dict[str, object]) -> None:
    other = {**NAMELESS, **sent, **change}
    assert parsed(other).message_id != parsed({**NAMELESS, **sent}).message_id


def test_missing_message_id_is_the_same_for_retries() -> None:
    ids = {parsed({**NAMELESS, "sentAt": f"2026-11-21T09:00:0{n}Z"}).message_id for n in (1, 2)}
    assert len(ids) == 1


def test_missing_message_id_never_passes_for_an_id() -> None:
    # The door turns whatever is not an id into a keyed MAC: a bare digest of a body must not stay.
    assert "#" in parsed({**CLICK, "messageId": ""}).message_id


@pytest.mark.parametrize("value", [True, 1, "1", "true"])
@pytest.mark.parametrize("name", ["gpc", "globalPrivacyControl"])
def test_privacy_control_in_the_context_counts(name: str, value: object) -> None:
    assert parsed({**CLICK, "context": {name: value}}).carried.gpc


@pytest.mark.parametrize("value", [False, None, 0, "0", [], {}])
def test_other_values_of_privacy_control_say_nothing(value: object) -> None:
    assert not parsed({**CLICK, "context": {"gpc": value}}).carried.gpc


@pytest.mark.parametrize(
    ("value", "gpc"), [("1", True), ("0", False), ("true", False), ("", False)]
)
def test_only_the_literal_one_of_sec_gpc_counts(value: str, *, gpc: bool) -> None:
    (found,) = ADAPTER.parse(a_payload(CLICK, headers={"sec-gpc": value}))
    assert found.carried.gpc is gpc


def test_consent_larger_than_the_cache_takes_is_read_too() -> None:
    answers = {f"category-{n:03}-{'x' * 60}": False for n in range(40)}
    found = parsed({**CLICK, "context": {"consent": {"categoryPreferences": answers}}})
    assert found.carried.categories == answers


def test_one_events_consent_is_not_anothers() -> None:
    refused = {**CLICK, "context": {"consent": {"categoryPreferences": {"analytics": False}}}}
    silent = {**CLICK, "context": {}}
    found = ADAPTER.parse(a_payload({"batch": [CLICK, refused, silent]}, "/v1/batch"))
    assert [dict(each.carried.categories) for each in found] == [
        {"analytics": True},
        {"analytics": False},
        {},
    ]


def test_address_and_user_agent_are_nowhere() -> None:
    context = {"ip": "203.0.113.9", "userAgent": "Mozilla/5.0 (canary)", "page": {"url": "/"}}
    found = parsed({**CLICK, "context": context})
    shown = [getattr(found, name) for name in found.__struct_fields__]
    shown += [found.place.url, found.place.referrer, found.place.title]
    assert not any(word in str(shown) for word in ("203.0.113.9", "canary"))


def test_contact_data_leaves_the_traits() -> None:
    traits = {"email": "not an address", "phone": "1", "region": "BY"}
    found = parsed({"userId": "c-1", "traits": traits, "messageId": "m"}, "/v1/identify")
    assert (dict(found.traits), found.contact) == ({"region": "BY"}, ())


def test_contact_data_that_is_no_text_is_nothing() -> None:
    found = parsed({"userId": "c-1", "traits": {"email": ["x"]}, "messageId": "m"}, "/v1/identify")
    assert found.contact == ()


def test_group_without_an_id_is_told_by_its_traits() -> None:
    found = parsed({"userId": "c-1", "traits": {"plan": "family"}, "messageId": "m"}, "/v1/group")
    assert found.properties == {"plan": "family"}


def test_place_without_a_page_is_empty() -> None:
    assert parsed(CLICK).place.url == ""


def test_traits_beside_an_event_bring_no_contact_data() -> None:
    context = {"traits": {"email": "erika@shop.example", "region": "BY"}}
    found = parsed({**CLICK, "context": context})
    assert (dict(found.traits), found.contact) == ({"region": "BY"}, ())


@pytest.mark.parametrize("session", ["s-1", 7])
def test_session_is_text(session: object) -> None:
    assert parsed({**CLICK, "context": {"sessionId": session}}).session == str(session)


def test_session_of_the_properties_is_no_property() -> None:
    found = parsed({**CLICK, "properties": {"session_id": "s-1", "a": 1}})
    assert (found.session, dict(found.properties)) == ("s-1", {"a": 1})


def test_campaign_parameters_are_the_five() -> None:
    campaign = {"name": "autumn", "source": "news", "id": "x", "term": None, "content": ""}
    found = parsed({**CLICK, "context": {"campaign": campaign}})
    assert found.touch.values == {"campaign": "autumn", "source": "news"}


def test_path_decides_over_the_type_of_the_body() -> None:
    assert parsed({**CLICK, "type": "identify"}, "/v1/t").name == "clicked"


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.INVALID])
def test_answer_does_not_tell_what_consent_decided(outcome: Outcome) -> None:
    payload = a_payload(CLICK)
    assert ADAPTER.reply(payload, [outcome]) == ADAPTER.reply(payload, [Outcome.ACCEPTED])


def test_unreadable_single_call_is_dropped_by_the_sdk() -> None:
    reply = ADAPTER.reply(a_payload(CLICK), [Outcome.INVALID])
    body = json.loads(reply.body)
    assert (reply.status, body["code"], bool(body["message"])) == (400, "invalid_event", True)


def test_batch_with_unreadable_items_is_answered_like_any() -> None:
    reply = ADAPTER.reply(a_payload({"batch": []}, "/v1/batch"), [Outcome.INVALID])
    assert reply.status == 200


def test_counters_of_the_sdk_are_thrown_away_unread() -> None:
    assert ADAPTER.parse(a_payload(b"{not json", "/v1/m")) == ()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*CLICK, "userId", "properties", "traits", "sentAt"]), _JSON)
)
def test_no_item_can_spoil_a_batch(item: dict[str, object]) -> None:
    body = json.dumps({"batch": [item, CLICK]}, ensure_ascii=True).encode()
    found = ADAPTER.parse(a_payload(body, "/v1/batch"))
    assert (len(found), found[1].name, found[1].invalid) == (2, "clicked", None)
