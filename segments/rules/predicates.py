"""Single values and windows as Ibis booleans that are never NULL.

Knows operators, windows and local dates; not people or gates. A missing value matches only
``missing``. No time zone is ever converted by an engine: local dates are stored, and T's own is
computed here. Source: the segment semantics, rules 4, 5, 8 and 9; engine contract.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import ibis

from segments.rules.tree import AllOf, AnyOf, Check, FieldCheck, Node, NotOf, Op, Scalar
from segments.rules.window import Window, WindowKind, epoch_day
from segments.schema import TYPED_FIELDS, FieldKind, ValueKind

__all__ = ["Clock", "Value", "compare", "field_value", "holds", "matches", "stored_value", "within"]


@dataclass(frozen=True, slots=True)
class Clock:
    """The instant T, and what day it is at each site. Sites without a zone are in UTC."""

    at: int
    zones: Mapping[str, str] = field(default_factory=dict)

    def today(self, site: str) -> int:
        """Return T's local date at a site, in days since 1970."""
        zone = ZoneInfo(self.zones.get(site, "UTC"))
        return epoch_day(datetime.fromtimestamp(self.at // 1000, tz=zone).date())


@dataclass(frozen=True, slots=True)
class Value:
    """One value that may be missing: a nullable column per type it can have."""

    exists: ibis.Value
    columns: Mapping[type, ibis.Value]

    def column(self, operand: Scalar) -> ibis.Value:
        """Return the column that holds values of the operand's type; reading has seen to one."""
        if isinstance(operand, bool):
            return self.columns[bool]
        return self.columns[str if isinstance(operand, str) else float]


_COMPARE: Mapping[Op, Callable[[ibis.Value, Scalar], ibis.Value]] = {
    Op.EQ: lambda column, operand: column == operand,
    Op.GT: lambda column, operand: column > operand,
    Op.GTE: lambda column, operand: column >= operand,
    Op.LT: lambda column, operand: column < operand,
    Op.LTE: lambda column, operand: column <= operand,
}


def stored_value(kind: ibis.Value, text: ibis.Value, num: ibis.Value) -> Value:
    """Return a value kept as kind, text and number."""
    missing = ibis.null("float64")
    return Value(
        exists=(ibis.coalesce(kind, int(ValueKind.EMPTY)) != int(ValueKind.EMPTY)),
        columns={
            str: text,
            float: ibis.ifelse(kind == int(ValueKind.NUMBER), num, missing),
            bool: ibis.ifelse(kind == int(ValueKind.FLAG), num, missing),
        },
    )


def field_value(rows: ibis.Table, name: str, pivoted: Mapping[str, str]) -> Value:
    """Return a field of events; ``pivoted`` has the column prefix of fields without a column."""
    typed = TYPED_FIELDS.get(name)
    if typed is None:
        prefix = pivoted[name]
        return stored_value(rows[f"{prefix}_kind"], rows[f"{prefix}_text"], rows[f"{prefix}_num"])
    column = rows[typed.column]
    return Value(column.notnull(), {str if typed.kind is FieldKind.TEXT else float: column})


def holds(value: Value, checks: tuple[Check, ...]) -> ibis.Value:
    """Say whether every check holds."""
    found = _check(value, checks[0])
    for check in checks[1:]:
        found &= _check(value, check)
    return found


def compare(number: ibis.Value, known: ibis.Value, checks: tuple[Check, ...]) -> ibis.Value:
    """Say whether every check holds for a number that counts only where ``known``."""
    found = known
    for check in checks:
        # Ends of a range are numbers here; ``number`` is never NULL.
        found &= _check(Value(known, {float: number}), check)
    return found


def matches(rows: ibis.Table, where: Node, pivoted: Mapping[str, str]) -> ibis.Value:
    """Say whether an event fulfils a tree of field checks."""
    match where:
        case FieldCheck(name, checks):
            return holds(field_value(rows, name, pivoted), checks)
        case AllOf(nodes):
            return ibis.and_(*(matches(rows, node, pivoted) for node in nodes))
        case AnyOf(nodes):
            return ibis.or_(*(matches(rows, node, pivoted) for node in nodes))
        case NotOf(node):
            return ~matches(rows, node, pivoted)
        case _:
            raise TypeError(f"not a check of a field: {type(where).__name__}")


def within(rows: ibis.Table, window: Window, clock: Clock) -> ibis.Value:
    """Say whether an event lies in a window. Rows end at T already."""
    match window.kind:
        case WindowKind.EVER:
            return ibis.literal(value=True)
        case WindowKind.LAST:
            return rows.t > clock.at - window.start
        case WindowKind.BETWEEN_AGO:
            return (rows.t > clock.at - window.start) & (rows.t <= clock.at - window.end)
        case WindowKind.RANGE:
            return (rows.t >= window.start) & (rows.t < window.end)
        case WindowKind.DATES:
            return rows.local_date.between(window.start, window.end)
        case WindowKind.CALENDAR_DAYS:
            return _calendar_days(rows, window.start, clock)


def _calendar_days(rows: ibis.Table, days: int, clock: Clock) -> ibis.Value:
    """Take each site's own date: midnight is not the same instant everywhere."""
    elsewhere = rows.local_date > clock.today("") - days
    by_date: dict[int, list[str]] = {}
    for site in sorted(clock.zones):
        by_date.setdefault(clock.today(site), []).append(site)
    if not by_date:
        return elsewhere
    found = elsewhere & ~rows.site.isin(sorted(clock.zones))
    for today, sites in by_date.items():
        found |= rows.site.isin(sites) & (rows.local_date > today - days)
    return found


def _check(value: Value, check: Check) -> ibis.Value:
    match check.op:
        case Op.EXISTS:
            return value.exists
        case Op.MISSING:
            return ~value.exists
        case Op.NE:
            return value.exists & ~_check(value, Check(Op.EQ, check.operand))
        case Op.NOT_IN:
            return value.exists & ~_check(value, Check(Op.IN, check.operand))
        case _:
            return _present(value, check)


def _present(value: Value, check: Check) -> ibis.Value:
    operands = check.operand if isinstance(check.operand, tuple) else (check.operand,)
    column = value.column(operands[0])
    if check.op is Op.IN:
        found = column.isin(list(operands))
    elif check.op is Op.BETWEEN:
        found = (column >= operands[0]) & (column <= operands[1])
    else:
        operand = float(operands[0]) if isinstance(operands[0], bool) else operands[0]
        found = _COMPARE[check.op](column, operand)
    return ibis.coalesce(found, False)
