"""A feed in memory, and short builders for events and consent records."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from consent.event import ConsentedEvent
from consent.purposes import PurposeSet
from segments.ports import ConsentRow, LoggedEvent

ADS = "ads_personalised"
SYNC = "audience_sync"
ZONE = "Europe/Berlin"
ZONES = {"shop": ZONE, "outlet": "America/New_York"}
HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass
class History:
    """What a front store would show; ``expired`` grants nothing now, whatever its record says."""

    logged: list[LoggedEvent] = field(default_factory=list)
    records: list[ConsentRow] = field(default_factory=list)
    links: dict[int, int] = field(default_factory=dict)
    unreadable: frozenset[int] = frozenset()
    expired: frozenset[int] = frozenset()

    def head(self) -> int:
        last = [rows[-1].position for rows in (self.logged, self.records) if rows]
        return max(last, default=0)

    def events(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        start = bisect_right(self.logged, after, key=lambda row: row.position)
        return self.logged[start : start + limit]

    def consents(self, after: int, limit: int) -> Sequence[ConsentRow]:
        start = bisect_right(self.records, after, key=lambda row: row.position)
        return self.records[start : start + limit]

    def persons(self) -> Mapping[int, int]:
        return self.links

    def hidden(self) -> frozenset[int]:
        return self.unreadable

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        newest = {row.slot: row.granted for row in self.records}
        found: dict[int, PurposeSet] = {}
        for slot in slots:
            if slot not in newest or slot in self.unreadable:
                continue
            members = [s for s in newest if self.person(s) == self.person(slot)]
            granted = frozenset.intersection(*(newest[s] for s in members))
            found[slot] = frozenset() if self.expired & set(members) else granted
        return found

    def person(self, slot: int) -> int:
        return self.links.get(slot, slot)

    def grant(self, slot: int, at: int, *purposes: str) -> "History":
        position = self.head() + 1
        self.records.append(
            ConsentRow(
                position=position,
                index=position * 10,
                slot=slot,
                received=at,
                granted=frozenset(purposes),
            )
        )
        return self

    def event(self, slot: int, name: str, t: int, **properties: object) -> "History":
        return self.add(slot, an_event(name, t, properties=properties))

    def add(self, slot: int, event: ConsentedEvent) -> "History":
        self.logged.append(LoggedEvent(position=self.head() + 1, slot=slot, event=event))
        return self


def an_event(
    name: str,
    t: int,
    *,
    received: int | None = None,
    properties: Mapping[str, object] | None = None,
    purposes: Sequence[str] = (ADS, SYNC),
    site: str = "shop",
) -> ConsentedEvent:
    day = datetime.fromtimestamp(t // 1000, tz=ZoneInfo(ZONES[site])).date()
    return ConsentedEvent(
        id=f"e{t}",
        name=name,
        t=t,
        received=t if received is None else received,
        local_date=day.toordinal() - 719_163,
        site=site,
        source="web",
        session=None,
        purposes=tuple(sorted(purposes)),
        consent_index=1,
        policy="p",
        properties=dict(properties or {}),
        page={"host": "shop.example"},
        campaign={"source": "mail"} if t % 2 else {},
        device={},
        geo={},
    )
