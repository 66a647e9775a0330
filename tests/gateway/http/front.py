"""A wired front worker without a socket: what `einlass init` writes, served in this process."""

import asyncio
import functools
import hmac
import inspect
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

from consent import keyring
from gateway import keystore, settings
from gateway.configuration.init import init
from gateway.datadir import DataDir
from gateway.eventlogs import embedded
from gateway.wiring.front import build
from tests.factories import rows

__all__ = [
    "GRANTED",
    "PUBLIC",
    "REFUSED",
    "SERVER",
    "Front",
    "a_front",
    "at_the_front",
    "choice",
    "proof",
]

PUBLIC, SERVER = "wk_public", "sk_" + "s" * 40
REFUSED = {"functional": False, "analytics": False, "marketing": False}
GRANTED = {"functional": True, "analytics": True, "marketing": True}


@dataclass
class Front:
    """A served front worker; ``database`` is its store."""

    client: httpx.AsyncClient
    database: Path
    fatal: list[str] = field(default_factory=list)

    async def post(
        self,
        path: str,
        body: object,
        *,
        key: str = PUBLIC,
        **more: Any,  # noqa: ANN401 - what httpx takes
    ) -> httpx.Response:
        """POST JSON with a write key as bearer; ``secret`` is the device secret."""
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        if secret := more.pop("secret", None):
            headers["einlass-device"] = secret
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, headers=headers, **more)

    async def choose(self, body: object, **more: Any) -> httpx.Response:  # noqa: ANN401 - as post
        """Record a choice."""
        return await self.post("/v1/consent", body, **more)

    async def read(self, *, key: str = PUBLIC, secret: str = "", **query: str) -> httpx.Response:
        """Read consent."""
        headers = {
            "authorization": f"Bearer {key}",
            **({"einlass-device": secret} if secret else {}),
        }
        return await self.client.get("/v1/consent", params=query, headers=headers)

    def rows(self, query: str) -> list[Any]:
        """Run a query on the front store."""
        return rows(self.database, query)


def choice(answers: dict[str, bool] | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """Return the body of a choice of the device d1; a field set to None is left out."""
    whole = {
        "anonymous_id": "d1",
        "notice": "web",
        "version": "3",
        "language": "de",
        "answers": GRANTED if answers is None else answers,
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def proof(user_id: str) -> str:
    """Return the identity proof that the site's backend would make."""
    return hmac.new(SERVER.encode(), user_id.encode(), "sha256").hexdigest()


@asynccontextmanager
async def _lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start and stop an application as a server does."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    await inbox.put({"type": "lifespan.startup"})
    task = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, outbox.put))
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await task


@asynccontextmanager
async def a_front(folder: Path, changes: Callable[[str], str] = str) -> AsyncIterator[Front]:
    """Serve a front worker on a folder; ``changes`` edits the configuration first."""
    config, keys, data = folder / "einlass.toml", folder / "keys", DataDir(folder / "data")
    if not config.exists():
        init(folder, PUBLIC, SERVER, lambda size: b"t" * size)
        config.write_text(changes(config.read_text()))
        if not keyring.exists(keys):
            keyring.create(keys)
        data.prepare()
        embedded.create(data.front)
        keystore.create(data.keys)
    fatal: list[str] = []
    ring = keyring.Keyring(keys, keyring.FRONT)
    app = build(settings.load(config), data, ring, functools.partial(fatal.append, "fatal"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        _lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client,
    ):
        yield Front(client, data.front, fatal)


def at_the_front(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn ``async def test_…(front, …)`` into a test with a front worker of its own."""
    further = list(inspect.signature(scenario).parameters.values())[1:]

    def test(tmp_path: Path, **given: Any) -> None:  # noqa: ANN401 - what pytest gives
        async def run() -> None:
            async with asyncio.timeout(60), a_front(tmp_path) as front:
                await scenario(front, **given)

        asyncio.run(run())

    own = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([own, *further])  # type: ignore[attr-defined] # pytest reads it
    test.__name__ = scenario.__name__
    return test
