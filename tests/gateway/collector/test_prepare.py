"""What an event does at the door, rule by rule: whose it is, what it carries, what is kept."""

import pytest

from consent.purposes import GPC_REFUSES
from consent.signals.carried import Carried
from consent.state import REPEAT_MS, Kind
from tests.factories import (
    GRANT_ALL,
    NOW,
    Entrance,
    an_act,
    an_observation,
    at_the_door,
    categories,
    device,
    user,
)

YES = categories(**GRANT_ALL)
NO = categories(functional=False, measurement=False, marketing=False)
MEASURED = {"analytics", "audience_insight", "product_improvement", "storage"}

# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("carried", "reason"),
    [
        (Carried(), "consent_unknown"),
        (NO, "consent_refused"),
        (categories(unheard_of=True), "consent_unknown"),
        (categories(functional=True), "consent_unknown"),
        (categories(malformed=True, **GRANT_ALL), "signal_malformed"),
        (categories(gpc=True, marketing=True), "gpc"),
    ],
    ids=["silent", "refused", "unknown category", "not declared", "malformed", "gpc"],
)
@at_the_door
async def test_without_a_readable_grant_an_event_is_refused_and_nobody_is_made(
    entrance: Entrance, carried: Carried, reason: str
) -> None:
    assert await entrance.outcome(an_observation(carried=carried)) == ("refused", reason)
    for table in ("people", "identifiers", "states", "refusals", "records", "log", "dedup"):
        assert entrance.rows(f"SELECT * FROM {table}") == []  # noqa: S608 - names of ours
    assert sum(entrance.counters().values()) == 1


@at_the_door
async def test_an_item_that_nobody_could_read_is_invalid(entrance: Entrance) -> None:
    assert await entrance.outcome(an_observation(invalid="event")) == ("invalid", "malformed")


@at_the_door
async def test_an_event_of_nobody_is_refused(entrance: Entrance) -> None:
    found = await entrance.outcome(an_observation(identifiers=(), carried=YES))
    assert found == ("refused", "no_identifier")


# -- carried signals ------------------------------------------------------------------------------


@at_the_door
async def test_a_carried_grant_makes_a_record_before_the_event(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=categories(measurement=True)))
    ((record, position),) = entrance.rows("SELECT record, position FROM records")
    assert entrance.view.events(0, 9)[0].position == position + 1
    assert entrance.events()[0].consent_index == record
    assert entrance.granted(device()) == MEASURED


@at_the_door
async def test_equal_answers_make_one_record(entrance: Entrance) -> None:
    for _ in range(3):
        await entrance.send(an_observation(carried=YES), an_observation(carried=YES))
    assert entrance.rows("SELECT count(*) FROM records") == [(1,)]


@at_the_door
async def test_a_carried_refusal_withdraws_an_own_grant_and_a_later_carried_one_restores_it(
    entrance: Entrance,
) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, storage=True))
    refused = an_observation(carried=categories(measurement=False), t=NOW + 1)
    assert await entrance.outcome(refused) == ("refused", "consent_withdrawn")
    assert not entrance.granted(device())
    again = an_observation(carried=categories(measurement=True), t=NOW + 2)
    assert await entrance.outcome(again) == ("accepted", "")


@at_the_door
async def test_a_carried_true_never_lifts_an_own_refusal(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True, ads_personalised=False))
    assert await entrance.outcome(an_observation(carried=YES, t=NOW + 9)) == ("accepted", "")
    assert "ads_personalised" not in entrance.granted(device())


@at_the_door
async def test_a_carried_true_never_lifts_an_imported_refusal(entrance: Entrance) -> None:
    act = an_act(Kind.IMPORT, analytics=False, storage=True)
    await entrance.choose(device(), act=act, source="backend")
    await entrance.outcome(an_observation(carried=YES, t=NOW + 9))
    assert "analytics" not in entrance.granted(device())


@at_the_door
async def test_a_late_offline_queue_never_grants_again(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=YES, t=NOW - 100))
    await entrance.send(an_observation(carried=NO, t=NOW - 50))
    late = [an_observation(carried=YES, t=NOW - ago) for ago in (90, 60, 51)]
    assert {result.outcome for result in await entrance.send(*late)} == {"refused"}
    assert not entrance.granted(device())


@at_the_door
async def test_a_newer_carried_grant_lifts_an_older_carried_refusal(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=YES, t=NOW - 100))
    await entrance.send(an_observation(carried=NO, t=NOW - 50))
    assert await entrance.outcome(an_observation(carried=YES, t=NOW - 49)) == ("accepted", "")


@at_the_door
async def test_a_refusal_heard_again_is_newer_than_a_queue_written_before(
    entrance: Entrance,
) -> None:
    await entrance.send(an_observation(carried=YES, t=NOW - 100))
    for ago in (90, 50, 10):
        await entrance.send(an_observation(carried=NO, t=NOW - ago))
    await entrance.send(an_observation(carried=categories(functional=True), t=NOW - 9))
    assert (await entrance.outcome(an_observation(carried=YES, t=NOW - 30)))[0] == "refused"
    assert not entrance.granted(device()) & MEASURED - {"storage"}
    assert (await entrance.outcome(an_observation(carried=YES, t=NOW - 10)))[0] == "accepted"


@at_the_door
async def test_a_refusal_that_still_stands_after_an_hour_is_recorded_for_other_processes(
    entrance: Entrance,
) -> None:
    await entrance.send(an_observation(carried=YES, t=NOW - REPEAT_MS))
    await entrance.send(an_observation(carried=NO, t=NOW - REPEAT_MS))
    await entrance.send(an_observation(carried=NO, t=NOW - 1))
    assert entrance.rows("SELECT max(record) FROM records") == [(2,)]
    await entrance.send(an_observation(carried=NO, t=NOW))
    assert entrance.rows("SELECT max(record) FROM records") == [(3,)]
    entrance.people.clear()
    assert (await entrance.outcome(an_observation(carried=YES, t=NOW - 5)))[0] == "refused"


@at_the_door
async def test_gpc_takes_marketing_until_a_later_own_choice(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=YES))
    await entrance.send(an_observation(carried=categories(gpc=True, **GRANT_ALL)))
    assert not entrance.granted(device()) & GPC_REFUSES
    await entrance.send(an_observation(carried=YES, t=NOW + 5))
    assert not entrance.granted(device()) & GPC_REFUSES
    await entrance.choose(device(), act=an_act(**dict.fromkeys(GPC_REFUSES, True)), secret=None)
    assert entrance.granted(device()) >= GPC_REFUSES
    await entrance.send(an_observation(carried=categories(gpc=True)))
    assert entrance.granted(device()) >= GPC_REFUSES


@at_the_door
async def test_gpc_counts_beside_a_malformed_signal(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=YES))
    await entrance.send(an_observation(carried=categories(gpc=True, malformed=True)))
    assert not entrance.granted(device()) & GPC_REFUSES


# -- the refusal cookie ---------------------------------------------------------------------------


@at_the_door
async def test_the_cookie_of_a_refusal_refuses_whoever_made_no_own_choice(
    entrance: Entrance,
) -> None:
    found = await entrance.outcome(an_observation(carried=YES, refused=True))
    assert found == ("refused", "consent_refused")
    await entrance.send(an_observation(carried=YES))
    found = await entrance.outcome(an_observation(carried=YES, refused=True))
    assert found == ("refused", "consent_refused")


@at_the_door
async def test_beside_the_cookie_a_carried_refusal_still_withdraws(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=YES))
    await entrance.send(an_observation(carried=NO, refused=True))
    assert not entrance.granted(device())


@at_the_door
async def test_beside_the_cookie_a_carried_grant_records_nothing(entrance: Entrance) -> None:
    await entrance.send(an_observation(carried=categories(measurement=True)))
    await entrance.send(an_observation(carried=YES, refused=True, t=NOW + 1))
    assert entrance.granted(device()) == MEASURED


@at_the_door
async def test_an_own_choice_stands_before_the_cookie(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=True))
    assert (await entrance.outcome(an_observation(refused=True)))[0] == "accepted"


# -- public keys ----------------------------------------------------------------------------------


@at_the_door
async def test_a_public_key_speaks_for_the_device_and_the_user_beside_it_is_dropped(
    entrance: Entrance,
) -> None:
    await entrance.send(an_observation(identifiers=(user(), device()), carried=YES))
    assert entrance.slot(device()) is not None
    assert entrance.slot(user()) is None


@at_the_door
async def test_a_user_alone_behind_a_public_key_is_a_claim_for_one_event(
    entrance: Entrance,
) -> None:
    claimed = an_observation(identifiers=(user(),), carried=categories(measurement=True))
    assert await entrance.outcome(claimed) == ("accepted", "")
    (event,) = entrance.events()
    assert (event.consent_index, event.purposes) == (None, ("analytics", "audience_insight"))
    assert entrance.rows("SELECT * FROM records") == entrance.rows("SELECT * FROM states") == []
    assert not entrance.granted(user())
    silent = an_observation(identifiers=(user(),))
    assert await entrance.outcome(silent) == ("refused", "consent_unknown")


@at_the_door
async def test_a_claim_about_someone_with_a_record_only_narrows(entrance: Entrance) -> None:
    act = an_act(analytics=True, audience_insight=True)
    await entrance.choose(user(), act=act, source="backend")
    claimed = categories(functional=True, marketing=True, measurement=True)
    await entrance.send(an_observation(identifiers=(user(),), carried=claimed))
    await entrance.send(an_observation(identifiers=(user(),), carried=categories(marketing=True)))
    await entrance.send(an_observation(identifiers=(user(),)))
    assert [event.purposes for event in entrance.events()] == [
        ("analytics", "audience_insight"),
        ("analytics", "audience_insight"),
    ]
    assert entrance.rows("SELECT count(*) FROM records") == [(1,)]


@pytest.mark.parametrize("carried", [NO, categories(gpc=True)], ids=["refusal", "gpc"])
@at_the_door
async def test_a_public_claim_withdraws_nothing_from_a_known_user(
    entrance: Entrance, carried: Carried
) -> None:
    await entrance.choose(user(), act=an_act(ads_personalised=True), source="backend")
    found = await entrance.outcome(an_observation(identifiers=(user(),), carried=carried))
    assert found[0] == "refused"
    assert entrance.granted(user()) == {"ads_personalised"}


@at_the_door
async def test_with_an_identity_proof_a_browser_speaks_for_the_user(entrance: Entrance) -> None:
    observation = an_observation(identifiers=(user(), device()), carried=YES)
    assert await entrance.outcome(observation, proven=True) == ("accepted", "")
    assert entrance.slot(user()) is not None
    assert "analytics" in entrance.granted(user())


# -- what a refusal from a server key reaches -----------------------------------------------------


@at_the_door
async def test_a_refusal_from_a_server_key_reaches_every_id_of_the_request(
    entrance: Entrance,
) -> None:
    for identifier in (user(), device(), device("old")):
        act = an_act(analytics=True, storage=True)
        await entrance.choose(identifier, act=act, source="backend")
    both = (user(), device())
    await entrance.send(
        an_observation(
            source="backend",
            identifiers=both,
            previous=device("old"),
            carried=categories(measurement=False),
        )
    )
    assert entrance.rows("SELECT * FROM clusters") == []
    assert [entrance.granted(one) for one in (*both, device("old"))] == [set(), set(), set()]


@at_the_door
async def test_gpc_from_a_server_key_reaches_every_id_of_the_request(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(ads_basic=True), source="backend")
    observation = an_observation(
        source="backend", identifiers=(user(), device()), carried=categories(gpc=True)
    )
    await entrance.send(observation)
    assert not entrance.granted(device())


@at_the_door
async def test_a_grant_from_a_server_key_reaches_the_main_id_alone(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(functional=True), source="backend")
    grant = categories(measurement=True)
    await entrance.send(
        an_observation(source="backend", identifiers=(user(), device()), carried=grant)
    )
    assert entrance.granted(device()) == {"functional"}


@at_the_door
async def test_a_refusal_from_a_public_key_reaches_the_device_alone(entrance: Entrance) -> None:
    for one in (user(), device()):
        await entrance.choose(one, act=an_act(analytics=True), source="backend")
    refusal = categories(measurement=False)
    await entrance.send(an_observation(identifiers=(user(), device()), carried=refusal))
    assert (entrance.granted(user()), entrance.granted(device())) == ({"analytics"}, set())


@at_the_door
async def test_an_id_of_which_only_a_refusal_is_held_does_not_stop_the_door(
    entrance: Entrance,
) -> None:
    await entrance.choose(device("gone"), act=an_act(analytics=False))
    observation = an_observation(
        source="backend",
        identifiers=(user(), device("gone")),
        carried=categories(measurement=True, marketing=True, functional=False),
    )
    assert (await entrance.outcome(observation))[0] == "accepted"
    assert entrance.slot(device("gone")) is None
    assert entrance.rows("SELECT count(*) FROM refusals") == [(1,)]


@at_the_door
async def test_a_refusal_kept_under_an_id_refuses_until_its_own_grant(entrance: Entrance) -> None:
    await entrance.choose(device(), act=an_act(analytics=False, audience_insight=False))
    found = await entrance.outcome(an_observation(carried=categories(measurement=True)))
    assert found == ("refused", "consent_refused")
    await entrance.choose(device(), act=an_act(analytics=True))
    assert (await entrance.outcome(an_observation()))[0] == "accepted"
    assert entrance.rows("SELECT * FROM refusals") == []


# -- what is stored -------------------------------------------------------------------------------


@at_the_door
async def test_a_retry_is_a_duplicate_and_other_content_under_its_id_a_conflict(
    entrance: Entrance,
) -> None:
    results = []
    for size in ("S", "S", "M"):
        sent = an_observation(message_id="m", carried=YES, properties={"size": size})
        results.append((await entrance.outcome(sent))[0])
    assert results == ["accepted", "duplicate", "conflict"]
    assert [event.properties for event in entrance.events()] == [{"size": "S"}]


@at_the_door
async def test_what_is_dropped_anyway_makes_no_conflict(entrance: Entrance) -> None:
    outcomes = []
    for value in ("anna@example.org", "tom@example.org"):
        observation = an_observation(
            message_id="m", carried=YES, properties={"note": value, "color": value}
        )
        outcomes.append((await entrance.outcome(observation))[0])
    assert outcomes == ["accepted", "duplicate"]


@at_the_door
async def test_one_id_from_two_sources_is_two_events(entrance: Entrance) -> None:
    for source in ("web", "backend"):
        observation = an_observation(source=source, message_id="m", carried=YES)
        assert (await entrance.outcome(observation))[0] == "accepted"


NAMES = {"mood": 1, "anna@example.org": 1, "0176 1234567": 1, "x" * 41: 1}


async def sightings(entrance: Entrance, count: int, people: int) -> list[tuple[str, str, int]]:
    """Send undeclared names so often, by so many people; return what shows."""
    for number in range(count):
        one = device(f"d{number % people}")
        await entrance.send(an_observation(identifiers=(one,), carried=YES, properties=NAMES))
    return list(entrance.view.undeclared())


@at_the_door
async def test_a_property_name_shows_after_twenty_sightings_by_ten_people(
    entrance: Entrance,
) -> None:
    assert await sightings(entrance, 19, people=10) == []
    assert await sightings(entrance, 1, people=10) == [("web", "mood", 20)]


@at_the_door
async def test_what_few_people_send_often_does_not_show(entrance: Entrance) -> None:
    assert await sightings(entrance, 40, people=9) == []


@at_the_door
async def test_names_in_waiting_are_bounded(entrance: Entrance) -> None:
    names = {f"n{number}": 1 for number in range(2_000)}
    await entrance.send(an_observation(carried=YES, properties=names))
    assert len(entrance.preparer._names) == 1_000
