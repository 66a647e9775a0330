"""One keep-alive connection to the collector, and the requests that fault tests send over it.

Small and quick, so that the machine's time goes to the server. It knows the Segment calls and the
consent API; it does not retry.
"""

import json
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Self

__all__ = ["GRANTED", "REFUSED", "Answer", "Collector", "Unanswered", "grant", "is_ready", "track"]

GRANTED = {"functional": True, "analytics": True, "marketing": True}
REFUSED = dict.fromkeys(GRANTED, False)


class Unanswered(Exception):  # noqa: N818 - no error: whether it was stored is unknown
    """No whole answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``outcome`` is empty where the answer names none; ``body`` where it is no JSON object."""

    status: int
    outcome: str
    retry_after: str
    body: dict[str, Any]


class Collector:
    """A client of the collector at a port of 127.0.0.1; connects when needed."""

    def __init__(self, port: int, timeout_seconds: float = 10) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def post(self, path: str, key: str, content: dict[str, Any]) -> Answer:
        """Send one request and return its answer.

        Raises:
            Unanswered: the connection could not be had, broke, or was too slow.
        """
        credentials = b64encode(f"{key}:".encode()).decode()
        scheme = f"Bearer {key}" if path.startswith("/v1/consent") else f"Basic {credentials}"
        headers = {"Authorization": scheme, "Content-Type": "application/json"}
        return self._ask("POST", path, json.dumps(content), headers)

    def get(self, path: str) -> Answer:
        """GET a path without a key.

        Raises:
            Unanswered: as above.
        """
        return self._ask("GET", path, None, {})

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Unanswered from error
        found = json.loads(text) if text else {}
        return Answer(
            response.status,
            response.headers.get("Einlass-Outcome", ""),
            response.headers.get("Retry-After", ""),
            found if isinstance(found, dict) else {},
        )


def is_ready(port: int, timeout_seconds: float = 2) -> bool:
    """Say whether the collector calls itself ready, asked over a new connection."""
    try:
        with Collector(port, timeout_seconds) as fresh:
            return fresh.get("/health/ready").status == 200
    except Unanswered:
        return False


def grant(person: dict[str, str]) -> dict[str, Any]:
    """Return a person's choice to allow everything, as the consent API takes it."""
    return {**person, "notice": "web", "version": "3", "language": "de", "answers": GRANTED}


def track(
    person: dict[str, str], message_id: str, number: int, carried: dict[str, bool] | None = None
) -> dict[str, Any]:
    """Return a Segment event of a person, ``number`` being kept as its property `seq`."""
    event: dict[str, Any] = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": message_id,
        "properties": {"seq": number, "product_id": f"sku-{number % 50}"},
        **person,
    }
    if carried is not None:
        event["context"] = {"consent": {"categoryPreferences": carried}}
    return event
