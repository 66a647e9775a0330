"""Composition root of the courier: settings and key ring → one courier that runs until told to.

The only process that holds the vault's private key and the platforms' credentials.
"""

import asyncio
import logging
import secrets
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import structlog

from consent.keyring import COURIER, Keyring
from consent.vault import ContactOpener, KeyWrap
from gateway.audiences.contacts import Disclosures
from gateway.audiences.flights import Flights
from gateway.audiences.lane import AudienceLane
from gateway.audiences.pace import RatePace
from gateway.audiences.platform import Means, Platform
from gateway.audiences.withdrawals import Requirements
from gateway.backstore import BackStore
from gateway.clock import MonotonicClock
from gateway.courier import Courier
from gateway.datadir import DataDir
from gateway.drain import lock
from gateway.errors import DestinationError, StoreLockedError
from gateway.eventlog import SealedContact
from gateway.eventlogs.view import EmbeddedView
from gateway.outbound import Outbound, OutboundLimits, endpoint
from gateway.settings import DestinationSettings, Settings
from gateway.telemetry import configure
from gateway.wiring.parts import key_reader
from segments.destination import load_destination
from segments.pacing import backoff_seconds

__all__ = ["CourierVault", "requirements", "run"]

_log = structlog.get_logger()

_LOCK_TRIES = 100
_LOCK_RETRY_SECONDS = 0.02
_ID_BITS = 62
_CONNECTIONS = 4
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""What the configuration lets an operator name in plain HTTP: a stand-in on the same machine."""
_FROM_FILE = "_file"
_DROP_ON_CLOSE = [(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))]
"""Closing a connection discards what the kernel has not sent yet: a cut send is cut at once."""

_jitter = secrets.SystemRandom()


class CourierVault:
    """Opens contact data with the vault's private key and the person's own."""

    def __init__(self, view: EmbeddedView, opener: ContactOpener) -> None:
        self._view = view
        self._opener = opener

    def open(self, sealed: SealedContact) -> str:
        """Return the canonical value.

        Raises:
            KeyDestroyedError: the person was erased.
            SealBrokenError: it does not open.
        """
        return self._opener.open(self._view.seal_of(sealed.slot), sealed.kind, sealed.sealed)


def requirements(settings: Settings) -> Requirements:
    """Return what each configured destination's purposes add to a segment's."""
    return Requirements(
        {
            name: configured.purposes | load_destination(configured.kind).spec.purposes
            for name, configured in settings.destinations.items()
        }
    )


def run(settings: Settings, data: Path, keys: Path, ready: Callable[[], None]) -> None:
    """Be the courier until told to stop.

    Raises:
        StoreLockedError: another courier works on this data directory.
    """
    configure("courier")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder = DataDir(data)
    _own(folder)
    asyncio.run(_work(settings, folder, Keyring(keys, COURIER), ready))


def _own(data: DataDir) -> int:
    # The one before may need a moment to die, and a front that looks takes the lock for one.
    for _ in range(_LOCK_TRIES):
        descriptor = lock(data.courier_lock)
        if descriptor is not None:
            return descriptor
        time.sleep(_LOCK_RETRY_SECONDS)
    raise StoreLockedError("courier: another one works on this data directory")


async def _work(
    settings: Settings, data: DataDir, ring: Keyring, ready: Callable[[], None]
) -> None:
    view = EmbeddedView(data.front, settings.policy, key_reader(ring, data))
    store = BackStore(data.back)
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        stack.callback(view.close)
        means = Means(
            store=store,
            view=view,
            vault=CourierVault(view, ContactOpener(ring.vault_private())),
            disclosures=Disclosures(KeyWrap(ring.derive("master", "disclosures"))),
            flights=Flights(view),
            requirements=requirements(settings),
            minimum=settings.limits.min_audience,
            clock=MonotonicClock(),
            new_id=lambda: secrets.randbits(_ID_BITS),
            backoff=_backoff,
        )
        lanes = []
        for configured in settings.destinations.values():
            platform = await _platform(configured, settings, stack)
            if platform is not None:
                lanes.append(AudienceLane(means, platform))
        courier = Courier(means, lanes)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, courier.stop)
        await courier.run(data.courier_socket, ready)


async def _platform(
    configured: DestinationSettings,
    settings: Settings,
    stack: AsyncExitStack,
) -> Platform | None:
    """Build one destination; one that is misconfigured must not keep the others from working."""
    destination = load_destination(configured.kind)
    spec = destination.spec
    try:
        target = endpoint(
            configured.endpoint,
            spec.hosts[0],
            settings.sandbox_port,
            allow_private=urlsplit(configured.endpoint).hostname in _LOOPBACK,
        )
        options = _options(configured)
    except (DestinationError, OSError) as error:
        _log.error("destination_misconfigured", destination=configured.name, code=str(error))
        return None
    limits = OutboundLimits(max_connections=_CONNECTIONS)
    wire = httpx.AsyncHTTPTransport(
        trust_env=False,
        limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=20.0),
        socket_options=_DROP_ON_CLOSE,
    )
    outbound = await stack.enter_async_context(Outbound(target, limits, wire=wire))
    return Platform(
        name=configured.name,
        destination=destination,
        options=options | {"endpoint": target.url},
        read_token=lambda: _token(configured),
        send=outbound.send,
        pace=RatePace(spec.requests_per_minute, time.monotonic),
    )


def _options(configured: DestinationSettings) -> dict[str, str]:
    """Return a destination's options; a file reference becomes what the file holds."""
    return {
        name.removesuffix(_FROM_FILE): _text(Path(value)) if name.endswith(_FROM_FILE) else value
        for name, value in configured.options.items()
    }


def _token(configured: DestinationSettings) -> str:
    """Read the credential; without one the platform refuses, and status shows that."""
    try:
        return _text(configured.token_file) if configured.token_file else ""
    except OSError:
        _log.error("token_unreadable", destination=configured.name)
        return ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _backoff(attempts: int, cap: float) -> float:
    return backoff_seconds(max(0, attempts - 1), _jitter, cap=cap)
