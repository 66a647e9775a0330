"""The admin port: balance, why, metrics and health, for whoever has the admin token.

Nothing of it is on the collector's port. The token is compared in constant time.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Lifespan

from gateway.http.guard import Guard
from gateway.http.health import live, ready
from gateway.http.problems import respond

__all__ = ["AdminApi", "admin_app"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_Handler = Callable[[Request], Awaitable[Response]]


class _Answers(Protocol):
    """The part of the engine that the admin port shows."""

    def balance(self) -> Mapping[str, Any]:
        """Return the equation of what entered and what left."""

    def why(self, event_id: str) -> list[dict[str, Any]]:
        """Return every decision about an event."""

    def status(self) -> list[dict[str, Any]]:
        """Return how the audiences stand."""


class AdminApi:
    """Handlers of the admin port. ``metrics`` returns the Prometheus text."""

    def __init__(
        self, engine: _Answers, worker: ThreadPoolExecutor, token: str, metrics: Callable[[], bytes]
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._token = token.encode()
        self._metrics = metrics

    def guarded(self, handler: _Handler) -> _Handler:
        """Return a handler that answers only to the admin token."""

        async def checked(request: Request) -> Response:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode(), self._token)
            if scheme.lower() != "bearer" or not right:
                raise HTTPException(401)
            return await handler(request)

        return checked

    async def balance(self, _request: Request) -> Response:
        """``GET /v1/balance``."""
        return JSONResponse(await self._run(self._engine.balance))

    async def why(self, request: Request) -> Response:
        """``GET /v1/events/{id}/why``; 404 where no admitted event has this id."""
        found = await self._run(self._engine.why, request.path_params["id"])
        if not found:
            raise HTTPException(404)
        return JSONResponse({"decisions": found})

    async def audiences(self, _request: Request) -> Response:
        """``GET /v1/audiences``."""
        return JSONResponse({"audiences": await self._run(self._engine.status)})

    async def metrics(self, _request: Request) -> Response:
        """``GET /metrics``."""
        return Response(await self._run(self._metrics), media_type=_TEXT)

    async def _run(self, work: Callable[..., Any], *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)


def admin_app(api: AdminApi, amiss: Callable[[], str], lifespan: Lifespan[Starlette]) -> ASGIApp:
    """Return the application of the admin port."""
    app = Starlette(
        routes=[
            Route("/v1/balance", api.guarded(api.balance)),
            Route("/v1/events/{id}/why", api.guarded(api.why)),
            Route("/v1/audiences", api.guarded(api.audiences)),
            Route("/metrics", api.guarded(api.metrics)),
            Route("/health/live", live),
            Route("/health/ready", ready(amiss)),
        ],
        exception_handlers={Exception: respond, HTTPException: respond},
        lifespan=lifespan,
    )
    return Guard(app)
