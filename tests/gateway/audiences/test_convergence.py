"""R4 and R6 as a machine: whatever happens, the platform ends with exactly who may be there."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.audiences.status import balance
from segments.destination import Operation
from tests.gateway.audiences.rig import (
    Died,
    PlainAudience,
    Rig,
    SlowAudience,
    digest_of,
)

PEOPLE = range(1, 6)
people = st.sets(st.sampled_from(PEOPLE))
person = st.sampled_from(PEOPLE)
FAULTS = (
    (True, "lost"),
    (True, "lost"),
    (True, "lost"),
    (False, "lost"),
    (True, "500"),
    (False, "500"),
    (False, "retry"),
    (False, "blocked"),
    (False, "refresh"),
    (True, "partial in_doubt"),
    (True, "split"),
    (True, "died"),
    (False, "died"),
)


class _Courier(RuleBasedStateMachine):
    destination: PlainAudience = PlainAudience()
    faults: tuple[tuple[bool, str], ...] = FAULTS

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.rig = Rig(Path(self.folder.name), destinations={"plain": self.destination}, minimum=1)
        self.rig.platform.before = self.check_send
        self.wanted: set[int] = set()
        self.leaked: list[int] = []

    def check_send(self, operation: Operation, digests: frozenset[str]) -> None:
        if operation is Operation.ADD:
            granted = self.rig.front.current(PEOPLE)
            self.leaked += [
                slot for slot in PEOPLE if digest_of(slot) in digests and not granted.get(slot)
            ]

    def run_one(self) -> None:
        try:
            self.runner.run(self.rig.tick())
        except Died:
            self.rig.crash()

    @initialize(slots=people)
    def begin(self, slots: set[int]) -> None:
        self.rig.front.grant(*PEOPLE)
        self.evaluate(slots)

    @rule(slots=people)
    def evaluate(self, slots: set[int]) -> None:
        self.wanted = slots
        self.rig.evaluate(*sorted(slots))

    @rule(slot=person)
    def grant(self, slot: int) -> None:
        self.rig.front.grant(slot)

    @rule(slot=person)
    def withdraw(self, slot: int) -> None:
        if slot in self.rig.front.granted:
            self.rig.front.withdraw(slot)

    @rule(slot=person)
    def withdraw_during_the_next_send(self, slot: int) -> None:
        def then() -> None:
            self.withdraw(slot)
            self.rig.platform.after = lambda: None

        self.rig.platform.after = then

    @rule(times=st.integers(1, 4))
    def tick(self, times: int) -> None:
        for _ in range(times):
            self.run_one()

    @rule(milliseconds=st.sampled_from([200, 5_000, 1_000_000]))
    def wait(self, milliseconds: int) -> None:
        self.rig.now += milliseconds

    @rule()
    def crash(self) -> None:
        self.rig.crash()

    @rule(data=st.data(), times=st.integers(1, 4))
    def misbehave_then_tick(self, data: st.DataObject, times: int) -> None:
        self.rig.platform.entries = [data.draw(st.sampled_from(self.faults))]
        self.tick(times)

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        assert balance(self.rig.store).get("plain", {"residue": 0})["residue"] == 0

    @invariant()
    def nobody_uncovered_was_sent(self) -> None:
        assert not self.leaked

    def end_well(self) -> None:
        self.rig.platform.entries.clear()
        self.rig.platform.after = lambda: None
        self.rig.crash()
        self.evaluate(self.wanted)
        self.runner.run(self.rig.settle())

    def teardown(self) -> None:
        try:
            self.end_well()
            granted = self.rig.front.current(PEOPLE)
            expected = {digest_of(slot) for slot in self.wanted if granted.get(slot)}
            assert self.rig.platform.members == expected
            self.nothing_is_lost_or_counted_twice()
            with self.rig.store.read() as back:
                assert all(count.operation is None for count in back.counts("plain"))
        finally:
            self.rig.close()
            self.runner.close()
            self.folder.cleanup()


class SynchronousPlatform(_Courier):
    """A platform that answers what it did."""


class AsynchronousPlatform(_Courier):
    """A platform that accepts, works in any order, and must be asked."""

    destination = SlowAudience()
    faults = ((False, "lost"), (False, "500"), (False, "retry"), (False, "died"))

    def __init__(self) -> None:
        super().__init__()
        self.rig.platform.usual = "accepted"

    @precondition(lambda self: self.rig.platform.working)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        working = self.rig.platform.working
        self.rig.platform.finish(data.draw(st.sampled_from(sorted(working))))

    def end_well(self) -> None:
        super().end_well()
        while self.rig.platform.working:
            for reference in sorted(self.rig.platform.working, reverse=True):
                self.rig.platform.finish(reference)
            self.runner.run(self.rig.settle())


TestSynchronousPlatform = SynchronousPlatform.TestCase
TestAsynchronousPlatform = AsynchronousPlatform.TestCase
TestSynchronousPlatform.settings = settings(max_examples=40, stateful_step_count=25)
TestAsynchronousPlatform.settings = settings(max_examples=40, stateful_step_count=25)
