"""Compares what senders were told with what the server holds.

Reads the log as `einlass events list` prints it, the balance, and the numbers of the records.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from tests.faults.senders import Note
from tests.server import Server

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Everything that must be empty or 0.

    ``unasked``: stored though nobody was told so; ``wrong``: outcomes that contradict the consent
    that stood; ``unrecorded``: acknowledged consent records that are not there.
    """

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    unasked: tuple[str, ...]
    disordered: tuple[str, ...]
    wrong: tuple[str, ...]
    unrecorded: tuple[int, ...]
    missing_records: int
    residue: int

    def faults(self) -> dict[str, object]:
        """Return what is not as it must be."""
        return {name: found for name, found in asdict(self).items() if found}


def judge(server: Server, notes: Sequence[Note]) -> Verdict:
    """Compare, with the server running and nothing in the air."""
    stored: Counter[str] = Counter()
    orders: dict[str, list[int]] = {}
    for event in server.events():
        stored[event["id"]] += 1
        person = event["id"].rpartition("-")[0]
        orders.setdefault(person, []).append(event["properties"]["seq"])
    kept = {name for note in notes for told in note.kept.values() for name, _ in told}
    head, numbers = _records(server)
    acknowledged = {number for note in notes for number in note.records}
    return Verdict(
        lost=tuple(sorted(kept - stored.keys())),
        doubled=tuple(sorted(name for name, count in stored.items() if count > 1)),
        unasked=tuple(sorted(stored.keys() - kept)),
        disordered=tuple(
            person for person, order in sorted(orders.items()) if order != sorted(order)
        ),
        wrong=tuple(wrong for note in notes for wrong in note.wrong),
        unrecorded=tuple(sorted(acknowledged - numbers)),
        missing_records=len(set(range(1, head + 1)) ^ numbers),
        residue=server.admin("/v1/balance")["residue"],
    )


def _records(server: Server) -> tuple[int, set[int]]:
    with closing(sqlite3.connect(f"file:{server.data / 'front.db'}?mode=ro", uri=True)) as store:
        (head,) = store.execute("SELECT record FROM head").fetchone()
        return head, {number for (number,) in store.execute("SELECT record FROM records")}
