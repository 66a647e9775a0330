"""Makes calls with the real Segment SDK for Python: `segment_python.py HOST KEY [gzip]`, JSON in.

Fails when the SDK reports an upload error. It knows nothing of einlass.
"""

import json
import sys
from datetime import datetime
from typing import Any

from segment.analytics.client import Client

_RENAMED = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "previousId": "previous_id",
    "groupId": "group_id",
    "messageId": "message_id",
}


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    named = {_RENAMED.get(name, name): value for name, value in call.items()}
    if "timestamp" in named:
        named["timestamp"] = datetime.fromisoformat(named["timestamp"])
    if named.pop("call") == "alias":
        named.pop("anonymous_id", None)
    return named


def main(host: str, key: str, *options: str) -> int:
    """Make the calls of standard input, wait for the answers; return the exit code."""
    failed: list[object] = []
    client = Client(
        key,
        host=host,
        gzip="gzip" in options,
        max_retries=2,
        on_error=lambda error, _items: failed.append(error),
    )
    for call in json.load(sys.stdin):
        getattr(client, call["call"])(**_arguments(call))
    client.shutdown()
    for error in failed:
        sys.stderr.write(f"{error}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
