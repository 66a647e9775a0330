"""Runs the benchmarks and prints one table: what, figure, budget.

``python -m benchmarks`` takes under three minutes; ``--full`` adds the large rows. Quote ratios
and medians: machines are shared and noisy.
"""

import argparse
import importlib
import time

from rich.console import Console
from rich.table import Table

__all__ = ["main"]

_ALL = ("collect", "segments")


def main() -> None:
    """Run all or some."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(_ALL)}")
    parser.add_argument("--full", action="store_true", help="the large rows too")
    given = parser.parse_args()
    console = Console()
    table = Table("what", "figure", "budget")
    for name in given.names or _ALL:
        started = time.monotonic()
        with console.status(f"benchmarks.{name}"):
            rows = importlib.import_module(f"benchmarks.{name}").run(full=given.full)
        for row in rows:
            table.add_row(*row)
        table.add_section()
        console.print(f"benchmarks.{name}: {time.monotonic() - started:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
