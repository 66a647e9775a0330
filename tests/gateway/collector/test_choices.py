"""Who may grant, what a refusal touches, and when a person or a secret is made."""

import pytest

from consent.outcome import Reason
from consent.policy import Trust
from consent.state import Kind
from gateway.collector.choices import Stated
from gateway.errors import ForbiddenError, UnprocessableError
from tests.factories import Entrance, a_policy, an_act, an_observation, at_the_door, device, user

WITHDRAW = Kind.WITHDRAW

# -- the device secret ----------------------------------------------------------------------------


@at_the_door
async def test_the_first_choice_of_a_device_gives_it_the_secret_and_no_later_one_does(
    entrance: Entrance,
) -> None:
    first = await entrance.choose(device(), act=an_act(analytics=True))
    assert first.device_secret == "secret-1"
    again = await entrance.choose(device(), act=an_act(analytics=True), secret="secret-1")
    assert again.device_secret is None


@at_the_door
async def test_the_secret_is_stored_as_a_digest(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    ((stored,),) = entrance.rows("SELECT device FROM people")
    assert len(stored) == 32
    assert b"secret" not in stored


@pytest.mark.parametrize("secret", [None, "", "wrong"])
@at_the_door
async def test_widening_needs_the_secret(entrance: Entrance, secret: str | None) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    with pytest.raises(ForbiddenError):
        await entrance.choose(device(), act=an_act(storage=True), secret=secret)
    assert entrance.granted(device()) == {"analytics"}
    assert entrance.rows("SELECT count(*) FROM records") == [(1,)]


@at_the_door
async def test_with_the_secret_or_a_server_key_it_widens(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    await entrance.choose(device(), act=an_act(storage=True), secret="secret-1")
    await entrance.choose(device(), act=an_act(functional=True), source="backend")
    assert entrance.granted(device()) == {"analytics", "storage", "functional"}


@pytest.mark.parametrize("kind", [Kind.OWN, WITHDRAW])
@at_the_door
async def test_taking_back_needs_no_secret(entrance: Entrance, kind: Kind) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, storage=True))
    recorded = await entrance.choose(device(), act=an_act(kind, analytics=False))
    assert recorded.refuses
    assert entrance.granted(device()) == {"storage"}


@at_the_door
async def test_repeating_what_is_granted_needs_no_secret(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, storage=True))
    await entrance.choose(device(), act=an_act(analytics=True, storage=False))
    assert entrance.granted(device()) == {"analytics"}


@at_the_door
async def test_a_server_gives_no_secret_and_the_device_still_gets_its_own(
    entrance: Entrance,
) -> None:
    made = await entrance.choose(device(), act=an_act(analytics=True), source="backend")
    assert made.device_secret is None
    own = await entrance.choose(device(), act=an_act(analytics=True))
    assert own.device_secret == "secret-1"


@pytest.mark.parametrize("kind", [Kind.OWN, WITHDRAW])
@at_the_door
async def test_a_public_key_never_gets_a_secret_for_a_user(entrance: Entrance, kind: Kind) -> None:
    await entrance.choose(user(), act=an_act(analytics=True), source="backend")
    recorded = await entrance.choose(user(), act=an_act(kind, analytics=False))
    assert recorded.device_secret is None
    assert entrance.rows("SELECT device FROM people") == [(None,)]


# -- refusals of the unknown ----------------------------------------------------------------------


@at_the_door
async def test_a_refusal_by_someone_unknown_makes_no_person(entrance: Entrance) -> None:
    recorded = await entrance.choose(device(), act=an_act(analytics=False))
    assert recorded.device_secret is None
    assert entrance.rows("SELECT * FROM people") == []
    assert entrance.rows("SELECT slot, granted FROM records") == [(None, "[]")]
    assert entrance.rows("SELECT count(*) FROM refusals") == [(1,)]


@at_the_door
async def test_a_refusal_without_an_id_is_an_unlinked_record_and_nothing_else(
    entrance: Entrance,
) -> None:
    await entrance.choose(act=an_act(analytics=False))
    assert entrance.rows("SELECT slot, other FROM records") == [(None, None)]
    assert entrance.rows("SELECT * FROM refusals") == []


@at_the_door
async def test_an_unlinked_record_holds_no_identifier(entrance: Entrance) -> None:
    await entrance.choose(device("anna@example.org"), act=an_act(analytics=False))
    ((body,),) = entrance.rows("SELECT body FROM records")
    assert b"anna" not in body


@at_the_door
async def test_a_grant_needs_an_id(entrance: Entrance) -> None:
    with pytest.raises(UnprocessableError):
        await entrance.choose(act=an_act(analytics=True))


@at_the_door
async def test_a_refusal_comes_along_when_its_id_becomes_a_person(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=False, ads_basic=False))
    await entrance.choose(device(), act=an_act(analytics=True))
    standing = entrance.people.own(entrance.people.find(entrance.people.mac("shop", device())))  # type: ignore[arg-type] # found
    assert standing.granted == {"analytics"}
    assert standing.denied["ads_basic"] is Reason.CONSENT_REFUSED
    assert entrance.rows("SELECT * FROM refusals") == []


@at_the_door
async def test_refusals_of_one_id_add_up(entrance: Entrance) -> None:
    for leaf in ("analytics", "audience_insight", "ads_personalised", "audience_sync"):
        await entrance.choose(device(), act=an_act(**{leaf: False}))
    assert entrance.rows("SELECT count(*) FROM refusals") == [(1,)]
    assert await entrance.outcome(an_observation()) == ("refused", "consent_refused")


@at_the_door
async def test_a_repeated_withdrawal_still_waits_for_older_sends(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    await entrance.choose(device(), act=an_act(WITHDRAW, analytics=False))
    recorded = await entrance.choose(device(), act=an_act(WITHDRAW, analytics=False))
    assert recorded.refuses
    assert [record.withdrawn for record in recorded.records] == [()]


@at_the_door
async def test_a_choice_that_only_grants_waits_for_nobody(entrance: Entrance) -> None:
    assert not (await entrance.choose(device(), act=an_act(analytics=True))).refuses


# -- several ids ----------------------------------------------------------------------------------


@at_the_door
async def test_a_refusal_from_a_server_key_restricts_every_id_of_the_request(
    entrance: Entrance,
) -> None:
    for one in (user(), device()):
        await entrance.choose(one, act=an_act(analytics=True), source="backend")
    both = (user(), device(), device("unknown"))
    act = an_act(WITHDRAW, analytics=False)
    recorded = await entrance.choose(*both, act=act, source="backend")
    assert len(recorded.records) == 3
    assert (entrance.granted(user()), entrance.granted(device())) == (set(), set())
    assert entrance.rows("SELECT count(*) FROM refusals") == [(1,)]
    assert recorded.position == max(record.position for record in recorded.records)


@at_the_door
async def test_a_refusal_about_unknown_ids_is_kept_under_each(entrance: Entrance) -> None:
    act = an_act(analytics=False)
    await entrance.choose(user(), device(), act=act, source="backend")
    assert entrance.rows("SELECT count(*) FROM refusals") == [(2,)]
    assert entrance.rows("SELECT * FROM people") == []


@at_the_door
async def test_a_grant_beside_an_id_that_refused_does_not_stop_the_door(
    entrance: Entrance,
) -> None:
    await entrance.choose(device(), act=an_act(analytics=False))
    act = an_act(analytics=True, identity_link=True)
    await entrance.choose(user(), device(), act=act, source="backend")
    assert entrance.slot(device()) is None
    assert entrance.granted(user()) == {"analytics", "identity_link"}


@at_the_door
async def test_a_grant_without_identity_link_links_nobody(entrance: Entrance) -> None:
    await entrance.choose(user(), device(), act=an_act(analytics=True), source="backend")
    assert entrance.slot(device()) is None


# -- records --------------------------------------------------------------------------------------


@at_the_door
async def test_a_record_is_sealed_and_opens_to_what_was_committed(entrance: Entrance) -> None:
    recorded = await entrance.choose(device(), act=an_act(analytics=True, storage=False))
    opened = entrance.view.record(recorded.records[0].number)
    assert opened is not None
    assert opened["answers"] == {"analytics": True, "storage": False}
    assert (opened["granted"], opened["index"], opened["kind"]) == (["analytics"], 1, "own")
    ((body,),) = entrance.rows("SELECT body FROM records")
    assert b"analytics" not in body


def test_a_stated_choice_shows_no_id_and_no_secret() -> None:
    stated = Stated(
        source=a_policy().sources["web"],
        identifiers=(device("anna"),),
        act=an_act(analytics=True),
        trusted=Trust.SERVER is None,
        secret="hidden",
    )
    assert repr(stated) == "<Stated own by web>"
