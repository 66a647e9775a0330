"""Composition root of a front worker: settings and keys in, a served application out.

Never imports the warehouse stack, an ORM or the command line.
"""

import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

from starlette.types import ASGIApp

from consent.gate import Gate
from consent.keyring import FRONT, Keyring
from consent.ledger.entry import Signer
from consent.vault import ContactSealer
from gateway import drain
from gateway.adapter import load_adapters
from gateway.app import front_app
from gateway.clock import MonotonicClock
from gateway.collector.access import Access
from gateway.collector.choices import Choices
from gateway.collector.door import Door
from gateway.collector.history import History
from gateway.collector.intake import Intake
from gateway.collector.people import People
from gateway.collector.prepare import Preparer
from gateway.configuration.shapes import Settings
from gateway.datadir import DataDir
from gateway.eventlogs.embedded import EmbeddedStore, connect
from gateway.http.collect import Collector
from gateway.http.consent import ConsentApi, Receipts
from gateway.http.cors import Cors
from gateway.keystore import KeyPool
from gateway.server import serve
from gateway.telemetry import configure
from gateway.wiring import parts

__all__ = ["build", "door_parts", "run"]

_DRAIN_SECONDS = 2.0
_LOOPBACK = ("127.0.0.1", "localhost")


def _stop_now() -> None:
    # A failed sync is final: stop accepting, end, recover from the log.
    os.kill(os.getpid(), signal.SIGTERM)


def door_parts(
    settings: Settings, data: DataDir, ring: Keyring, on_fatal: Callable[[], None]
) -> tuple[Door, Preparer]:
    """Build the door and what prepares its work; imports use the same."""
    references = parts.references(ring, settings.policy)
    keys = parts.key_reader(ring, data)
    pool = KeyPool(data.keys, parts.key_wrap(ring))
    reader = connect(data.front, write=False)
    people = People(reader, keys, parts.identifier_macs(ring, settings.policy), settings.policy)
    gate = Gate(settings.policy, references)
    sealer = ContactSealer(ring.vault_public())
    preparer = Preparer(gate, people, pool, sealer, references, os.urandom)
    door = Door(
        EmbeddedStore(data.front),
        people,
        pool,
        clock=MonotonicClock(),
        max_pending=settings.limits.max_pending_events,
        on_fatal=on_fatal,
    )
    return door, preparer


def build(
    settings: Settings, data: DataDir, ring: Keyring, on_fatal: Callable[[], None] = _stop_now
) -> ASGIApp:
    """Build a front worker's application; ``on_fatal`` is called when its store broke."""
    access = Access(settings.policy, settings.sources.values())
    door, preparer = door_parts(settings, data, ring, on_fatal)
    intake = Intake(door, preparer, access)
    collector = Collector(intake, access, adapters=load_adapters(), limits=settings.limits)
    history = History(preparer, connect(data.front, write=False))
    drained = partial(drain.drain, data.courier_socket, data.courier_lock, timeout=_DRAIN_SECONDS)
    consent = ConsentApi(
        settings,
        access,
        door,
        choices=Choices(preparer, partial(secrets.token_urlsafe, 32)),
        history=history,
        receipts=Receipts(Signer(ring.signing()), drained),
    )
    cors = Cors({source.name: source.origins for source in settings.sources.values()})
    # Health checks come to a loopback name.
    hosts = (
        (*settings.trusted_hosts, *_LOOPBACK) if settings.trusted_hosts else ()
    )  # health checks come here
    return front_app(door, collector, consent, cors=cors, trusted_hosts=hosts)


def run(
    settings: Settings, data: Path, keys: Path, sock: socket.socket, ready: Callable[[], None]
) -> None:
    """Be a front worker until told to stop.

    Raises:
        SystemExit: its store broke; what was answered is durable.
    """
    configure("front")
    broken = Event()

    def end() -> None:
        broken.set()
        _stop_now()

    app = build(settings, DataDir(data), Keyring(keys, FRONT), end)
    serve(app, sock, on_started=ready)
    if broken.is_set():
        sys.exit(1)
