"""Runs a list of calls through a real SDK in its own process."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["CALLS", "SDKS", "Call", "deliver", "moved"]

FOLDER = Path(__file__).parent
Call = dict[str, Any]

CALLS: list[Call] = json.loads((FOLDER / "calls.json").read_text("utf-8"))
"""Ten calls of one person, every call of the API among them, all with consent."""

SDKS: Mapping[str, Callable[[str, str], list[str]]] = {
    "python": lambda host, key: [sys.executable, str(FOLDER / "segment_python.py"), host, key],
    "node": lambda host, key: ["node", str(FOLDER / "node" / "segment.mjs"), host, key],
}


def moved(calls: Sequence[Call], now_ms: int) -> list[Call]:
    """Return the calls with their times moved so that the first is one minute before ``now_ms``."""
    first = datetime.fromisoformat(calls[0]["timestamp"])
    shift = datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(minutes=1) - first
    return [
        call
        | {
            "timestamp": (datetime.fromisoformat(call["timestamp"]) + shift).isoformat(
                timespec="milliseconds"
            )
        }
        for call in calls
    ]


def deliver(sdk: str, host: str, key: str, calls: Sequence[Call]) -> None:
    """Make the calls with the named SDK and wait for it; fail with its error output."""
    done = subprocess.run(
        SDKS[sdk](host, key),
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{sdk}: {done.stderr[-2000:]}"
