"""Hypothesis strategies: histories full of ties and boundary instants, and random definitions."""

from collections.abc import Sequence

from hypothesis import Phase
from hypothesis import strategies as st

from segments.rules.parse import parse_definition
from segments.rules.tree import Definition
from tests.segments.histories import ADS, DAY, HOUR, SYNC, ZONES, History, an_event

# 2026-03-29 12:00 UTC: the day Europe/Berlin has 23 hours.
NOW = 1_774_785_600_000
MINUTE = 60_000

# What an engine runs is not shrunk: it would take minutes. The report's blob repeats the example.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)

NAMES = ("product_viewed", "added_to_cart", "order_completed", "order_refunded", "person_updated")
TEXT = st.sampled_from(["a", "b", "A", "É", "it's", "back\\slash", "a\nb", ""])
PEOPLE = 12
SLOTS = st.integers(1, PEOPLE)
# An engine takes as long for a hundred events as for one, and more of them meet more edges.
SIZES = (4, 40, 80, 120)

# Around every edge that a window below can have, and one beyond.
OFFSETS = st.builds(
    lambda base, nudge: base + nudge,
    st.sampled_from([0, MINUTE, 2 * MINUTE, 3 * MINUTE, HOUR, 11 * HOUR, DAY, 2 * DAY, 3 * DAY]),
    st.sampled_from([-1, 0, 0, 0, 1]),
)
DURATIONS = st.sampled_from(["1m", "2m", "3m", "1h", "1d", "2d"])
MS = {"1m": MINUTE, "2m": 2 * MINUTE, "3m": 3 * MINUTE, "1h": HOUR, "1d": DAY, "2d": 2 * DAY}
PURPOSES = st.lists(st.sampled_from([ADS, SYNC, "analytics"]), unique=True)
ANY_VALUE = st.one_of(
    TEXT, st.integers(-3, 3), st.sampled_from([0.5, 2.0, -1.5]), st.booleans(), st.just(["a"])
)


@st.composite
def properties(draw: st.DrawFn, name: str) -> dict[str, object]:
    if name == "person_updated":
        traits = st.dictionaries(st.sampled_from(["region", "age"]), ANY_VALUE | st.none())
        return {"traits": draw(traits)}
    found: dict[str, object] = {}
    for key, values in (
        ("product_id", TEXT | st.integers(1, 3)),
        ("quantity", st.integers(0, 3) | st.just(1.5)),
        ("value_minor", st.integers(-5, 20) | st.just(10**14)),
        ("currency", st.sampled_from(["EUR", "USD", "EUR"])),
        ("color", ANY_VALUE),
    ):
        if draw(st.integers(0, 2)):
            found[key] = draw(values)
    return found


@st.composite
def histories(draw: st.DrawFn, sizes: Sequence[int] = SIZES) -> History:
    history = History()
    for slot in range(1, PEOPLE + 1):
        if draw(st.integers(0, 4)):
            history.grant(slot, NOW - 4 * DAY, ADS, SYNC)
    for _ in range(draw(st.sampled_from(sizes))):
        slot, at = draw(SLOTS), NOW - draw(OFFSETS)
        if draw(st.integers(0, 15)) == 0:
            history.grant(slot, at, *draw(PURPOSES | st.just([ADS, SYNC])))
            continue
        name = draw(st.sampled_from(NAMES))
        event = an_event(
            name,
            at,
            received=at + draw(st.sampled_from([0, 0, 1, MINUTE])),
            properties=draw(properties(name)),
            purposes=draw(PURPOSES) if draw(st.integers(0, 7)) == 0 else [ADS, SYNC],
            site=draw(st.sampled_from(sorted(ZONES))),
        )
        history.add(slot, event)
    if draw(st.booleans()):
        history.links = {1: 1, 2: 1}
    history.unreadable = frozenset(draw(st.sets(st.just(5))))
    history.expired = frozenset(draw(st.sets(st.just(4))))
    return history


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, object]:
    number = st.integers(-1, 4)
    op = draw(st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "not_in"]))
    if op == "between":
        return {op: sorted([draw(number), draw(number)])}
    if op in ("in", "not_in"):
        return {op: draw(st.lists(number, min_size=1, max_size=3))}
    return {op: draw(number)}


@st.composite
def checks(draw: st.DrawFn) -> dict[str, object]:
    op = draw(st.sampled_from(["eq", "ne", "gt", "lte", "between", "in", "not_in", "exists"]))
    text = draw(st.booleans())
    values: st.SearchStrategy[str | float] = TEXT if text else st.sampled_from([-1, 0, 0.5, 2])
    if op == "exists":
        return {op: draw(st.booleans())}
    if op in ("in", "not_in"):
        return {op: draw(st.lists(values, min_size=1, max_size=3))}
    if op == "between":
        pair = [draw(values), draw(values)]
        return {op: sorted(pair, key=lambda value: (str(value) if text else "", value))}
    return {op: draw(values | st.booleans() if op in ("eq", "ne") else values)}


@st.composite
def wheres(draw: st.DrawFn) -> dict[str, object]:
    text = {"eq": draw(TEXT)} if draw(st.booleans()) else {"not_in": ["a", "b"]}
    choice = draw(st.integers(0, 5))
    if choice == 0:
        return {"color": draw(checks())}
    if choice == 1:
        return {"product_id": text, "quantity": draw(comparisons())}
    if choice == 2:
        return {"not": {"color": draw(checks())}}
    if choice == 3:
        return {"any": [{"campaign.source": "mail"}, {"product_id": {"missing": True}}]}
    if choice == 4:
        return {"value_minor": draw(comparisons())}
    return {"all": [{"product_id": text}, {"page.host": {"exists": True}}]}


@st.composite
def windows(draw: st.DrawFn) -> dict[str, object]:
    choice = draw(st.integers(0, 5))
    if choice == 0:
        return {}
    if choice == 1:
        far, near = draw(st.sampled_from([("2m", "1m"), ("1d", "1h"), ("2d", "1d")]))
        return {"between_ago": [far, near]}
    if choice == 2:
        return {"calendar_days": draw(st.integers(1, 3))}
    if choice == 3:
        return {"range": draw(st.sampled_from([RANGE, ["2026-03-28", "2026-03-29"]]))}
    return {"last": draw(DURATIONS)}


RANGE = ["2026-03-28T12:00:00Z", "2026-03-29T11:59:00+00:00"]


@st.composite
def filters(draw: st.DrawFn) -> dict[str, object]:
    found: dict[str, object] = {"event": draw(st.sampled_from([*NAMES, list(NAMES[:2])]))}
    if draw(st.integers(0, 2)) == 0:
        found["where"] = draw(wheres())
    return found | draw(windows())


@st.composite
def measures(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    kind = draw(st.sampled_from(["count", "distinct", "sum", "net_revenue"]))
    if kind == "net_revenue":
        money: dict[str, object] = draw(windows())
        return kind, money | ({"currency": "USD"} if draw(st.integers(0, 3)) == 0 else {})
    found = draw(filters())
    if kind == "distinct":
        found["property"] = draw(st.sampled_from(["product_id", "color", "quantity"]))
    if kind == "sum":
        found["property"] = draw(st.sampled_from(["quantity", "value_minor", "color"]))
    return kind, found


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, object]:
    choice = draw(st.integers(0, 7))
    if choice <= 1:
        return {"trait": {"name": draw(st.sampled_from(["region", "age"])), **draw(checks())}}
    if choice == 2:
        return {"did": draw(filters())}
    if choice == 3:
        return {"no_follow_up": draw(absences())}
    kind, measure = draw(measures())
    if choice == 4:
        found: dict[str, object] = {"measure": {kind: measure}}
        if draw(st.booleans()):
            found["among"] = {"did": draw(filters())}
        return {
            "percentile": found | {"top": draw(st.sampled_from(["10%", "33.3%", "50%", "100%"]))}
        }
    return {kind: measure | draw(comparisons())}


@st.composite
def absences(draw: st.DrawFn) -> dict[str, object]:
    first = draw(st.sampled_from(NAMES))
    found: dict[str, object] = {
        "event": first,
        "then": draw(st.sampled_from(["order_completed", first])),
        "within": draw(DURATIONS),
    }
    if draw(st.booleans()):
        found["then_where"] = draw(wheres())
    longer = [d for d in MS if MS[d] > MS[str(found["within"])]]
    looks_back = draw(st.booleans())
    if longer and looks_back:
        found["last"] = draw(st.sampled_from(longer))
    return found


conditions = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"all": nodes}),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"any": nodes}),
        inner.map(lambda node: {"not": node}),
    ),
    max_leaves=4,
)


@st.composite
def definitions(draw: st.DrawFn) -> tuple[Definition, ...]:
    purposes = st.sampled_from([(ADS,), (ADS, SYNC)])
    found = [
        {"name": f"s{number}", "purposes": list(draw(purposes)), "where": draw(conditions)}
        for number in range(draw(st.integers(2, 4)))
    ]
    return tuple(parse_definition(value) for value in found)
