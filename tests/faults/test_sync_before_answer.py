"""F3: between the read of an event and its 2xx lies a sync that returned 0 (promise P1).

Seen from outside the process, in the trace of its system calls. Control: a build that commits with
synchronous=NORMAL.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from tests.faults.strikes import children
from tests.faults.tracing import Call, calls, traced
from tests.faults.wire import Collector, grant, track
from tests.server import Server

_EVENTS = 60
_CONNECTIONS = 8
_TRACED = "trace=fsync,fdatasync,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg"
_READS = ("read", "readv", "recvfrom", "recvmsg")
_WRITES = ("write", "writev", "sendto", "sendmsg")
_REQUEST = re.compile(r"POST /v1/track\?n=(\d+) ")
_SOCKET = re.compile(r"(?:\d+)<TCP[^>]*>")
_STORE = "/front.db-wal>"


def test_a_sync_lies_between_an_event_and_its_answer(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start()
    answered = _trace(server, strace, tmp_path / "trace", connections=1)
    assert len(answered) == _EVENTS
    assert _unsynced(tmp_path / "trace") == []


def test_every_answer_of_a_group_follows_a_sync_begun_after_its_event(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start()
    answered = _trace(server, strace, tmp_path / "trace", connections=_CONNECTIONS)
    assert len(answered) == _EVENTS * _CONNECTIONS
    assert _unsynced(tmp_path / "trace") == []
    assert _syncs(calls(tmp_path / "trace")) < len(answered)  # or groups were never seen


def test_a_build_that_does_not_sync_is_found_out(
    start: Callable[..., Server], strace: str, tmp_path: Path
) -> None:
    server = start(alteration="unsynced")
    answered = _trace(server, strace, tmp_path / "trace", connections=1)
    assert len(_unsynced(tmp_path / "trace")) == len(answered) == _EVENTS


def _trace(server: Server, strace: str, output: Path, connections: int) -> list[str]:
    """Trace the front worker while events are sent; return their acknowledged outcomes."""
    outcomes: list[str] = []
    senders = [
        threading.Thread(target=_send, args=(server, number, outcomes))
        for number in range(connections)
    ]
    (worker,) = children(server)["front"]
    with traced(strace, worker, output, "-e", _TRACED):
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert set(outcomes) == {"accepted"}
    return outcomes


def _send(server: Server, sender: int, outcomes: list[str]) -> None:
    key, person = server.server_key, f"person-{sender}"
    with Collector(server.port) as collector:
        assert collector.post("/v1/consent", key, grant({"user_id": person})).status == 201
        for number in range(sender * _EVENTS, (sender + 1) * _EVENTS):
            event = track({"userId": person}, f"event-{number}", number)
            answer = collector.post(f"/v1/track?n={number}", key, event)
            outcomes.append(answer.outcome)


def _unsynced(trace: Path) -> list[str]:
    """Return the numbers of events whose answer was written before a sync begun after the read."""
    waiting: dict[str, tuple[str, int]] = {}  # connection → the event read, and where
    unsynced: list[str] = []
    newest_sync = -1  # the begin of the newest one that has returned 0
    for moment, call in _moments(calls(trace)):
        if moment == call.began and call.name in _WRITES and "HTTP/1.1 2" in call.text:
            number, read = waiting.pop(_connection(call), ("", -1))
            if number and newest_sync < read:
                unsynced.append(number)
        if moment == call.ended and _is_sync(call):
            newest_sync = max(newest_sync, call.began)
        if moment == call.ended and call.name in _READS:
            request = _REQUEST.search(call.text)
            if request:
                waiting[_connection(call)] = (request[1], call.ended)
    return unsynced


def _moments(found: list[Call]) -> list[tuple[int, Call]]:
    """Return begins and ends in the order in which they happened."""
    both = {(moment, index) for index, call in enumerate(found) for moment in _ends(call)}
    return [(moment, found[index]) for moment, index in sorted(both)]


def _ends(call: Call) -> tuple[int, int]:
    return call.began, call.ended


def _is_sync(call: Call) -> bool:
    return call.name in ("fsync", "fdatasync") and _STORE in call.text and call.result == 0


def _syncs(found: list[Call]) -> int:
    return sum(map(_is_sync, found))


def _connection(call: Call) -> str:
    found = _SOCKET.search(call.text)
    return found[0] if found else ""
