"""Stores what the engine wants and what the courier did: targets, memberships, jobs, counters.

The only module with SQLModel classes; callers see plain dataclasses. Every write is one short
transaction on one SQLite file that two processes share. No identifier and no digest is ever in it
in the clear: a disclosed contact version is sealed under a key of its own, which dies with it.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Field, SQLModel

from consent.outcome import Delivery, Reason
from gateway.backrecords import (
    Count,
    Disclosure,
    Job,
    Lane,
    Placed,
    Target,
    as_job,
    as_placed,
    as_row,
    as_target,
    joined,
    read_operation,
)
from gateway.database import open_back
from segments.audiences.diff import Standing
from segments.audiences.membership import Held, Membership, Phase, Step
from segments.destination import Operation

__all__ = ["BackStore", "BackTransaction"]

_CHUNK = 10_000


class _Membership(SQLModel, table=True):
    __tablename__ = "membership"
    destination: str = Field(primary_key=True)
    audience: str = Field(primary_key=True)
    slot: int = Field(primary_key=True)
    desired: bool
    position: int
    denied_at: int
    held: int
    operation: str
    phase: str
    job: int
    fence: int
    tries: int
    batch: int
    due: int
    since: int
    generation: int
    reason: str
    contact: int


class _Target(SQLModel, table=True):
    __tablename__ = "target"
    audience: str = Field(primary_key=True)
    destination: str = Field(primary_key=True)
    purposes: str
    version: str
    at: int
    position: int
    leaving: int


class _Job(SQLModel, table=True):
    __tablename__ = "job"
    id: int = Field(primary_key=True)
    audience: str
    destination: str
    operation: str
    purposes: str
    chunk: str
    members: int
    position: int
    state: str
    fate: str
    code: str
    reference: str
    attempts: int
    opened_at: int
    next_at: int


class _Disclosure(SQLModel, table=True):
    __tablename__ = "disclosure"
    id: int = Field(primary_key=True)
    audience: str
    destination: str
    slot: int
    wrapped_key: bytes
    sealed: bytes


class _Lane(SQLModel, table=True):
    __tablename__ = "lane"
    destination: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    parked: bool
    code: str
    attempts: int
    next_at: int


class _Opened(SQLModel, table=True):
    __tablename__ = "opened"
    destination: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    n: int


class _Ended(SQLModel, table=True):
    __tablename__ = "ended"
    destination: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    delivery: str = Field(primary_key=True)
    reason: str = Field(primary_key=True)
    n: int


class _Receipt(SQLModel, table=True):
    __tablename__ = "receipt"
    destination: str = Field(primary_key=True)
    audience: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    fate: str = Field(primary_key=True)
    n: int


class _Cursor(SQLModel, table=True):
    __tablename__ = "cursor"
    name: str = Field(primary_key=True)
    position: int


_tables = SQLModel.metadata.tables
_membership = _tables["membership"]
_target = _tables["target"]
_job = _tables["job"]
_disclosure = _tables["disclosure"]
_lane = _tables["lane"]
_opened = _tables["opened"]
_ended = _tables["ended"]
_receipt = _tables["receipt"]
_cursor = _tables["cursor"]


class BackStore:
    """The back store of one data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = open_back(path)
        self._reading = self._engine.execution_options(reading=True)
        self._watching = sqlite3.connect(path, check_same_thread=False)
        self._version = -1

    @contextmanager
    def write(self) -> Iterator["BackTransaction"]:
        """Open one short write transaction; it is durable when the block ends."""
        with self._engine.begin() as connection:
            yield BackTransaction(connection)

    @contextmanager
    def read(self) -> Iterator["BackTransaction"]:
        """Open one consistent read."""
        with self._reading.connect() as connection:
            yield BackTransaction(connection)

    def changed(self) -> bool:
        """Say whether anyone committed since the last call."""
        found = int(self._watching.execute("PRAGMA data_version").fetchone()[0])
        changed = found != self._version
        self._version = found
        return changed

    def has_work(
        self, destination: str, operation: Operation, phases: Sequence[Phase], now: int
    ) -> bool:
        """Say whether an operation may run now: asked all the time, so in plain SQL."""
        marks = ",".join("?" * len(phases))
        query = (
            "SELECT 1 FROM membership WHERE operation != '' AND destination = ?"  # noqa: S608 - marks
            f" AND operation = ? AND phase IN ({marks}) AND due <= ? LIMIT 1"
        )
        found = self._watching.execute(query, (destination, operation, *phases, now))
        return found.fetchone() is not None

    def has_question(self, destination: str, now: int) -> bool:
        """Say whether an accepted job should be asked about now."""
        query = (
            "SELECT 1 FROM job"
            " WHERE destination = ? AND state = 'accepted' AND next_at <= ? LIMIT 1"
        )
        return self._watching.execute(query, (destination, now)).fetchone() is not None

    def compact(self) -> None:
        """Fold the write-ahead log back and empty it, so that deleted seals leave the disk."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        self._watching.close()
        self._engine.dispose()


class BackTransaction:
    """What can be read and written inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Targets

    def targets(self, *, destination: str = "", audience: str = "") -> list[Target]:
        """Return targets, of one destination or audience where given, in a fixed order."""
        query = select(_target).order_by(_target.c.destination, _target.c.audience)
        if destination:
            query = query.where(_target.c.destination == destination)
        if audience:
            query = query.where(_target.c.audience == audience)
        return [as_target(dict(row)) for row in self._connection.execute(query).mappings()]

    def put_target(self, target: Target) -> None:
        """Record what was evaluated; a running release goes on."""
        values = asdict(target) | {"purposes": joined(target.purposes)}
        self._upsert(_Target, [values], keep=("leaving",))

    def release(self, destination: str, audience: str) -> None:
        """Let every waiting addition of a target leave."""
        self._move(destination, audience, Phase.READY, Phase.RELEASED)
        self.set_leaving(destination, audience, 0)

    def hold(self, destination: str, audience: str) -> None:
        """Take a release back that shrank below the minimum before any of it left."""
        self._move(destination, audience, Phase.RELEASED, Phase.READY)

    def _move(self, destination: str, audience: str, old: Phase, new: Phase) -> None:
        self._connection.execute(
            update(_membership)
            .where(
                _membership.c.destination == destination,
                _membership.c.audience == audience,
                _membership.c.operation == Operation.ADD.value,
                _membership.c.phase == old.value,
                _membership.c.tries == 0,
            )
            .values(phase=new.value)
        )

    def released(self, destination: str, audience: str) -> int:
        """Return how many released additions have not been in a job yet."""
        query = select(func.count()).where(
            _membership.c.operation != "",
            _membership.c.destination == destination,
            _membership.c.operation == Operation.ADD.value,
            _membership.c.phase == Phase.RELEASED.value,
            _membership.c.audience == audience,
            _membership.c.tries == 0,
        )
        return int(self._connection.execute(query).scalar_one())

    def set_leaving(self, destination: str, audience: str, leaving: int) -> None:
        """Record how many of the running release were put into jobs."""
        self._connection.execute(
            update(_target)
            .where(_target.c.destination == destination, _target.c.audience == audience)
            .values(leaving=leaving)
        )

    # Memberships

    def standings(self, destination: str, audience: str) -> dict[int, Standing]:
        """Return what the difference needs of every recorded slot of a target."""
        query = select(_membership.c.slot, _membership.c.desired, _membership.c.denied_at).where(
            _membership.c.destination == destination, _membership.c.audience == audience
        )
        return {slot: Standing(bool(d), at) for slot, d, at in self._connection.execute(query)}

    def members(
        self, destination: str, audience: str, slots: Iterable[int]
    ) -> dict[int, Membership]:
        """Return the recorded memberships of some slots of a target."""
        found: dict[int, Membership] = {}
        for chunk in _chunks(slots):
            query = select(_membership).where(
                _membership.c.destination == destination,
                _membership.c.audience == audience,
                _membership.c.slot.in_(chunk),
            )
            found |= {placed.row.slot: placed.row for placed in self._placed(query)}
        return found

    def of_slots(self, slots: Iterable[int]) -> list[Placed]:
        """Return every membership of some slots, at every destination."""
        return [
            placed
            for chunk in _chunks(slots)
            for placed in self._placed(select(_membership).where(_membership.c.slot.in_(chunk)))
        ]

    def of_job(self, job: int) -> list[Membership]:
        """Return the memberships whose open operation a job carries."""
        query = select(_membership).where(_membership.c.job == job, _membership.c.job != 0)
        return [placed.row for placed in self._placed(query)]

    def fenced_by(self, job: int) -> list[Membership]:
        """Return the memberships whose removal must be repeated when a job has ended."""
        query = select(_membership).where(_membership.c.fence == job, _membership.c.fence != 0)
        return [placed.row for placed in self._placed(query)]

    def work(
        self, destination: str, operation: Operation, phases: Sequence[Phase], now: int, limit: int
    ) -> tuple[str, list[Membership]]:
        """Return one audience with operations that may run now in one job, oldest due first.

        Members of a batch that the platform refused as a whole come in halves of it.
        """
        busy = and_(
            _membership.c.operation != "",
            _membership.c.destination == destination,
            _membership.c.operation == operation.value,
            _membership.c.phase.in_([phase.value for phase in phases]),
            _membership.c.due <= now,
        )
        first = self._connection.execute(
            select(_membership.c.audience, _membership.c.batch)
            .where(busy)
            .order_by(_membership.c.due, _membership.c.slot)
            .limit(1)
        ).one_or_none()
        if first is None:
            return "", []
        audience, batch = first
        query = (
            select(_membership)
            .where(busy, _membership.c.audience == audience, _membership.c.batch == batch)
            .order_by(_membership.c.due, _membership.c.slot)
            .limit(min(limit, batch) if batch else limit)
        )
        return str(audience), [placed.row for placed in self._placed(query)]

    def active(self, destination: str, audience: str, after: int, limit: int) -> list[Membership]:
        """Return members that a platform may hold or is about to be sent, by slot."""
        query = self._page(destination, audience, after, limit).where(
            or_(
                _membership.c.held != Held.NO.value,
                _membership.c.operation == Operation.ADD.value,
            )
        )
        return [placed.row for placed in self._placed(query)]

    def turned_down(
        self, destination: str, audience: str, after: int, limit: int
    ) -> list[Membership]:
        """Return wanted members whose addition was refused for want of a usable contact value."""
        query = self._page(destination, audience, after, limit).where(
            _membership.c.desired, _membership.c.operation == "", _membership.c.reason != ""
        )
        return [placed.row for placed in self._placed(query)]

    def apply(self, destination: str, audience: str, steps: Sequence[Step]) -> None:
        """Write transitions and count, apart, what they opened and what they ended."""
        self._upsert(_Membership, [as_row(destination, audience, step.row) for step in steps])
        opened = Counter(step.opened for step in steps if step.opened is not None)
        for operation, n in opened.items():
            self._count(_Opened, n, destination=destination, operation=operation.value)
        ended = Counter(step.ended for step in steps if step.ended is not None)
        for end, n in ended.items():
            self._count(
                _Ended,
                n,
                destination=destination,
                operation=end.operation.value,
                delivery=end.delivery.value,
                reason=end.reason.value,
            )

    # Jobs

    def put_job(self, job: Job) -> None:
        """Record a job, or its new state."""
        values = asdict(job) | {
            "purposes": joined(job.purposes),
            "operation": job.operation.value,
        }
        self._upsert(_Job, [values])

    def jobs(self, destination: str, state: str, due: int | None = None) -> list[Job]:
        """Return jobs in a state, only those due where an instant is given, oldest first."""
        query = select(_job).where(_job.c.destination == destination, _job.c.state == state)
        if due is not None:
            query = query.where(_job.c.next_at <= due)
        rows = self._connection.execute(query.order_by(_job.c.next_at, _job.c.id)).mappings()
        return [as_job(dict(row)) for row in rows]

    def unfinished(self, ids: Iterable[int]) -> set[int]:
        """Return those of some jobs that have not ended."""
        found: set[int] = set()
        for chunk in _chunks(ids):
            query = select(_job.c.id).where(_job.c.id.in_(chunk), _job.c.state != "done")
            found |= set(self._connection.execute(query).scalars())
        return found

    def drop_jobs(self, before: int) -> None:
        """Delete ended jobs that were opened before an instant."""
        self._connection.execute(
            delete(_job).where(_job.c.state == "done", _job.c.opened_at < before)
        )

    # Disclosed contact versions

    def disclose(self, destination: str, audience: str, versions: Sequence[Disclosure]) -> None:
        """Record what a platform is about to be shown."""
        if versions:
            place = {"destination": destination, "audience": audience}
            self._connection.execute(
                insert(_disclosure),
                [
                    {"slot": one.slot, "wrapped_key": one.wrapped_key, "sealed": one.sealed} | place
                    for one in versions
                ],
            )

    def disclosed(
        self, destination: str, audience: str, slots: Iterable[int]
    ) -> dict[int, list[Disclosure]]:
        """Return what a platform was shown of some slots, oldest first."""
        found: dict[int, list[Disclosure]] = {}
        for chunk in _chunks(slots):
            query = (
                select(_disclosure.c.slot, _disclosure.c.wrapped_key, _disclosure.c.sealed)
                .where(self._shown(destination, audience, chunk))
                .order_by(_disclosure.c.id)
            )
            for slot, wrapped_key, sealed in self._connection.execute(query):
                found.setdefault(slot, []).append(Disclosure(slot, wrapped_key, sealed))
        return found

    def forget(self, destination: str, audience: str, slots: Iterable[int]) -> None:
        """Destroy what was kept for removals that have settled, keys included."""
        for chunk in _chunks(slots):
            self._connection.execute(
                delete(_disclosure).where(self._shown(destination, audience, chunk))
            )

    # Lanes, counters, cursors

    def lanes(self, destination: str) -> dict[Operation, Lane]:
        """Return the lanes of a destination that ever waited."""
        query = select(_lane).where(_lane.c.destination == destination)
        return {
            Operation(row["operation"]): Lane(
                row["code"], row["attempts"], row["next_at"], bool(row["parked"])
            )
            for row in self._connection.execute(query).mappings()
        }

    def set_lane(self, destination: str, operation: Operation, lane: Lane) -> None:
        """Record why a lane waits, or that it does not."""
        place = {"destination": destination, "operation": operation.value}
        self._upsert(_Lane, [asdict(lane) | place])

    def count_receipt(
        self, destination: str, audience: str, operation: Operation, fate: str, n: int
    ) -> None:
        """Count members that a platform accepted or confirmed."""
        self._count(
            _Receipt,
            n,
            destination=destination,
            audience=audience,
            operation=operation.value,
            fate=fate,
        )

    def receipts(self, destination: str, audience: str) -> dict[tuple[str, str], int]:
        """Return counts by operation and fate."""
        query = select(_receipt.c.operation, _receipt.c.fate, _receipt.c.n).where(
            _receipt.c.destination == destination, _receipt.c.audience == audience
        )
        return {(operation, fate): n for operation, fate, n in self._connection.execute(query)}

    def counts(self, destination: str, audience: str = "") -> list[Count]:
        """Return how many memberships are in each state."""
        states = (
            _membership.c.desired,
            _membership.c.held,
            _membership.c.operation,
            _membership.c.phase,
        )
        query = select(*states, func.count(), func.min(_membership.c.since)).where(
            _membership.c.destination == destination
        )
        if audience:
            query = query.where(_membership.c.audience == audience)
        return [
            Count(bool(desired), Held(held), read_operation(operation), Phase(phase), n, oldest)
            for desired, held, operation, phase, n, oldest in self._connection.execute(
                query.group_by(*states)
            )
        ]

    def opened(self) -> dict[str, int]:
        """Return how many operations were opened, by destination."""
        query = select(_opened.c.destination, func.sum(_opened.c.n))
        rows = self._connection.execute(query.group_by(_opened.c.destination))
        return {destination: int(n) for destination, n in rows}

    def ended(self) -> dict[str, dict[tuple[Delivery, Reason], int]]:
        """Return how operations ended, by destination."""
        query = select(
            _ended.c.destination, _ended.c.delivery, _ended.c.reason, func.sum(_ended.c.n)
        ).group_by(_ended.c.destination, _ended.c.delivery, _ended.c.reason)
        found: dict[str, dict[tuple[Delivery, Reason], int]] = {}
        for destination, delivery, reason, n in self._connection.execute(query):
            found.setdefault(destination, {})[Delivery(delivery), Reason(reason)] = int(n)
        return found

    def cursor(self, name: str) -> int:
        """Return how far a reader of the log got, 0 at first."""
        query = select(_cursor.c.position).where(_cursor.c.name == name)
        return int(self._connection.execute(query).scalar_one_or_none() or 0)

    def set_cursor(self, name: str, position: int) -> None:
        """Record how far a reader of the log got."""
        self._upsert(_Cursor, [{"name": name, "position": position}])

    # Statements

    def _placed(self, query: Select[Any]) -> list[Placed]:
        return [as_placed(row) for row in self._connection.execute(query)]

    @staticmethod
    def _page(destination: str, audience: str, after: int, limit: int) -> Select[Any]:
        return (
            select(_membership)
            .where(
                _membership.c.destination == destination,
                _membership.c.audience == audience,
                _membership.c.slot > after,
            )
            .order_by(_membership.c.slot)
            .limit(limit)
        )

    @staticmethod
    def _shown(destination: str, audience: str, slots: Sequence[int]) -> ColumnElement[bool]:
        return and_(
            _disclosure.c.destination == destination,
            _disclosure.c.audience == audience,
            _disclosure.c.slot.in_(slots),
        )

    def _upsert(
        self, model: type[SQLModel], rows: list[dict[str, Any]], keep: Sequence[str] = ()
    ) -> None:
        if not rows:
            return
        table = _tables[str(model.__tablename__)]
        statement = insert(table)
        changed = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if not column.primary_key and column.name not in keep
        }
        keys = [column.name for column in table.primary_key]
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=keys, set_=changed), rows
        )

    def _count(self, model: type[SQLModel], n: int, **place: str) -> None:
        table = _tables[str(model.__tablename__)]
        statement = insert(table).values(**place, n=n)
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(place), set_={"n": table.c.n + statement.excluded.n}
            )
        )


def _chunks(values: Iterable[int]) -> Iterator[list[int]]:
    everything = list(values)
    for first in range(0, len(everything), _CHUNK):
        yield everything[first : first + _CHUNK]
