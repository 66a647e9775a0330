"""Services → the collector's ASGI application.

Collecting routes go straight to the collector: they are the hot path. Everything else is a
Starlette application behind them, and one guard stands before both.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.collector.door import Door
from gateway.http.collect import Collector
from gateway.http.consent import ConsentApi
from gateway.http.cors import Cors
from gateway.http.guard import Guard
from gateway.http.health import live, ready
from gateway.http.problems import respond

__all__ = ["front_app"]


def front_app(
    door: Door,
    collector: Collector,
    consent: ConsentApi,
    *,
    cors: Cors,
    trusted_hosts: Collection[str],
) -> ASGIApp:
    """Return the application of a front worker; its lifespan starts and flushes the door."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        door.start()
        yield
        await door.close()

    rest = Starlette(
        routes=[
            Route("/v1/consent", consent.record, methods=["POST"]),
            Route("/v1/consent", consent.read, methods=["GET"]),
            Route("/v1/consent/withdraw", consent.withdraw, methods=["POST"]),
            Route("/health/live", live),
            Route("/health/ready", ready(door.amiss)),
        ],
        exception_handlers={Exception: respond, HTTPException: respond},
        lifespan=lifespan,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            adapter = collector.adapter_of(scope["method"], scope["path"])
            if adapter is not None:
                await collector.collect(adapter, scope, receive, send)
                return
        await rest(scope, receive, send)

    return Guard(app, trusted_hosts=trusted_hosts, cors=cors)
