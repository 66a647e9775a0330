"""What a person may read about their own consent: answers in force and the records behind them.

Needs the device secret or a server key; whoever asks without gets the same answer whether or not
the id is known.
"""

import hmac
import json
import sqlite3

from consent.identifiers import Identifier
from consent.policy import SourcePolicy
from gateway.collector.people import secret_hash
from gateway.collector.prepare import Preparer
from gateway.errors import ForbiddenError
from gateway.eventlogs.group import Group

__all__ = ["History"]

_MAX_RECORDS = 500


class History:
    """Reads one person's consent. Runs as work of the door, so it sees what is pending too."""

    def __init__(self, preparer: Preparer, connection: sqlite3.Connection) -> None:
        self._preparer = preparer
        self._connection = connection

    def read(
        self, source: SourcePolicy, asked: tuple[Identifier, str | None, bool], group: Group
    ) -> dict[str, object]:
        """Return answers in force and the history with ledger indices.

        ``asked``: the id, the device secret given, and whether whoever asks is trusted for it.

        Raises:
            ForbiddenError: neither device secret nor server key.
        """
        people, site = self._preparer.people, source.site
        identifier, secret, trusted = asked
        mac = people.mac(site, identifier)
        person = self._preparer.find(group, mac)
        if not trusted:
            known = person.device if person is not None and person.device else secret_hash("")
            if not secret or not hmac.compare_digest(secret_hash(secret), known):
                raise ForbiddenError("reading needs the device secret", "device_secret")
        if person is None:
            refusal = people.refusal(mac)
            standing = people.nobody(site, refusal)
            return {"answers": dict.fromkeys(sorted(standing.denied), False), "history": []}
        standing = people.standing(person)
        answers = dict.fromkeys(standing.granted, True) | dict.fromkeys(standing.denied, False)
        rows = self._connection.execute(
            "SELECT record, body FROM records WHERE slot = ? ORDER BY record DESC LIMIT ?",
            (person.slot, _MAX_RECORDS),
        ).fetchall()
        seal = person.seal(people.keys)
        history = [
            {"index": number, **json.loads(seal.open(b"record", body))} for number, body in rows
        ]
        return {"answers": dict(sorted(answers.items())), "history": history}
