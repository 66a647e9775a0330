"""Runs a list of calls through a real SDK in its own process."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CALLS", "SDKS", "Call", "Sdk", "deliver"]

FOLDER = Path(__file__).parent
Call = dict[str, Any]
Sdk = Callable[[str, str], list[str]]

CALLS: list[Call] = json.loads((FOLDER / "calls.json").read_text("utf-8"))
SDKS: Mapping[str, Sdk] = {
    "python": lambda host, key: [sys.executable, str(FOLDER / "segment_python.py"), host, key],
    "node": lambda host, key: ["node", str(FOLDER / "node" / "segment.mjs"), host, key],
}


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
