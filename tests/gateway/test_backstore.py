from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as moved

from consent.outcome import Delivery, Reason
from gateway.backrecords import Disclosure, Job, Lane, Target
from gateway.backstore import BackStore
from segments.audiences.membership import Ended, Held, Membership, Phase, Step, want
from segments.destination import Operation

ADD, REMOVE = Operation.ADD, Operation.REMOVE
TARGET = Target(
    audience="vip",
    destination="meta",
    purposes=frozenset({"audience_sync", "ads_profile"}),
    version="v",
    at=5,
    position=6,
)
JOB = Job(
    id=2**62 - 1,
    audience="vip",
    destination="meta",
    operation=ADD,
    purposes=frozenset({"audience_sync"}),
    chunk="c",
    members=2,
    position=6,
    opened_at=10,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BackStore]:
    found = BackStore(tmp_path / "back.db")
    yield found
    found.close()


def put(store: BackStore, *rows: Membership, audience: str = "vip") -> None:
    with store.write() as back:
        back.apply("meta", audience, [Step(row) for row in rows])


def test_a_membership_comes_back_as_it_was_written(store: BackStore) -> None:
    row = Membership(
        slot=2**62,
        desired=True,
        position=1,
        denied_at=2,
        held=Held.MAYBE,
        operation=REMOVE,
        phase=Phase.DOUBT,
        job=3,
        fence=4,
        tries=5,
        batch=6,
        due=7,
        since=8,
        generation=9,
        reason=Reason.REJECTED,
        contact=10,
    )
    put(store, row)
    with store.read() as back:
        assert back.members("meta", "vip", [row.slot]) == {row.slot: row}
        assert [found.row for found in back.of_slots([row.slot])] == [row]
        assert back.of_job(3) == [row]
        assert back.fenced_by(4) == [row]


def test_more_slots_than_one_statement_takes(store: BackStore) -> None:
    put(store, *(Membership(slot) for slot in range(1, 20_500)))
    with store.read() as back:
        assert len(back.members("meta", "vip", range(1, 30_000))) == 20_499


def test_a_target_and_a_job_come_back_as_they_were_written(store: BackStore) -> None:
    with store.write() as back:
        back.put_target(TARGET)
        back.put_job(JOB)
    with store.read() as back:
        assert back.targets(destination="meta", audience="vip") == [TARGET]
        assert back.jobs("meta", "running") == [JOB]


def test_a_new_evaluation_does_not_end_a_running_release(store: BackStore) -> None:
    with store.write() as back:
        back.put_target(TARGET)
        back.set_leaving("meta", "vip", 7)
        back.put_target(replace(TARGET, position=9))
        assert back.targets() == [replace(TARGET, position=9, leaving=7)]


def test_a_transaction_that_fails_leaves_nothing(store: BackStore) -> None:
    def fail() -> None:
        with store.write() as back:
            back.put_target(TARGET)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as back:
        assert back.targets() == []


def test_the_next_job_takes_one_audience_and_one_size_of_batch(store: BackStore) -> None:
    waiting = moved(want(Membership(1), 1, 1).row, phase=Phase.RELEASED)
    put(store, moved(waiting, slot=1, due=5), moved(waiting, slot=2, due=5, batch=1))
    put(store, moved(waiting, slot=3, due=4), audience="other")
    with store.read() as back:
        found = [
            [row.slot for row in back.work("meta", ADD, [Phase.RELEASED], now, 10)[1]]
            for now in (3, 4, 5)
        ]
    assert found == [[], [3], [3]]


def test_a_halved_batch_bounds_the_next_job(store: BackStore) -> None:
    waiting = moved(want(Membership(1), 1, 1).row, phase=Phase.DOUBT, batch=2)
    put(store, *(moved(waiting, slot=slot) for slot in (1, 2, 3)))
    with store.read() as back:
        assert len(back.work("meta", ADD, [Phase.DOUBT], 9, 10)[1]) == 2


def test_the_quick_question_agrees_with_the_work(store: BackStore) -> None:
    put(store, moved(want(Membership(1), 1, 1).row, due=5))
    asked = [store.has_work("meta", ADD, [Phase.QUEUED], now) for now in (4, 5)]
    assert asked == [False, True]
    assert not store.has_work("meta", REMOVE, [Phase.QUEUED], 5)
    assert not store.has_work("meta", ADD, [Phase.READY, Phase.DOUBT], 5)


def test_opened_and_ended_operations_are_counted_apart(store: BackStore) -> None:
    ended = Ended(ADD, Delivery.REFUSED, Reason.NO_CONTACT)
    with store.write() as back:
        back.apply("meta", "vip", [want(Membership(slot), 1, 1) for slot in (1, 2)])
        back.apply("meta", "vip", [Step(Membership(1), ended=ended)])
        assert back.opened() == {"meta": 2}
        assert back.ended() == {"meta": {(Delivery.REFUSED, Reason.NO_CONTACT): 1}}


def test_another_commit_is_noticed_once(store: BackStore, tmp_path: Path) -> None:
    store.changed()
    other = BackStore(tmp_path / "back.db")
    assert not store.changed()
    put(other, Membership(1))
    other.close()
    assert [store.changed(), store.changed()] == [True, False]


def test_deleted_seals_are_gone_from_every_file(store: BackStore, tmp_path: Path) -> None:
    with store.write() as back:
        back.disclose("meta", "vip", [Disclosure(1, b"KEYKEYKEY", b"SEALSEALSEAL")])
    with store.write() as back:
        back.forget("meta", "vip", [1])
    store.compact()
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"KEYKEYKEY" not in raw
    assert b"SEALSEALSEAL" not in raw


def test_versions_shown_come_back_oldest_first(store: BackStore) -> None:
    with store.write() as back:
        back.disclose("meta", "vip", [Disclosure(1, b"k", b"old"), Disclosure(1, b"k", b"new")])
        back.disclose("other", "vip", [Disclosure(1, b"k", b"elsewhere")])
        assert [found.sealed for found in back.disclosed("meta", "vip", [1])[1]] == [b"old", b"new"]


def test_lanes_receipts_and_cursors_are_kept(store: BackStore) -> None:
    lane = Lane(code="429", attempts=2, next_at=9, parked=True)
    with store.write() as back:
        back.set_lane("meta", REMOVE, lane)
        back.count_receipt("meta", "vip", ADD, "confirmed", 2)
        back.count_receipt("meta", "vip", ADD, "confirmed", 3)
        back.set_cursor("withdrawals", 4)
        assert back.lanes("meta") == {REMOVE: lane}
        assert back.receipts("meta", "vip") == {("add", "confirmed"): 5}
        assert (back.cursor("withdrawals"), back.cursor("never")) == (4, 0)


def test_only_old_jobs_that_ended_are_dropped(store: BackStore) -> None:
    with store.write() as back:
        back.put_job(JOB)
        back.put_job(replace(JOB, id=2, state="done"))
        back.put_job(replace(JOB, id=3, state="done", opened_at=99))
        back.drop_jobs(50)
        assert back.unfinished([JOB.id, 2, 3]) == {JOB.id}
        assert [job.id for job in back.jobs("meta", "done")] == [3]


def test_a_question_is_due_only_when_its_time_has_come(store: BackStore) -> None:
    with store.write() as back:
        back.put_job(replace(JOB, state="accepted", next_at=5))
        assert [len(back.jobs("meta", "accepted", due=now)) for now in (4, 5)] == [0, 1]
    assert [store.has_question("meta", now) for now in (4, 5)] == [False, True]
