"""Senders that never give up: each works through its people and notes what was acknowledged.

A sender has one request in the air. What is not answered, or answered 5xx, is sent again with the
same id until it is acknowledged; only then the next begins. So each person's acknowledged events
have one order, and one consent state at any time.
"""

import random  # noqa: TID251 - a seed replays the run
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.wire import REFUSED, Answer, Collector, Unanswered, grant, track

__all__ = ["Keys", "Note", "Person", "Sender", "sending"]

_PEOPLE = 6
_RETRY_SECONDS = 0.02
_PAUSE_SECONDS = 0.008
_KEPT = ("accepted", "duplicate")


@dataclass(frozen=True, slots=True)
class Keys:
    """Write keys of the public and of the server source."""

    public: str
    server: str


@dataclass(slots=True)
class Person:
    """One person of one sender: by user id (server key) or by device id (public key)."""

    name: str
    is_user: bool
    granted: bool = False
    sent: int = 0

    def ids(self, *, consent: bool = False) -> dict[str, str]:
        """Return the id as Segment names it, or as the consent API does."""
        if consent:
            return {"user_id" if self.is_user else "anonymous_id": self.name}
        return {"userId" if self.is_user else "anonymousId": self.name}


@dataclass(slots=True)
class Note:
    """What one sender was told. ``kept``: person → acknowledged (message id, number), in order."""

    kept: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    withdrawals: int = 0
    repeated: int = 0


class Sender(threading.Thread):
    """One client. ``fault`` is what ended it, if anything did."""

    def __init__(self, number: int, port: int, keys: Keys, seed: str) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self.note = Note()
        self.fault: BaseException | None = None
        self._stop_asked = threading.Event()
        self._number = number
        self._keys = keys
        self._collector = Collector(port, timeout_seconds=5)
        self._random = random.Random(f"{seed}/{number}")  # noqa: S311 - a replayable load
        self.people = [
            Person(f"p{number}-{index}", is_user=number % 2 == 1) for index in range(_PEOPLE)
        ]

    def finish(self) -> None:
        """End after what is in the air was acknowledged."""
        self._stop_asked.set()

    def run(self) -> None:
        """Send until told to finish."""
        try:
            with self._collector:
                while not self._stop_asked.is_set():
                    self._act(self._random.choice(self.people))
                    time.sleep(self._random.random() * 2 * _PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - the thread's boundary
            self.fault = error

    def _act(self, person: Person) -> None:
        chance = self._random.random()
        if not person.granted:
            if chance < 0.4:
                self._grant(person)
            else:
                self._send_refused(person)
        elif chance < 0.03:
            self._withdraw(person)
        elif chance < 0.05:
            self._refuse_with_an_event(person)
        elif chance < 0.3:
            self._send_batch(person, self._random.randint(2, 6))
        else:
            self._send_one(person)

    def _grant(self, person: Person) -> None:
        self._record("/v1/consent", self._keys.server, grant(person.ids(consent=True)))
        person.granted = True

    def _withdraw(self, person: Person) -> None:
        key = self._keys.server if person.is_user else self._keys.public
        content = person.ids(consent=True) | {"purposes": "all"}
        self._record("/v1/consent/withdraw", key, content)
        person.granted = False
        self.note.withdrawals += 1

    def _record(self, path: str, key: str, content: dict[str, Any]) -> None:
        self.note.records.append(self._until_answered(path, key, content).body["index"])

    def _refuse_with_an_event(self, person: Person) -> None:
        self._send_refused(person, carried=REFUSED)
        person.granted = False
        self.note.withdrawals += 1

    def _send_one(self, person: Person) -> None:
        event = self._event(person)
        outcome = self._until_answered("/v1/track", self._key(person), event).outcome
        if outcome in _KEPT:
            self._keep(person, event)
        else:
            self.note.wrong.append(f"{outcome} though granted: {event['messageId']}")

    def _send_batch(self, person: Person, size: int) -> None:
        events = [self._event(person) for _ in range(size)]
        self._until_answered("/v1/batch", self._key(person), {"batch": events})
        for event in events:
            self._keep(person, event)

    def _send_refused(self, person: Person, carried: dict[str, bool] | None = None) -> None:
        event = self._event(person, carried)
        outcome = self._until_answered("/v1/track", self._key(person), event).outcome
        if outcome == "refused":
            self.note.refused.append(event["messageId"])
        else:
            self.note.wrong.append(f"{outcome} though not granted: {event['messageId']}")

    def _event(self, person: Person, carried: dict[str, bool] | None = None) -> dict[str, Any]:
        person.sent += 1
        return track(person.ids(), f"{person.name}-{person.sent}", person.sent, carried)

    def _keep(self, person: Person, event: dict[str, Any]) -> None:
        pair = (event["messageId"], event["properties"]["seq"])
        self.note.kept.setdefault(person.name, []).append(pair)

    def _key(self, person: Person) -> str:
        return self._keys.server if person.is_user else self._keys.public

    def _until_answered(self, path: str, key: str, content: dict[str, Any]) -> Answer:
        while True:
            with suppress(Unanswered):
                answer = self._collector.post(path, key, content)
                if answer.status < 300:
                    return answer
                assert answer.status >= 500, f"{path}: {answer}"
            self.note.repeated += 1
            time.sleep(_RETRY_SECONDS)


@contextmanager
def sending(count: int, port: int, keys: Keys, seed: str) -> Iterator[Callable[[], list[Sender]]]:
    """Run ``count`` senders; call what is yielded to let them finish and to have them."""
    senders = [Sender(number, port, keys, seed) for number in range(count)]

    def finish() -> list[Sender]:
        for sender in senders:
            sender.finish()
        for sender in senders:
            sender.join(20)
            assert not sender.is_alive(), f"{sender.name} waits for an answer"
            if sender.fault is not None:
                raise sender.fault
        return senders

    for sender in senders:
        sender.start()
    try:
        yield finish
    finally:
        for sender in senders:
            sender.finish()
