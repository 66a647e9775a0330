"""A row says who, what they agreed to and what happened, or is malformed by a named column."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from consent.identifiers import IdentifierType
from consent.observation import Observation
from consent.pseudonym import References
from consent.state import Act, Kind
from gateway.errors import MalformedPayloadError
from gateway.importing.columns import Columns
from gateway.importing.rows import Imported, Reader, instant_of
from tests.gateway.importing.shops import Shop

NOW = 1_800_000_000_000
EVENT = {"id": "m-1", "person": "u1", "name": "Product Viewed", "t": 5}
CONSENT = {"person": "u1", "t": 5, "notice": "web", "version": "3"}

Read = Callable[..., Imported]


@pytest.fixture
def read(shop: Shop) -> Read:
    policy = shop.settings.policy

    def one(kind: str, row: dict[str, object], *, own: bool = False, **mapping: str) -> Imported:
        reader = Reader(policy, policy.sources["backend"], References({"shop": bytes(32)}), own=own)
        return reader.read(Columns(kind, policy, mapping), row, NOW)

    return one


def _happened(imported: Imported) -> Observation:
    assert imported.observation is not None
    return imported.observation


def _agreed(imported: Imported) -> Act:
    assert imported.act is not None
    return imported.act


@pytest.mark.parametrize(
    "said",
    [1_714_550_400_000, "1714550400000", 1_714_550_400_000.0, "2024-05-01T10:00:00+02:00",
     "2024-05-01T08:00:00Z", "2024-05-01 08:00:00.000+00:00", datetime(2024, 5, 1, 8, tzinfo=UTC)],
)  # fmt: skip
def test_a_time_is_epoch_milliseconds_or_iso_8601_with_an_offset(said: object) -> None:
    assert instant_of(said, "t") == 1_714_550_400_000


@pytest.mark.parametrize(
    "said",
    ["2024-05-01T10:00:00", "2024-05-01", datetime(2024, 5, 1), "soon", -1, 10**15, 1.5, True, []],  # noqa: DTZ001 - naive on purpose
)
def test_another_time_is_malformed(said: object) -> None:
    with pytest.raises(MalformedPayloadError):
        instant_of(said, "t")


def test_an_event_row_is_read_in_our_vocabulary(read: Read) -> None:
    row = EVENT | {"price": "9.99", "currency": "eur", "session": "s", "url": "https://a.example/"}
    seen = _happened(read("events", row))
    assert (seen.name, seen.t, seen.received, seen.message_id) == ("product_viewed", 5, NOW, "m-1")
    assert seen.properties == {"price_minor": 999, "currency": "EUR"}
    assert (seen.session, seen.place.url) == ("s", "https://a.example/")


def test_an_event_row_may_bring_its_properties_as_one_object(read: Read) -> None:
    row = EVENT | {"properties": '{"sku": "S"}', "traits": {"region": "BY"}}
    seen = _happened(read("events", row))
    assert (seen.properties, seen.traits) == ({"sku": "S"}, {"region": "BY"})


@pytest.mark.parametrize("number", [17, 17.0])
def test_an_id_may_be_a_whole_number(read: Read, number: float) -> None:
    assert _happened(read("events", EVENT | {"id": number})).message_id == "17"


def test_typed_cells_keep_their_type(read: Read) -> None:
    assert _happened(read("events", EVENT | {"quantity": 2})).properties == {"quantity": 2}


def test_answers_remembered_are_bounded(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.importing.rows._MAX_KNOWN", 0)
    assert _agreed(read("events", EVENT | {"analytics": "true"})).answers["analytics"]


def test_a_time_to_come_is_read_as_now(read: Read) -> None:
    assert _happened(read("events", EVENT | {"t": NOW + 1})).t == NOW


def test_a_person_row_sets_traits_and_contact_data(read: Read) -> None:
    row = {"person": "u1", "region": "BY", "subscribed_email": "true", "email": "A@example.org"}
    seen = _happened(read("people", row | {"phone": "no number"}))
    assert (seen.name, seen.traits) == (
        "person_updated", {"region": "BY", "subscribed_email": True},
    )  # fmt: skip
    assert [(one.type, one.value) for one in seen.contact] == [("email", "a@example.org")]


def test_a_person_row_repeats_its_id_only_with_its_content(read: Read) -> None:
    first, again, other = (
        _happened(read("people", {"person": "u1", "region": region, "received": t})).message_id
        for region, t in (("BY", 1), ("BY", 2), ("BW", 1))
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("cells", "worth"),
    [({"value": "12.5"}, 1250), ({"value": 12.5}, 1250), ({"value": Decimal("12.50")}, 1250),
     ({"value_minor": 7}, 7), ({"value_minor": "7"}, 7), ({"value_minor": 7.0}, 7)],
)  # fmt: skip
def test_an_order_row_has_its_worth_in_minor_units(
    read: Read, order: Callable[..., dict[str, object]], cells: dict[str, object], worth: int
) -> None:
    row = order()
    row.pop("value")
    seen = _happened(read("orders", row | cells))
    assert (seen.name, seen.properties["value_minor"]) == ("order_completed", worth)
    assert seen.message_id == "import.order_completed.A-1"


def test_an_order_row_may_list_its_items_as_json(
    read: Read, order: Callable[..., dict[str, object]]
) -> None:
    seen = _happened(read("orders", order(items='[{"product_id": "p", "quantity": 2}]')))
    assert seen.properties["items"] == [{"product_id": "p", "quantity": 2}]


def test_an_order_row_that_names_another_order_is_a_refund(
    read: Read, order: Callable[..., dict[str, object]]
) -> None:
    seen = _happened(read("orders", order(refund_of="A-0")))
    assert (seen.name, seen.properties["refund_of"]) == ("order_refunded", "A-0")
    assert seen.message_id == "import.order_refunded.A-1"


def test_a_column_marked_as_number_is_one(read: Read) -> None:
    row = EVENT | {"groesse": "43", "color": "7"}
    seen = _happened(read("events", row, groesse="size:number"))
    assert seen.properties == {"size": 43, "color": "7"}


def test_a_person_is_named_by_the_type_given_and_a_device_beside(read: Read) -> None:
    row = EVENT | {"person": "A@example.org", "person_type": "email", "anonymous_id": "d"}
    assert [(one.type, one.value) for one in read("events", row).identifiers] == [
        (IdentifierType.EMAIL, "a@example.org"),
        (IdentifierType.ANONYMOUS_ID, "d"),
    ]


def test_a_device_is_named_once(read: Read) -> None:
    row = EVENT | {"person": "d", "person_type": "anonymous_id", "anonymous_id": "e"}
    assert [one.value for one in read("events", row).identifiers] == ["d"]


def test_consent_columns_on_a_row_are_an_imported_act(read: Read) -> None:
    act = _agreed(read("events", EVENT | {"marketing": "false", "audience_sync": True}))
    assert (act.kind, act.t, act.received) == (Kind.IMPORT, 5, NOW)
    assert act.answers["audience_sync"] is False  # a direct answer only takes away
    assert act.evidence == {"method": "import"}


def test_a_row_without_consent_columns_says_nothing_about_consent(read: Read) -> None:
    assert read("events", EVENT).act is None


def test_a_consent_row_is_an_own_choice_in_a_replay_only(read: Read) -> None:
    row = CONSENT | {"analytics": "true"}
    assert _agreed(read("consents", row)).kind is Kind.IMPORT
    assert _agreed(read("consents", row, own=True)).kind is Kind.OWN


@pytest.mark.parametrize("listed", [["analytics"], "analytics", '["analytics"]'])
def test_a_list_of_purposes_refuses_what_it_leaves_out(read: Read, listed: object) -> None:
    answers = _agreed(read("consents", CONSENT | {"purposes": listed})).answers
    assert answers["analytics"]
    assert not answers["audience_sync"]


def test_an_empty_list_of_purposes_refuses_everything_offered(read: Read) -> None:
    answers = _agreed(read("consents", CONSENT | {"purposes": []})).answers
    assert "audience_sync" in answers
    assert not any(answers.values())


def test_evidence_that_may_name_a_person_is_kept_as_its_mac(read: Read) -> None:
    row = CONSENT | {"analytics": "true", "language": "de"}
    told = _agreed(read("consents", row | {"evidence": "form signed by A. B."})).evidence
    plain = _agreed(read("consents", row | {"evidence": "form-17"})).evidence
    assert str(told["evidence"]).startswith("mac:")
    assert plain == {
        "method": "import", "notice": "web", "version": "3", "language": "de",
        "evidence": "form-17",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "row", "column"),
    [
        ("events", EVENT | {"person": " "}, "person"),
        ("events", EVENT | {"person_type": "cookie"}, "person_type"),
        ("events", EVENT | {"person": "x", "person_type": "email"}, "person"),
        ("events", EVENT | {"person": []}, "person"),
        ("events", EVENT | {"id": "x" * 129}, "id"),
        ("events", EVENT | {"name": "a@example.org"}, "name"),
        ("events", EVENT | {"t": "2024-05-01T10:00:00"}, "t"),
        ("events", EVENT | {"analytics": "yes"}, "analytics"),
        ("events", EVENT | {"analytics": []}, "analytics"),
        ("events", EVENT | {"items": "{"}, "items"),
        ("events", EVENT | {"items": "{}"}, "items"),
        ("events", EVENT | {"value_minor": "much"}, "value_minor"),
        ("events", EVENT | {"properties": "{"}, "properties"),
        ("events", EVENT | {"properties": "[]"}, "properties"),
        ("events", EVENT | {"color": "\udcff"}, "row"),
        ("events", {"id": "1"}, "person"),
        ("consents", CONSENT | {"purposes": 7}, "purposes"),
        ("consents", CONSENT | {"purposes": "telepathy"}, "answers"),
        ("consents", CONSENT | {"purposes": [], "notice": "a notice"}, "notice"),
    ],
)  # fmt: skip
def test_a_malformed_row_names_its_column(
    read: Read, kind: str, row: dict[str, object], column: str
) -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        read(kind, row)
    assert caught.value.field == column


@pytest.mark.parametrize(
    ("cells", "column"),
    [({"currency": "euro"}, "currency"), ({"value": "much"}, "value"),
     ({"value_minor": "1.5"}, "value_minor")],
)  # fmt: skip
def test_a_malformed_order_names_its_column(
    read: Read,
    order: Callable[..., dict[str, object]],
    cells: dict[str, object],
    column: str,
) -> None:
    with pytest.raises(MalformedPayloadError) as caught:
        read("orders", order(**cells))
    assert caught.value.field == column


def test_what_a_row_says_never_shows_in_its_text(read: Read) -> None:
    assert "u1" not in repr(read("events", EVENT | {"analytics": "true"}))
