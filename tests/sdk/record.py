"""Records what the real Segment SDKs send: run `python -m tests.sdk.record` in the root folder.

Rewrites ``request.http`` of the ``*-sdk-batch`` cases; the expected observations are not touched.
"""

import re
from pathlib import Path

from tests.sdk.recorder import Recorded, recorder
from tests.sdk.runners import CALLS, SDKS, deliver

FOLDER = Path(__file__).parents[1] / "vectors" / "adapters" / "segment"
# The one thing that differs between two recordings: every digit of it becomes this time's.
SENT_AT = re.compile(rb'("sentAt": ?")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+')
FIXED = rb"\g<1>2026-11-21T09:00:00.250"
KEPT = ("authorization", "content-type", "user-agent")


def _text(request: Recorded) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1", "host: collect.shop.example"]
    lines += [f"{name}: {request.headers[name]}" for name in KEPT]
    return "\n".join(lines).encode() + b"\n\n" + SENT_AT.sub(FIXED, request.body)


def main() -> None:
    """Record one delivery of ``calls.json`` with each SDK."""
    for sdk in SDKS:
        with recorder() as running:
            deliver(sdk, running.url, "wk_example", CALLS)
        case = FOLDER / f"{sdk}-sdk-batch"
        case.mkdir(parents=True, exist_ok=True)
        (case / "request.http").write_bytes(_text(running.requests[0]))


if __name__ == "__main__":
    main()
