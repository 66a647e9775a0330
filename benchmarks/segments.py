"""How fast the log is loaded, and how long four segments take; prints one table.

Events are made from a seed (not timed) and decoded from their stored bytes, as the engine does;
opening the seal is not in the figure. 300 000 events by default, ten million with ``--full``.
"""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random  # noqa: TID251 - seeded test data
from tempfile import TemporaryDirectory

import msgspec

from consent.event import ConsentedEvent, decode, encode
from consent.purposes import PurposeSet
from segments.ports import ConsentRow, LoggedEvent
from segments.rules.parse import read_yaml
from segments.segmenter import Ceilings, Segmenter

START = 1_774_000_000_000
DAY = 86_400_000
SPAN = 60 * DAY
PURPOSES = ("ads_personalised", "analytics", "audience_insight", "audience_sync")
NAMES = ["page_viewed"] * 6 + ["product_viewed"] * 8 + ["added_to_cart"] * 2
NAMES += ["order_completed", "person_updated"]
SEGMENTS = """
- name: high_interest
  purposes: [ads_personalised]
  where: {distinct: {event: product_viewed, property: product_id, last: 7d, gt: 3}}
- name: cart_abandoners
  purposes: [ads_personalised, audience_sync]
  where: {no_follow_up: {event: added_to_cart, then: order_completed, within: 1h, last: 7d}}
- name: high_value
  purposes: [audience_insight]
  where: {percentile: {measure: {net_revenue: {last: 90d}}, top: 10%}}
- name: regional
  purposes: [ads_personalised]
  where: {trait: {name: region, in: [BY, BW]}}
"""
SHAPES = 5_000
"""Different events; positions, people and times are new for each."""


class SyntheticFeed:
    """``size`` events of ``size / 20`` people in log order; a third of the people refuse ads."""

    def __init__(self, size: int, seed: int = 7) -> None:
        random = Random(seed)  # noqa: S311 - test data, not a secret
        self._size = size
        self.people = max(1, size // 20)
        self._shapes = [_event(random, number) for number in range(SHAPES)]
        self.making_seconds = self.making_cpu = 0.0

    def head(self) -> int:
        """Return the last position."""
        return self.people + self._size

    def events(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Make the stored bytes of the next events, then decode them; only that is loading."""
        first = max(after, self.people) + 1
        began, used = time.perf_counter(), time.process_time()
        stored = [self._stored(p) for p in range(first, min(first + limit, self.head() + 1))]
        self.making_seconds += time.perf_counter() - began
        self.making_cpu += time.process_time() - used
        return [LoggedEvent(position, slot, decode(data)) for position, slot, data in stored]

    def consents(self, after: int, limit: int) -> Sequence[ConsentRow]:
        """Make the consent records after a position."""
        some = frozenset(PURPOSES[1:2])
        last = min(after + limit, self.people)
        return [
            ConsentRow(n, n, n, START, some if n % 3 == 0 else frozenset(PURPOSES))
            for n in range(after + 1, last + 1)
        ]

    def persons(self) -> Mapping[int, int]:
        """Link a fifth of the people in pairs."""
        return {slot: slot - slot % 2 for slot in range(2, self.people // 5)}

    def hidden(self) -> frozenset[int]:
        """Hide nobody."""
        return frozenset()

    def current(self, slots: Sequence[int]) -> Mapping[int, PurposeSet]:
        """Return what the records say."""
        rows = self.consents(0, self.people)
        return {slot: rows[slot - 1].granted for slot in slots}

    def _stored(self, position: int) -> tuple[int, int, bytes]:
        mixed = position * 2_654_435_761 >> 9
        shape = self._shapes[mixed % SHAPES]
        t = START + 1 + (position - self.people) * SPAN // self._size
        event = msgspec.structs.replace(shape, t=t, received=t + 80, local_date=t // DAY)
        # People come for a few days: a tenth of them at any time.
        wave = (position - self.people) * 10 // self._size
        slot = (mixed // SHAPES * 10 + wave) % self.people + 1
        return position, slot, encode(event)


def _event(random: Random, number: int) -> ConsentedEvent:
    name = random.choice(NAMES)
    properties: dict[str, object] = {}
    if name in ("product_viewed", "added_to_cart"):
        properties = {"product_id": f"p{random.randrange(500)}", "category": "bikes"}
    elif name == "order_completed":
        properties = {
            "order_id": f"o{number}", "value_minor": random.randrange(900, 90_000),
            "currency": "EUR", "color": "red",
        }  # fmt: skip
    elif name == "person_updated":
        properties = {"traits": {"region": random.choice(["BY", "BW", "NW", "BE"])}}
    return ConsentedEvent(
        f"e{number}", name, START, START, 0, "shop", "web", f"s{number}", PURPOSES, 1, "p",
        properties, {"host": "shop.example", "path": "/product/:id"}, {}, {}, {},
    )  # fmt: skip


def run(full: bool) -> list[tuple[str, str, str]]:  # noqa: FBT001 - the shape of every benchmark here
    """Measure; return rows of name, figure and budget."""
    _warm_up()
    size = 10_000_000 if full else 300_000
    feed = SyntheticFeed(size)
    definitions = read_yaml(SEGMENTS)
    at = START + SPAN + DAY // 24
    rows: list[tuple[str, str, str]] = []
    with TemporaryDirectory() as folder:
        ceilings = Ceilings(memory="1500MB")
        path = Path(folder) / "warehouse.duckdb"
        segmenter = Segmenter(path, feed, str, {"shop": "Europe/Berlin"}, ceilings)
        try:
            began, used = time.perf_counter(), time.process_time()
            loaded = segmenter.catch_up(_show_progress)
            seconds = time.perf_counter() - began - feed.making_seconds
            cpu = time.process_time() - used - feed.making_cpu
            rate = f"{loaded / seconds:,.0f} events/s ({loaded / cpu:,.0f} per CPU-second)"
            rows.append((f"load {size:,} events", rate, ">= 40,000 events/s"))
            for definition in definitions:
                began = time.perf_counter()
                members = segmenter.members([definition], at)[definition.name].persons
                figure = f"{time.perf_counter() - began:.2f} s, {len(members):,} members"
                rows.append((f"segment {definition.name}", figure, ""))
            began = time.perf_counter()
            segmenter.members(definitions, at)
            together = f"{time.perf_counter() - began:.2f} s"
            rows.append((f"{len(definitions)} segments in one go", together, "10 s for 25 of 10 M"))
        finally:
            segmenter.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rows.append(("peak memory of the process", f"{peak:,} MB", "<= 2,000 MB"))
    return rows


def _warm_up() -> None:
    """Let the imports be paid for: the first column that Arrow builds loads half a library."""
    segmenter = Segmenter(None, SyntheticFeed(1), str, {})
    segmenter.catch_up()
    segmenter.close()


def _show_progress(position: int, head: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\rloading {position * 100 // head:3d} %")
        sys.stderr.flush()


def _print(rows: Sequence[tuple[str, str, str]]) -> None:
    width = max(len(name) for name, _, _ in rows)
    for name, figure, budget in rows:
        print(f"{name:<{width}}  {figure:<55}  {budget}")


if __name__ == "__main__":
    _print(run("--full" in sys.argv[1:]))
