"""F2, F4, F5, F6: death at any sync or write; a sync that fails; a full disk; a slow one (P1, R8).

Faults are injected into the system calls of a running front worker, for one file.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, product
from pathlib import Path

from tests.faults.strikes import await_ready, children, until
from tests.faults.tracing import traced
from tests.faults.wire import Answer, Collector, Unanswered, grant, is_ready, track
from tests.server import Server

_PERSON = {"user_id": "person-1"}


def test_death_at_any_sync_or_write_of_the_store_loses_nothing(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start()
    _grant(server)
    acknowledged: Counter[str] = Counter()
    for name, place in product(("fdatasync", "pwrite64"), (1, 2, 5)):
        (worker,) = _workers(server)
        kill = f"inject={name}:signal=KILL:when={place}"
        with traced(strace, worker, tmp_path / "trace", *_on_the_store(server, name), "-e", kill):
            events = (f"{name}-{place}-{number}" for number in count())
            event = next(events)
            while _is_acknowledged(server, event):
                acknowledged[event] += 1
                event = next(events)
        await_ready(server)
        assert _send_until_answered(server, event).outcome == "duplicate"
        acknowledged[event] += 1
    assert _stored(server) == acknowledged
    assert server.admin("/v1/balance")["residue"] == 0


def test_a_failed_sync_acknowledges_nothing_and_ends_the_worker(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start()
    _grant(server)
    sent = [f"before-{number}" for number in range(10)]
    assert [_send(server, name).status for name in sent] == [200] * 10
    (worker,) = children(server)["front"]
    with traced(strace, worker, tmp_path / "trace", *_failing(server, "fsync,fdatasync", "EIO")):
        assert not _is_acknowledged(server, "in-doubt")
        assert until(lambda: worker not in server.pids()), server.tail()
    await_ready(server)
    assert f'"pid":{worker},"code":1,"event":"child_exited"' in server.log.read_text()
    assert _send_until_answered(server, "in-doubt").outcome == "duplicate"
    assert _send(server, "after").outcome == "accepted"
    assert _stored(server) == Counter([*sent, "in-doubt", "after"])
    assert server.admin("/v1/balance")["residue"] == 0


def test_a_full_disk_turns_events_away_until_there_is_room(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start()
    _grant(server)
    workers = children(server)["front"]
    with traced(strace, workers[0], tmp_path / "trace", *_failing(server, "pwrite64", "ENOSPC")):
        refusals = [_send(server, f"event-{number}") for number in range(5)]
        withdrawal = _withdraw(server)
        assert is_ready(server.port)
    assert {answer.status for answer in (*refusals, withdrawal)} == {503}
    assert all(int(answer.retry_after) > 0 for answer in (*refusals, withdrawal))
    assert [_send(server, f"event-{number}").outcome for number in range(5)] == ["accepted"] * 5
    assert _withdraw(server).status == 200
    assert children(server)["front"] == workers
    assert _stored(server) == Counter(f"event-{number}" for number in range(5))
    assert server.admin("/v1/balance")["residue"] == 0


def test_a_slow_disk_slows_neither_health_nor_refusals(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start(
        configure=lambda text: text.replace("max_pending_events = 20000", "max_pending_events = 4")
    )
    _grant(server)
    (worker,) = children(server)["front"]
    slow = (*_on_the_store(server, "fdatasync"), "-e", "inject=fdatasync:delay_enter=2000000")
    with traced(strace, worker, tmp_path / "trace", *slow), ThreadPoolExecutor(12) as senders:
        waiting = [senders.submit(_timed, server, f"event-{number}") for number in range(12)]
        time.sleep(0.2)
        began = time.monotonic()
        assert is_ready(server.port)
        assert time.monotonic() - began < 1
        found = [future.result() for future in waiting]
    accepted = [answer for answer, _ in found if answer.status == 200]
    refused = [(answer, seconds) for answer, seconds in found if answer.status == 503]
    assert len(accepted) + len(refused) == 12
    assert 4 <= len(accepted) < 12
    assert all(int(answer.retry_after) > 0 and seconds < 1 for answer, seconds in refused)
    assert len(_stored(server)) == len(accepted)


def _workers(server: Server) -> list[int]:
    assert until(lambda: bool(children(server).get("front"))), server.tail()
    return children(server)["front"]


def _failing(server: Server, names: str, error: str) -> tuple[str, ...]:
    return (*_on_the_store(server, names), "-e", f"inject={names}:error={error}")


def _on_the_store(server: Server, names: str) -> tuple[str, ...]:
    return ("-P", str(server.data / "front.db-wal"), "-e", f"trace={names}")


def _grant(server: Server) -> None:
    with Collector(server.port) as collector:
        assert collector.post("/v1/consent", server.server_key, grant(_PERSON)).status == 201


def _withdraw(server: Server) -> Answer:
    with Collector(server.port) as collector:
        content = {**_PERSON, "purposes": "all"}
        return collector.post("/v1/consent/withdraw", server.server_key, content)


def _send(server: Server, name: str) -> Answer:
    with Collector(server.port) as collector:
        return collector.post(
            "/v1/track", server.server_key, track({"userId": _PERSON["user_id"]}, name, 1)
        )


def _timed(server: Server, name: str) -> tuple[Answer, float]:
    began = time.monotonic()
    return _send(server, name), time.monotonic() - began


def _is_acknowledged(server: Server, name: str) -> bool:
    try:
        return _send(server, name).status < 300
    except Unanswered:
        return False


def _send_until_answered(server: Server, name: str) -> Answer:
    """Send until it is acknowledged, then once more."""
    assert until(lambda: _is_acknowledged(server, name)), server.tail()
    return _send(server, name)


def _stored(server: Server) -> Counter[str]:
    return Counter(event["id"] for event in server.events())
