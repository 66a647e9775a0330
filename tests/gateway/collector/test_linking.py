"""When two ids become one person, what stands for it then, and what never links."""

from typing import Any

import pytest

from consent.identifiers import Identifier, IdentifierType, identify
from consent.state import Kind
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    an_act,
    an_observation,
    at_the_door,
    categories,
    device,
    opener,
    user,
)

LINKED = {"analytics": True, "identity_link": True}
EMAIL = identify(IdentifierType.EMAIL, "anna@example.org")


def stated(*identifiers: Identifier, **more: Any) -> Any:  # noqa: ANN401 - any field
    """Return an event from the server that names several ids."""
    return an_observation(source="backend", identifiers=identifiers, **more)


def people(entrance: Entrance) -> int:
    """Count the clusters of linked people."""
    ((found,),) = entrance.rows("SELECT count(DISTINCT person) FROM clusters")
    return int(found)


async def choose(entrance: Entrance, one: Identifier, **answers: bool) -> None:
    await entrance.choose(one, act=an_act(**answers), source="backend")


@at_the_door
async def test_a_servers_word_links_ids_whose_records_grant_it(entrance: Entrance) -> None:
    for one in (user(), device()):
        await choose(entrance, one, **LINKED)
    await entrance.send(stated(user(), device()))
    assert people(entrance) == 1
    assert len(set(entrance.view.persons().values())) == 1


@at_the_door
async def test_a_device_without_a_record_may_be_linked(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    await entrance.send(stated(user(), device()))
    assert entrance.granted(device()) == {"analytics", "identity_link"}


@pytest.mark.parametrize("unwilling", [user(), device()], ids=["user", "device"])
@at_the_door
async def test_one_side_that_does_not_grant_it_prevents_it(
    entrance: Entrance, unwilling: Identifier
) -> None:
    for one in (user(), device()):
        await choose(entrance, one, analytics=True, identity_link=one != unwilling)
    await entrance.send(stated(user(), device()))
    assert people(entrance) == 0


@at_the_door
async def test_the_word_of_a_public_key_links_nothing(entrance: Entrance) -> None:
    for one in (user(), device()):
        await choose(entrance, one, **LINKED)
    await entrance.send(an_observation(identifiers=(user(), device()), previous=device("old")))
    assert people(entrance) == 0


@at_the_door
async def test_an_identity_proof_links(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    await entrance.send(an_observation(identifiers=(user(), device())), proven=True)
    assert people(entrance) == 1


@at_the_door
async def test_an_alias_links_the_second_id(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    await entrance.send(stated(user(), previous=device("old")))
    assert entrance.granted(device("old")) == {"analytics", "identity_link"}


@at_the_door
async def test_every_further_id_is_linked_whatever_its_type(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    await entrance.send(stated(user(), EMAIL, device()))
    assert entrance.slot(EMAIL) is not None
    assert len(entrance.view.persons()) == 3


@at_the_door
async def test_linked_people_keep_the_intersection(entrance: Entrance) -> None:
    await choose(entrance, user(), functional=True, **LINKED)
    await choose(entrance, device(), storage=True, **LINKED)
    await entrance.send(stated(user(), device()))
    assert entrance.granted(user()) == entrance.granted(device()) == set(LINKED)


@at_the_door
async def test_both_sides_events_belong_to_one_person(entrance: Entrance) -> None:
    for one in (user(), device()):
        await choose(entrance, one, **LINKED)
    await entrance.send(an_observation(), stated(user()), stated(user(), device()))
    persons = entrance.view.persons()
    assert len({persons[logged.slot] for logged in entrance.view.events(0, 9)}) == 1


@at_the_door
async def test_a_link_that_stands_is_recorded_once(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    for _ in range(3):
        await entrance.send(stated(user(), device()), stated(user(), device()))
    kinds = [kind for (kind,) in entrance.rows("SELECT kind FROM records")]
    assert kinds.count(Kind.LINK) == 1


@at_the_door
async def test_a_cluster_ends_at_ten_ids(entrance: Entrance) -> None:
    await choose(entrance, user(), **LINKED)
    for number in range(12):
        await entrance.send(stated(user(), device(f"d{number}")))
    assert len(entrance.view.persons()) == 10
    assert not entrance.granted(device("d11"))


@at_the_door
async def test_two_clusters_become_one(entrance: Entrance) -> None:
    for one in (user("a"), user("b")):
        await choose(entrance, one, **LINKED)
        await entrance.send(stated(one, device(one.value)))
    await entrance.send(stated(user("a"), device("b")))
    assert (people(entrance), len(entrance.view.persons())) == (1, 4)


@at_the_door
async def test_someone_who_refused_is_linked_to_nobody(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=False))
    await choose(entrance, user(), **LINKED)
    await entrance.send(stated(user(), device()))
    assert entrance.slot(device()) is None


@at_the_door
async def test_what_one_linked_id_refuses_all_lose_and_it_counts_as_a_withdrawal(
    entrance: Entrance,
) -> None:
    await choose(entrance, user(), storage=True, **LINKED)
    await entrance.send(stated(user(), device()))
    recorded = await entrance.choose(device(), act=an_act(Kind.WITHDRAW, analytics=False))
    assert recorded.records[0].withdrawn
    assert entrance.granted(user()) == set()
    (found,) = [one for one in entrance.view.withdrawals(0) if one.position == recorded.position]
    assert found.purposes >= {"analytics"}


@at_the_door
async def test_a_refusal_beside_a_linked_id_takes_no_more_than_it_says(
    entrance: Entrance,
) -> None:
    grants = categories(measurement=True, marketing=True)
    await entrance.send(stated(user(), device(), carried=grants))
    assert people(entrance) == 1
    less = categories(measurement=True, marketing=False)
    await entrance.send(stated(user(), device(), carried=less, t=NOW + 1))
    assert "analytics" in entrance.granted(user())
    assert "ads_basic" not in entrance.granted(device())


@at_the_door
async def test_a_mixed_choice_from_a_server_links_and_restricts_alike(entrance: Entrance) -> None:
    act = an_act(analytics=True, identity_link=True, ads_basic=False)
    await entrance.choose(user(), device(), act=act, source="backend")
    assert people(entrance) == 1
    assert entrance.granted(device()) == set(LINKED)


# -- contact data ---------------------------------------------------------------------------------

OTHER = identify(IdentifierType.EMAIL, "other@example.org")


def identified(*identifiers: Identifier, email: Identifier = EMAIL, **more: Any) -> Any:  # noqa: ANN401 - any field
    given: dict[str, Any] = {"carried": categories(**GRANT_ALL), "contact": (email,), **more}
    return an_observation(name="person_updated", identifiers=identifiers, **given)


def contacts(entrance: Entrance, one: Identifier) -> list[str]:
    """Open the contact data kept for the owner of an id."""
    slot = entrance.slot(one)
    assert slot is not None
    kept = entrance.view.contacts([slot]).get(slot, ())
    return [opener().open(entrance.view.seal_of(c.slot), c.kind, c.sealed) for c in kept]


@at_the_door
async def test_contact_data_is_kept_sealed_while_a_purpose_for_it_is_granted(
    entrance: Entrance,
) -> None:
    await entrance.send(identified(device()))
    assert contacts(entrance, device()) == ["anna@example.org"]
    await entrance.send(identified(device(), email=OTHER))
    assert contacts(entrance, device()) == ["other@example.org"]


@at_the_door
async def test_without_such_a_purpose_none_is_kept(entrance: Entrance) -> None:
    await entrance.send(identified(device(), carried=categories(measurement=True)))
    assert contacts(entrance, device()) == []


@at_the_door
async def test_contact_data_goes_with_the_purpose(entrance: Entrance) -> None:
    await entrance.send(identified(device()))
    await entrance.send(
        an_observation(carried=categories(measurement=True, marketing=False), t=NOW + 1)
    )
    assert entrance.rows("SELECT * FROM contacts") == []


@at_the_door
async def test_contact_data_and_its_refusal_in_one_request_leave_none(entrance: Entrance) -> None:
    refusal = categories(measurement=True, marketing=False)
    await entrance.send(identified(device()), an_observation(carried=refusal, t=NOW + 1))
    assert entrance.rows("SELECT * FROM contacts") == []


@at_the_door
async def test_the_same_value_is_stored_once(entrance: Entrance) -> None:
    await entrance.send(identified(device()))
    before = entrance.rows("SELECT * FROM contacts")
    await entrance.send(identified(device()))
    assert entrance.rows("SELECT * FROM contacts") == before


@at_the_door
async def test_what_the_policy_does_not_collect_is_not_kept(entrance: Entrance) -> None:
    other = identify(IdentifierType.USER_ID, "not contact data")
    await entrance.send(identified(device(), email=other))
    assert contacts(entrance, device()) == []


@at_the_door
async def test_a_public_claim_about_a_user_changes_none_of_their_contact_data(
    entrance: Entrance,
) -> None:
    await entrance.send(identified(user(), source="backend"))
    await entrance.send(identified(user(), email=OTHER))
    assert contacts(entrance, user()) == ["anna@example.org"]


@at_the_door
async def test_a_servers_word_makes_an_address_an_id_of_the_person(entrance: Entrance) -> None:
    await entrance.send(identified(user(), source="backend"))
    assert entrance.slot(EMAIL) == entrance.slot(user())


@at_the_door
async def test_the_word_of_a_public_key_does_not(entrance: Entrance) -> None:
    await entrance.send(identified(device()))
    assert entrance.slot(EMAIL) is None


@at_the_door
async def test_one_address_links_two_users_who_grant_it(entrance: Entrance) -> None:
    for one in (user("a"), user("b")):
        await entrance.send(identified(one, source="backend"))
    assert people(entrance) == 1


@pytest.mark.parametrize("source", ["backend", "web"])
@at_the_door
async def test_an_address_whose_owner_refused_is_kept_for_nobody_else(
    entrance: Entrance, source: str
) -> None:
    await entrance.choose(EMAIL, act=an_act(audience_sync=False), source="backend")
    await entrance.send(identified(device(), source=source))
    assert contacts(entrance, device()) == []


@at_the_door
async def test_an_address_whose_owner_withdrew_is_kept_for_nobody_else(
    entrance: Entrance,
) -> None:
    await entrance.send(identified(user(), source="backend"))
    await entrance.choose(user(), act=an_act(Kind.WITHDRAW, audience_sync=False), source="backend")
    await entrance.send(identified(device()))
    assert contacts(entrance, device()) == []


@at_the_door
async def test_a_refusal_from_a_server_key_reaches_the_owner_of_the_address(
    entrance: Entrance,
) -> None:
    await entrance.send(identified(user(), source="backend"))
    refusal = categories(marketing=False, measurement=True)
    await entrance.send(identified(user("new"), source="backend", carried=refusal, t=NOW + 1))
    assert "audience_sync" not in entrance.granted(user())


@at_the_door
async def test_linked_people_share_their_newest_contact_data(entrance: Entrance) -> None:
    await entrance.send(identified(device()))
    await entrance.send(
        identified(user(), device(), email=OTHER, source="backend"),
    )
    assert contacts(entrance, device()) == ["other@example.org"]
