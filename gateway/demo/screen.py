"""The one screen at the end of the demo: what came in, who is in, what went out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Report", "show"]


@dataclass(slots=True)
class Report:
    """What the demo found; ``problems`` are sentences, empty when all is well.

    ``entered`` is what was sent and imported, ``removal_ms`` the time from the acknowledgement of
    the last withdrawal to the removal at both platforms.
    """

    entered: int = 0
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    balance: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    received: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    removal_ms: int | None = None
    problems: list[str] = field(default_factory=list)


def show(report: Report, console: Console) -> None:
    """Print the screen."""
    residue = report.balance.get("residue")
    console.print(f"\n{report.entered:,} events sent and imported; balance: residue {residue}")
    console.print(_outcomes(report))
    console.print("segments (small groups are not shown exactly)")
    console.print(_sizes(report))
    console.print("audience high_interest at the platforms")
    console.print(_platforms(report))
    if report.removal_ms is not None:
        console.print(
            "three members withdrew; both platforms had removed them"
            f" [bold]{report.removal_ms} ms[/] after the withdrawal was acknowledged"
        )
    for problem in report.problems:
        console.print(f"[bold red]amiss:[/] {problem}", soft_wrap=True)


def _outcomes(report: Report) -> Table:
    table = Table()
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("events", justify="right")
    for (outcome, reason), count in sorted(report.outcomes.items(), key=lambda one: -one[1]):
        table.add_row(outcome, reason, f"{count:,}")
    table.add_section()
    table.add_row("together", "", f"{sum(report.outcomes.values()):,}")
    return table


def _sizes(report: Report) -> Table:
    table = Table()
    table.add_column("segment")
    table.add_column("people", justify="right")
    for name, size in report.sizes.items():
        table.add_row(name, size)
    return table


def _platforms(report: Report) -> Table:
    table = Table()
    table.add_column("platform")
    for column in ("requests", "people after the sync", "people now"):
        table.add_column(column, justify="right")
    for platform, audiences in report.received.items():
        now = sum(audiences.values())
        requests, before = report.requests.get(platform, 0), report.before.get(platform, 0)
        table.add_row(platform, str(requests), str(before), str(now))
    return table
