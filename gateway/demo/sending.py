"""Sends the week through the real Segment SDK for Python, unmodified: one client per key.

The package is an extra (``einlass[demo]``) and is loaded by name.
"""

import importlib
from collections.abc import Callable
from typing import Any

from gateway.demo.programs import DemoError
from gateway.demo.week import Call

__all__ = ["send"]

_QUEUE = 4_000
_STEP = 1_000


def send(
    calls: list[Call], host: str, keys: tuple[str, str], progress: Callable[[int], None]
) -> None:
    """Send every call; ``keys`` are the public and the server key. Returns once all are answered.

    Raises:
        DemoError: the SDK is not installed, or reports that an upload failed.
    """
    try:
        client: Any = importlib.import_module("segment.analytics.client").Client
    except ImportError as error:
        raise DemoError("the Segment SDK is missing: pip install 'einlass[demo]'") from error
    failed: list[str] = []

    def note(error: Exception, _items: object) -> None:
        failed.append(type(error).__name__)

    clients = tuple(
        client(key, host=host, max_queue_size=_QUEUE, on_error=note, max_retries=3) for key in keys
    )
    try:
        for number, call in enumerate(calls, 1):
            sender = clients[not call.public]
            taken, _ = getattr(sender, call.method)(timestamp=call.at, **call.arguments)
            if not taken:
                raise DemoError("the SDK's queue is full")
            if number % _STEP == 0 or number == len(calls):
                for each in clients:
                    each.flush()
                progress(number)
            if failed:
                break
    finally:
        for each in clients:
            each.shutdown()
    if failed:
        raise DemoError(f"the SDK reports {len(failed)} failed uploads ({failed[0]})")
