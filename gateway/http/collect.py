"""Collects events: finds adapter and source, lets the door decide, answers after the commit.

It reads top to bottom as one request does. Consent never shows in the status: a refused event is
answered like an accepted one; ``Einlass-Outcome`` says what happened, and why for server keys only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from starlette.types import Receive, Scope, Send

from consent.outcome import Outcome, Reason
from consent.policy import Trust
from gateway.adapter import Adapter, Observations, Payload
from gateway.collector.access import Access
from gateway.collector.intake import Intake
from gateway.configuration.shapes import Limits
from gateway.errors import GatewayError, MalformedPayloadError
from gateway.http.cors import name_source
from gateway.http.limits import inflate, read_body

__all__ = ["REFUSAL_COOKIE", "Collector"]

REFUSAL_COOKIE = "einlass_refused"
_RawHeaders = tuple[tuple[bytes, bytes], ...]
_REFUSED = f"{REFUSAL_COOKIE}=1"


class Collector:
    """The routes of all adapters as one ASGI application."""

    def __init__(
        self, intake: Intake, access: Access, *, adapters: Iterable[Adapter], limits: Limits
    ) -> None:
        self._intake = intake
        self._access = access
        self._limits = limits
        self._routes = {
            (route.method, route.path): adapter for adapter in adapters for route in adapter.routes
        }

    def adapter_of(self, method: str, path: str) -> Adapter | None:
        """Return who answers this route, if anyone."""
        return self._routes.get((method, path.rstrip("/") if path.endswith("/") else path))

    async def collect(self, adapter: Adapter, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of an adapter's route."""
        headers = _Headers(scope["headers"])
        raw = await read_body(receive, headers, self._limits)
        encoding = headers.get("content-encoding")
        body = inflate(raw, encoding, self._limits)
        path, query = scope["path"].rstrip("/"), scope["query_string"].decode("latin-1")
        source = self._access.source(adapter.write_key(path, query, headers, body))
        name_source(scope, source.name)
        payload = Payload(
            path=path,
            query=query,
            headers=headers,
            body=body,
            source=source,
            region=self._intake.region(source),
            received=self._intake.clock(),
        )
        try:
            observations = self._read(adapter, payload)
        except GatewayError:
            await self._intake.count_unreadable(source)
            raise
        fates: Sequence[tuple[Outcome, Reason]] = ()
        if observations:
            refused = _REFUSED in headers.get("cookie", "")
            fates = await self._intake.take(observations, source, refused=refused)
        await _send(send, adapter, payload, fates)

    def _read(self, adapter: Adapter, payload: Payload) -> Observations:
        observations = adapter.parse(payload)
        if len(observations) > self._limits.max_batch_events:
            raise MalformedPayloadError("the batch has too many events", "batch")
        return observations


class _Headers(Mapping[str, str]):
    """Request headers by lower-case name; decoded when read, since few ever are."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = dict(raw)

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1")].decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        value = self._raw.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


async def _send(
    send: Send, adapter: Adapter, payload: Payload, fates: Sequence[tuple[Outcome, Reason]]
) -> None:
    reply = adapter.reply(payload, [outcome for outcome, _ in fates])
    outcome, reason = fates[0] if len(fates) == 1 else ("", "")
    if payload.source.trust is not Trust.SERVER:
        reason = ""
    headers = _head(reply.content_type, len(reply.body), outcome, reason)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


@lru_cache(maxsize=256)
def _head(content_type: str, length: int, outcome: str, reason: str) -> _RawHeaders:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % length),
    ]
    if outcome:
        headers.append((b"einlass-outcome", outcome.encode()))
    if reason:
        headers.append((b"einlass-reason", reason.encode()))
    return tuple(headers)
