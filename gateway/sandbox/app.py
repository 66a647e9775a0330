"""The simulated platforms as one ASGI application; paths tell them apart.

`/v26.0/{audience}/users` is Meta, `/v1/…` is Google, `/_sandbox/…` controls and shows. Plays the
scripted faults that happen on the wire (hang, reset, late answer); faults in a platform's own
words belong to the platform.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox.google import GooglePlatform
from gateway.sandbox.meta import MetaPlatform
from gateway.sandbox.state import (
    Answer,
    Audience,
    Call,
    Entry,
    Fault,
    Faults,
    Journal,
    Kind,
    SandboxSettings,
)

__all__ = ["TRANSPORT", "Sandbox", "build"]

TRANSPORT: Final = "einlass.sandbox.transport"
"""Scope extension with the connection's transport; the runner puts it there for ``reset``."""

_JSON: Final = "application/json"
_MAX_BODY: Final = 33_554_432
_HUGE_BYTES: Final = 4_194_304
_STRAY: Final = {
    "garbage": Response(b"<html><body>It works!</body></html>", 200, media_type="text/html"),
    "redirect": Response(b"", 302, {"location": "http://127.0.0.1:1/"}),
    "huge": Response(b'{"x":"' + b"a" * _HUGE_BYTES + b'"}', 200, media_type=_JSON),
}
_KINDS: Final = {"POST": Kind.ADD, "DELETE": Kind.REMOVE}


class Sandbox:
    """Both platforms, the journal and the script; one event loop owns it."""

    def __init__(
        self, settings: SandboxSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.meta = MetaPlatform(self._settings)
        self.google = GooglePlatform(self._settings)
        self.journal = Journal(self._clock)
        self.faults = Faults()

    async def users(self, request: Request) -> Response:
        """Meta: add or remove members."""
        kind = _KINDS[request.method]
        return await self._platform(request, self.meta, kind, request.path_params["audience"])

    async def members(self, request: Request) -> Response:
        """Google: add or remove members."""
        kind = Kind.ADD if request.url.path.endswith(":ingest") else Kind.REMOVE
        return await self._platform(request, self.google, kind, "")

    async def status(self, request: Request) -> Response:
        """Google: what came of a request."""
        return await self._platform(request, self.google, Kind.STATUS, "")

    async def _platform(
        self, request: Request, platform: MetaPlatform | GooglePlatform, kind: Kind, audience: str
    ) -> Response:
        entry = self.journal.open(platform.name, kind, request.method, request.url.path)
        body, complete = await _body(request)
        self.journal.received(entry, body, complete=complete)
        if not complete:
            return Response(status_code=400)
        fault = self.faults.take(platform.name, kind)
        entry.fault = fault.fault if fault else ""

        def handle() -> Answer:
            call = Call(
                kind=kind,
                audience=audience,
                headers=request.headers,
                query=request.query_params,
                body=body,
                now=self._clock(),
                fault=entry.fault,
            )
            return platform.handle(call, request.path_params["version"])

        response = await _faulty(request, fault, lambda: _written(entry, handle()))
        entry.status = entry.status or response.status_code
        return response

    async def control_faults(self, request: Request) -> Response:
        """Script faults: one object or a list of them."""
        try:
            faults = msgspec.json.decode(await request.body(), type=Fault | list[Fault])
        except msgspec.DecodeError as error:
            return _json({"error": str(error)}, 400)
        self.faults.waiting += faults if isinstance(faults, list) else [faults]
        return _json({"waiting": len(self.faults.waiting)})

    async def control_reset(self, request: Request) -> Response:
        """Forget everything; the body may hold settings, what it leaves out is the default."""
        try:
            content = await request.body() or b"{}"
            self._settings = msgspec.json.decode(content, type=SandboxSettings)
        except msgspec.DecodeError as error:
            return _json({"error": str(error)}, 400)
        self.reset()
        return _json({})

    async def show_journal(self, request: Request) -> Response:
        """Show requests: `since`, `platform`, `digest` choose, `digests=1` shows digests."""
        query = request.query_params
        entries = self.journal.since(int(query.get("since", "0")))
        digest, platform = query.get("digest"), query.get("platform")
        shown = [
            entry.shown(digests=query.get("digests") == "1")
            for entry in entries
            if (platform is None or entry.platform == platform)
            and (digest is None or entry.holds(digest))
        ]
        return _json({"now": self._clock(), "requests": shown})

    async def show_audiences(self, _request: Request) -> Response:
        """Show the number of people per platform and audience."""
        return _json(
            {
                name: {key: len(audience) for key, audience in held.items()}
                for name, held in self._held().items()
            }
        )

    async def show_members(self, request: Request) -> Response:
        """Show the digests that one audience holds now."""
        held = self._held().get(request.query_params.get("platform", ""), {})
        audience = held.get(request.query_params.get("audience", ""), Audience())
        return _json({"people": len(audience), "digests": audience.digests()})

    def _held(self) -> dict[str, dict[str, Audience]]:
        for platform in (self.meta, self.google):
            platform.settle(self._clock())
        return {"meta": self.meta.audiences, "google": self.google.audiences}


def build(
    settings: SandboxSettings | None = None, clock: Callable[[], float] = time.monotonic
) -> Starlette:
    """Build the application with platforms that hold nothing yet."""
    sandbox = Sandbox(settings or SandboxSettings(), clock)
    return Starlette(
        routes=[
            Route("/_sandbox/faults", sandbox.control_faults, methods=["POST"]),
            Route("/_sandbox/reset", sandbox.control_reset, methods=["POST"]),
            Route("/_sandbox/journal", sandbox.show_journal),
            Route("/_sandbox/audiences", sandbox.show_audiences),
            Route("/_sandbox/members", sandbox.show_members),
            Route("/{version}/requestStatus:retrieve", sandbox.status, methods=["GET"]),
            Route("/{version}/audienceMembers:ingest", sandbox.members, methods=["POST"]),
            Route("/{version}/audienceMembers:remove", sandbox.members, methods=["POST"]),
            Route("/{version}/{audience}/users", sandbox.users, methods=["POST", "DELETE"]),
        ]
    )


async def _body(request: Request) -> tuple[bytes, bool]:
    """Read the body; False where the sender cut the connection or sent too much."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                return bytes(body), False
    except ClientDisconnect:
        return bytes(body), False
    return bytes(body), True


async def _faulty(
    request: Request, fault: Fault | None, answered: Callable[[], Response]
) -> Response:
    """Answer, with the fault that the script has for this request."""
    name = fault.fault if fault else ""
    if name in _STRAY:
        return _STRAY[name]
    if name == "reset":
        return _cut(request)
    if name == "hang":
        await _hang(request.receive, fault.delay_ms / 1000 if fault else 0)
        return _cut(request)
    response = answered()
    if name == "lost_200":
        return _cut(request)
    if fault and fault.delay_ms:
        await asyncio.sleep(fault.delay_ms / 1000)
    return response


async def _hang(receive: Callable[[], Awaitable[Any]], seconds: float) -> None:
    """Say nothing until the sender gives up, or for so long."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds or None)
    except TimeoutError:
        return


def _cut(request: Request) -> Response:
    transport = request.scope.get("extensions", {}).get(TRANSPORT)
    if transport is not None:
        transport.abort()
    return Response(status_code=500)


def _written(entry: Entry, answer: Answer) -> Response:
    entry.status, entry.code = answer.status, answer.code
    entry.rows, entry.refused = answer.rows, answer.refused
    entry.audience = answer.audience
    return _json(answer.body, answer.status)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type=_JSON)
