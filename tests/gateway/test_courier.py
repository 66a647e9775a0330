"""The courier's loop with real time, real tasks and its socket; P4 at the wire."""

import asyncio
import contextlib
import json
import random  # noqa: TID251 - a seeded Random, made here for each race
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.audiences.status import Progress, balance, wait_settled
from gateway.drain import drain
from gateway.outbound import Endpoint, Outbound
from segments.destination import Operation
from tests.gateway.audiences.rig import PlainAudience, Rig, digest_of

ADD, REMOVE = Operation.ADD, Operation.REMOVE


@contextlib.asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[asyncio.Task[None]]:
    ready = asyncio.Event()
    task = asyncio.create_task(rig.courier.run(rig.folder / "c.sock", ready.set))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield task
    finally:
        rig.courier.stop()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def drained(rig: Rig, position: int) -> bool:
    return await drain(rig.folder / "c.sock", rig.folder / "c.lock", position, 5.0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


class SlowWire:
    """Writes each digest of a body at its own instant, as a slow peer lets it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - delays, replayed by their seed
        self.clock = asyncio.get_running_loop().time
        self.written: list[tuple[float, Operation, str]] = []

    async def send(self, request: httpx.Request) -> httpx.Response:
        operation = Operation(request.url.path.strip("/"))
        for digest in json.loads(request.content):
            await asyncio.sleep(self.random.uniform(0, 0.02))
            self.written.append((self.clock(), operation, digest))
        await asyncio.sleep(self.random.uniform(0, 0.2))
        return httpx.Response(200, text="confirmed")


@pytest.mark.parametrize("seed", range(6))
def test_no_byte_is_written_for_the_withdrawn_after_the_drain(rig: Rig, seed: int) -> None:
    async def race() -> list[tuple[str, float]]:
        wire = SlowWire(seed)
        rig.platform.send = wire.send  # type: ignore[method-assign]
        rig.open()
        people = list(range(1, 25))
        rig.front.grant(*people)
        rig.evaluate(*people)
        over = []
        async with running(rig):
            for slot in wire.random.sample(people, 12):
                await asyncio.sleep(wire.random.uniform(0, 0.05))
                position = rig.front.withdraw(slot)
                assert await drained(rig, position)
                over.append((digest_of(slot), wire.clock()))
        adds = [(at, digest) for at, operation, digest in wire.written if operation is ADD]
        return [(d, at) for d, at in over if any(w > at and x == d for w, x in adds)]

    rig.close()
    assert asyncio.run(race()) == []


def test_a_send_that_hangs_is_cut_and_followed_by_a_removal(rig: Rig) -> None:
    async def scenario() -> None:
        sent = asyncio.Event()
        cut = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST /remove"):
                await reader.readuntil(b"]")
                text = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nconfirmed"
                writer.write(text)
            elif not sent.is_set():
                sent.set()
                with contextlib.suppress(OSError):
                    while await reader.read(4_096):
                        pass
                cut.set()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outbound = Outbound(Endpoint(f"http://127.0.0.1:{port}", private=True))

        async def send(request: httpx.Request) -> httpx.Response:
            request = httpx.Request(
                request.method,
                f"http://127.0.0.1:{port}{request.url.path}",
                content=request.content,
            )
            return await outbound.send(request)

        rig.platform.send = send  # type: ignore[method-assign]
        rig.open()
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with server, outbound, running(rig):
            await sent.wait()
            position = rig.front.withdraw(2)
            assert await drained(rig, position)
            await asyncio.wait_for(cut.wait(), 1.0)
            await until(lambda: balance(rig.store)["plain"]["delivered"] == 1)

    rig.close()
    asyncio.run(scenario())


def test_a_send_that_carries_nobody_affected_flies_on(rig: Rig) -> None:
    async def scenario() -> None:
        started, finish = asyncio.Event(), asyncio.Event()
        send = rig.platform.send

        async def slow(request: httpx.Request) -> httpx.Response:
            started.set()
            await finish.wait()
            return await send(request)

        rig.platform.send = slow  # type: ignore[method-assign]
        rig.open()
        rig.front.grant(1, 2, 3, 4)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            await started.wait()
            assert await drained(rig, rig.front.withdraw(4))
            finish.set()
            await until(lambda: len(rig.platform.members) == 3)

    rig.close()
    asyncio.run(scenario())


def test_a_platform_that_hangs_does_not_slow_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def hang(request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError(request)

        rig = Rig(tmp_path, destinations={"plain": PlainAudience(), "other": PlainAudience()})
        rig.close()
        rig.platforms["plain"].send = hang  # type: ignore[method-assign]
        rig.open()
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            await until(lambda: len(rig.platforms["other"].members) == 3)
            rig.front.withdraw(2)
            await until(lambda: len(rig.platforms["other"].members) == 2)
        rig.close()

    asyncio.run(scenario())


def test_a_removal_starts_without_anybody_asking(rig: Rig) -> None:
    async def scenario() -> None:
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            await until(lambda: len(rig.platform.members) == 3)
            rig.front.withdraw(2)
            await until(lambda: len(rig.platform.members) == 2)

    asyncio.run(scenario())


def test_a_step_that_fails_leaves_its_members_in_doubt_and_goes_on(rig: Rig) -> None:
    async def scenario() -> None:
        send = rig.platform.send
        failures = [RuntimeError("bug")]

        async def faulty(request: httpx.Request) -> httpx.Response:
            if failures:
                raise failures.pop()
            return await send(request)

        rig.platform.send = faulty  # type: ignore[method-assign]
        rig.open()
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            await until(lambda: len(rig.platform.members) == 3)

    rig.close()
    asyncio.run(scenario())


def test_a_store_that_cannot_be_used_ends_the_courier(rig: Rig) -> None:
    async def scenario() -> None:
        async with running(rig) as task:
            rig.store.close()
            (rig.folder / "back.db").write_bytes(b"no database" * 1_000)
            await asyncio.wait({task}, timeout=10)

    with pytest.raises(Exception, match="database"):
        asyncio.run(scenario())


def test_a_stop_waits_for_what_is_in_flight(rig: Rig) -> None:
    async def scenario() -> None:
        started = asyncio.Event()
        send = rig.platform.send

        async def slow(request: httpx.Request) -> httpx.Response:
            started.set()
            await asyncio.sleep(0.2)
            return await send(request)

        rig.platform.send = slow  # type: ignore[method-assign]
        rig.open()
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            await started.wait()
        assert len(rig.platform.members) == 3
        assert balance(rig.store)["plain"]["delivered"] == 3

    rig.close()
    asyncio.run(scenario())


def test_waiting_for_an_audience_ends_when_it_has_settled(rig: Rig) -> None:
    async def scenario() -> None:
        seen: list[Progress] = []
        rig.front.grant(1, 2, 3)
        rig.evaluate(1, 2, 3)
        async with running(rig):
            assert await wait_settled(rig.store, "vip", 10.0, seen.append)
        assert (seen[0].pending, seen[-1].members) == (3, 3)

    asyncio.run(scenario())


def test_waiting_does_not_wait_for_what_is_held_back_for_size(rig: Rig) -> None:
    async def scenario() -> None:
        rig.front.grant(1, 2)
        rig.evaluate(1, 2)
        async with running(rig):
            assert await wait_settled(rig.store, "vip", 10.0)
        assert rig.platform.requests == []

    asyncio.run(scenario())


def test_waiting_gives_up_in_time(rig: Rig) -> None:
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    assert not asyncio.run(wait_settled(rig.store, "vip", 0.05))
