"""A week of the demo's shop as calls of the Segment SDK, in the order in which they happened.

Visits bring page views, searches, product views, carts and orders; some visitors are known, some
only by their device until they log in. It knows no SDK and no network.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.demo.chance import Random
from gateway.demo.people import Shopper

__all__ = ["Call", "week"]

_DAYS = 6.5  # a little less than the seven days that segments look back
_PRODUCTS, _CATEGORIES = 240, ("shoes", "jackets", "bags", "home", "garden", "toys")
_WORDS = ("boots", "rain jacket", "lamp", "backpack", "plant pot", "puzzle", "scarf")
_HOURS = (1, 1, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 8, 7, 7, 8, 9, 10, 12, 12, 9, 5, 2)
_SEARCHES, _CARTS, _ORDERS, _COUPONS, _TYPED_EMAIL = 0.35, 0.4, 0.5, 0.1, 0.02


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the SDK. ``public``: with the key that stands in the page."""

    method: str
    at: datetime
    public: bool
    arguments: dict[str, object]


def week(people: list[Shopper], now: datetime, random: Random) -> list[Call]:
    """Return every call of the week that ends at ``now``, oldest first."""
    start = now - timedelta(days=_DAYS)
    calls = [call for one in people for call in _Visitor(one, start, now, random).calls()]
    calls.sort(key=lambda call: call.at)
    return calls


class _Visitor:
    """The visits of one person."""

    def __init__(self, who: Shopper, start: datetime, now: datetime, random: Random) -> None:
        self._who = who
        self._start = start
        self._now = now
        self._half = start + (now - start) / 2
        self._random = random

    def calls(self) -> Iterator[Call]:
        starts = sorted(self._moment() for _ in range(self._who.visits))
        anonymous = self._who.device is not None and len(starts) > 1
        for number, at in enumerate(starts):
            if anonymous and number == 0:
                yield from self._visit(at, public=True)
            else:
                if number == anonymous:
                    yield self._identify(at)
                yield from self._visit(at + timedelta(seconds=2), public=False)

    def _moment(self) -> datetime:
        day = self._start + timedelta(days=self._random.random() * _DAYS)
        hour = self._random.choices(range(24), _HOURS)[0]
        at = day.replace(hour=hour, minute=self._random.randrange(60))
        # Two hours of room: no visit reaches into the future.
        return min(max(at, self._start), self._now - timedelta(hours=2))

    def _identify(self, at: datetime) -> Call:
        who = self._who
        traits: dict[str, object] = {
            "email": who.email, "region": who.region, "age_band": who.age_band,
        }  # fmt: skip
        if who.phone is not None:
            traits["phone"] = who.phone
        arguments: dict[str, object] = {"user_id": who.user_id, "traits": traits}
        if who.device is not None:
            arguments["anonymous_id"] = who.device
        return self._call("identify", at, arguments, public=False)

    def _visit(self, at: datetime, *, public: bool) -> Iterator[Call]:
        page: dict[str, object] = {"url": "https://shop.example/", "title": "Shop"}
        yield self._call("page", at, {"name": "Home", "properties": page}, public=public)
        if self._random.random() < _SEARCHES:
            at = self._later(at)
            yield self._track("Products Searched", at, {"query": self._query()}, public=public)
        seen = []
        for _ in range(self._random.choices((1, 2, 3, 4, 6, 8), (18, 24, 22, 16, 12, 8))[0]):
            at = self._later(at)
            seen.append(self._product())
            yield self._track("Product Viewed", at, seen[-1], public=public)
        if self._random.random() < _CARTS:
            yield from self._cart(self._later(at), seen[-1], public=public)

    def _cart(self, at: datetime, product: dict[str, object], *, public: bool) -> Iterator[Call]:
        yield self._track("Product Added", at, {**product, "quantity": 1}, public=public)
        if public or self._random.random() >= _ORDERS:
            return  # nobody orders without logging in
        order: dict[str, object] = {
            "order_id": f"S-{self._random.randrange(10**6):06}",
            "revenue": product["price"],
            "currency": "EUR",
            "products": [{**product, "quantity": 1}],
        }
        if self._random.random() < _COUPONS:
            order["coupon"] = "WELCOME"
        yield self._track("Order Completed", self._later(at), order, public=False)

    def _product(self) -> dict[str, object]:
        number = min(int(self._random.paretovariate(0.9) * 4), _PRODUCTS)
        return {
            "product_id": f"p-{number:03}",
            "category": _CATEGORIES[number % len(_CATEGORIES)],
            "price": 5 + number * 37 % 150 + 0.95,
            "currency": "EUR",
        }

    def _query(self) -> str:
        # What people type must not be kept blindly: some type their address.
        return (
            self._who.email if self._random.random() < _TYPED_EMAIL else self._random.choice(_WORDS)
        )

    def _later(self, at: datetime) -> datetime:
        return at + timedelta(seconds=self._random.randrange(8, 240))

    def _track(
        self, event: str, at: datetime, properties: dict[str, object], *, public: bool
    ) -> Call:
        return self._call("track", at, {"event": event, "properties": properties}, public=public)

    def _call(
        self, method: str, at: datetime, arguments: dict[str, object], *, public: bool
    ) -> Call:
        if public:
            arguments["anonymous_id"] = self._who.device
        else:
            arguments["user_id"] = self._who.user_id
        answers = self._who.answers(second_half=at >= self._half)
        context = {} if answers is None else {"consent": {"categoryPreferences": dict(answers)}}
        arguments |= {
            "context": context,
            "message_id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
        }
        return Call(method, at, public, arguments)
