import asyncio

import pytest

from gateway.audiences.flights import Flights
from tests.gateway.audiences.rig import SYNC, Front


@pytest.fixture
def front() -> Front:
    found = Front()
    found.grant(1, 2)
    return found


def test_nothing_in_flight_is_drained_at_once(front: Front) -> None:
    assert asyncio.run(Flights(front).drain(5)) == 5


def test_a_flight_that_checked_later_is_not_waited_for(front: Front) -> None:
    flights = Flights(front)
    position = front.withdraw(1)
    flights.take_off([1], SYNC)
    assert asyncio.run(flights.drain(position)) == position


def test_a_flight_without_anybody_affected_counts_as_checked_again(front: Front) -> None:
    flights = Flights(front)
    flight = flights.take_off([2], SYNC)
    position = front.withdraw(1)
    asyncio.run(flights.drain(position))
    assert (flight.position, flight.cut.is_set()) == (position, False)


def test_a_flight_with_somebody_affected_is_waited_for(front: Front) -> None:
    async def scenario() -> bool:
        flights = Flights(front, grace_seconds=5.0)
        flight = flights.take_off([1, 2], SYNC)
        draining = asyncio.create_task(flights.drain(front.withdraw(1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waited = not draining.done()
        flights.land(flight)
        await draining
        return waited and not flight.cut.is_set()

    assert asyncio.run(scenario())


def test_a_flight_that_does_not_end_in_time_is_cut(front: Front) -> None:
    async def scenario() -> None:
        flights = Flights(front, grace_seconds=0.01)
        flight = flights.take_off([1], SYNC)
        draining = asyncio.create_task(flights.drain(front.withdraw(1)))
        await flight.cut.wait()
        assert not draining.done()
        flights.land(flight)
        await draining

    asyncio.run(scenario())


def test_a_check_that_fails_ends_the_flight(front: Front) -> None:
    async def scenario() -> None:
        flights = Flights(front, grace_seconds=0.01)
        flight = flights.take_off([2], SYNC)
        position = front.withdraw(1)
        del front.granted
        draining = asyncio.create_task(flights.drain(position))
        await flight.cut.wait()
        flights.land(flight)
        await draining

    asyncio.run(scenario())


def test_everything_can_be_cut_at_the_end(front: Front) -> None:
    async def scenario() -> None:
        flights = Flights(front)
        flight = flights.take_off([2], SYNC)
        cutting = asyncio.create_task(flights.cut_all())
        await flight.cut.wait()
        flights.land(flight)
        await cutting
        await flights.cut_all()

    asyncio.run(scenario())
