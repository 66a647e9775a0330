"""F1: kill -9 of any process at any moment, under load (promises P1, P3 and P4).

Controls: a build that answers before the commit must be found out.
"""

import os
import random  # noqa: TID251 - a seed replays the run
import secrets
import signal
import statistics
import sys
import time
from collections.abc import Callable

import pytest

from tests.faults.senders import Keys, Note, Sender, sending
from tests.faults.strikes import Strike, await_ready, children, strike
from tests.faults.verdict import judge
from tests.faults.wire import Collector, track
from tests.server import Server

_SENDERS = 8
_KILLS = 50
_READY_SECONDS = 2.0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_by_fifty_kills(start: Callable[..., Server]) -> None:
    seed = secrets.token_hex(4)
    server = start(workers=2)
    strikes, senders = _storm(server, seed, _KILLS)
    notes = [sender.note for sender in senders]
    verdict = judge(server, notes)
    sys.stdout.write(_report(strikes, notes))  # to be seen with -s, or when it fails
    assert verdict.faults() == {}, f"seed {seed}"
    assert statistics.median(one.seconds for one in strikes) <= _READY_SECONDS
    assert [one for one in strikes if one.seconds - one.waiting > _READY_SECONDS] == []
    server.restart()
    assert _outcomes_of_the_withdrawn(server, senders) == {"refused"}, f"seed {seed}"
    assert judge(server, notes).faults() == {}, f"seed {seed}"


@pytest.mark.slow
def test_a_build_that_answers_before_the_commit_is_found_out(start: Callable[..., Server]) -> None:
    seed = secrets.token_hex(4)
    server = start(workers=2, alteration="early")
    keys = Keys(server.write_key, server.server_key)
    with sending(_SENDERS, server.port, keys, seed) as finish:
        for _ in range(4):
            time.sleep(1)
            for pid in children(server)["front"]:
                os.kill(pid, signal.SIGKILL)
            await_ready(server)
        senders = finish()
    time.sleep(1)  # what it still has to write
    assert judge(server, [sender.note for sender in senders]).lost, f"seed {seed}"


def _storm(server: Server, seed: str, kills: int) -> tuple[list[Strike], list[Sender]]:
    choice = random.Random(seed)  # noqa: S311 - a replayable storm
    keys = Keys(server.write_key, server.server_key)
    with sending(_SENDERS, server.port, keys, seed) as finish:
        strikes = []
        for _ in range(kills):
            time.sleep(0.1 + 0.6 * choice.random())
            strikes.append(strike(server, choice))
        time.sleep(0.5)
        senders = finish()
    server.wait_ready(30)
    return strikes, senders


def _outcomes_of_the_withdrawn(server: Server, senders: list[Sender]) -> set[str]:
    with Collector(server.port) as collector:
        return {
            collector.post(
                "/v1/track", server.server_key, track(person.ids(), f"{person.name}-after", 0)
            ).outcome
            for sender in senders
            for person in sender.people
            if not person.granted
        }


def _report(strikes: list[Strike], notes: list[Note]) -> str:
    lines = []
    for target in sorted({one.target for one in strikes}):
        took = [one.seconds for one in strikes if one.target == target]
        stood = max(one.waiting for one in strikes if one.target == target)
        lines.append(
            f"  {target}: {len(took)} kills, collector ready again after median"
            f" {statistics.median(took):.3f} s, max {max(took):.3f} s (waiting {stood:.3f} s)"
        )
    kept = sum(len(told) for note in notes for told in note.kept.values())
    counts = (
        f"  events kept {kept}, refused {sum(len(note.refused) for note in notes)}, withdrawals"
        f" {sum(note.withdrawals for note in notes)}, requests sent again"
        f" {sum(note.repeated for note in notes)}"
    )
    return "\n".join([*lines, counts])
