"""What the command line does with a data directory, whether or not a server runs on it.

Asks a running engine where there is one; else opens the stores itself. Every look-up of people by
identifier leaves a line in the audit log.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consent.errors import MalformedIdentifierError
from consent.identifiers import IdentifierType, identify
from consent.keyring import ENGINE, FRONT, Keyring
from gateway.audiences.status import wait_settled
from gateway.backstore import BackStore
from gateway.datadir import DataDir
from gateway.engine import printed
from gateway.enginelink import ask
from gateway.errors import NotRunningError, SettingsError
from gateway.eventlogs.view import EmbeddedView
from gateway.importing.run import Progress as ImportProgress
from gateway.settings import Settings, load
from gateway.telemetry import configure
from gateway.wiring import parts
from gateway.wiring.imports import ImportRequest, run_import
from gateway.wiring.stores import prepare_stores

__all__ = ["ask_engine", "each_event", "import_files", "resolve_subjects", "wait_for_audience"]

_Places = tuple[Path, Path | None, Path | None]
_Progress = Callable[[int, int], None]

_PAGE = 2_000


def _opened(places: _Places) -> tuple[DataDir, Settings, Path]:
    configure("command")
    folder, config, keys = places
    data = DataDir(folder)
    if config is None or keys is None:
        noted_config, noted_keys = data.recall()
        config, keys = config or noted_config, keys or noted_keys
    return data, load(config), keys


@contextmanager
def _view(data: DataDir, settings: Settings, ring: Keyring) -> Iterator[EmbeddedView]:
    keys = parts.key_reader(ring, data)
    view = EmbeddedView(data.front, settings.policy, keys)
    try:
        yield view
    finally:
        view.close()
        keys.close()


def each_event(folder: Path, config: Path | None, keys: Path | None) -> Iterator[dict[str, Any]]:
    """Yield every stored event in log order, as it is printed."""
    data, settings, ring_folder = _opened((folder, config, keys))
    ring = Keyring(ring_folder, ENGINE)
    pseudonym = parts.console_domain(ring)
    with _view(data, settings, ring) as view:
        persons = view.persons()
        position = 0
        while page := view.events(position, _PAGE):
            for logged in page:
                yield printed(logged, persons, pseudonym)
            position = page[-1].position


def ask_engine(
    places: _Places, command: str, request: Mapping[str, Any], progress: _Progress | None = None
) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Have the engine do something: the running one, or one of our own."""
    try:
        line = {"do": command, "progress": progress is not None, **request}
        return ask(DataDir(places[0]).engine_socket, line, progress)
    except NotRunningError:
        data, settings, ring_folder = _opened(places)
    from gateway.wiring.engine import open_engine  # noqa: PLC0415 - slow, and rarely needed

    engine = open_engine(settings, data, Keyring(ring_folder, ENGINE))
    try:
        extra = {"progress": progress} if command == "sync" else {}
        return getattr(engine, command)(**request, **extra)
    finally:
        engine.close()


def wait_for_audience(folder: Path, audience: str, seconds: float, progress: _Progress) -> bool:
    """Wait until the courier has nothing under way for an audience."""
    back = BackStore(DataDir(folder).back)
    try:
        waiting = wait_settled(
            back,
            audience,
            seconds,
            lambda now: progress(now.members, now.members + now.pending),
        )
        return asyncio.run(waiting)
    finally:
        back.close()


def resolve_subjects(places: _Places, lines: Sequence[str], id_type: str) -> dict[str, str | None]:
    """Return identifier → pseudonym, None for the unknown.

    Raises:
        SettingsError: no such type of identifier.
    """
    try:
        kind = IdentifierType(id_type)
    except ValueError as error:
        raise SettingsError("--type is user_id, anonymous_id, email or phone", "type") from error
    data, settings, ring_folder = _opened(places)
    ring = Keyring(ring_folder, (*FRONT, "console"))
    macs = parts.identifier_macs(ring, settings.policy)
    pseudonym = parts.console_domain(ring)
    given = [line.strip() for line in lines if line.strip()]
    _note(data, "subjects resolve", kind, len(given))
    found: dict[str, str | None] = dict.fromkeys(given)
    with _view(data, settings, ring) as view:
        persons = view.persons()
        for site, policy in settings.policy.sites.items():
            by_mac = {}
            for line in given:
                try:
                    by_mac[macs(site, identify(kind, line, policy.region))] = line
                except MalformedIdentifierError:
                    continue
            for mac, slot in view.owners(list(by_mac)).items():
                found[by_mac[mac]] = pseudonym(persons.get(slot, slot))
    return found


def _note(data: DataDir, action: str, kind: str, count: int) -> None:
    """Write a line into the audit log; the action fails if that fails."""
    line = {"at": time.time_ns() // 1_000_000, "action": action, "type": kind, "count": count}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with os.fdopen(os.open(data.path / "audit.jsonl", flags, 0o600), "a") as file:
        file.write(json.dumps({**line, "uid": os.getuid()}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def import_files(
    places: _Places,
    files: Sequence[str],
    mapping: Path | None,
    source: str | None,
    *,
    replay: bool,
    progress: ImportProgress | None = None,
) -> dict[str, Any]:
    """Import files, given as KIND FILE pairs; without a server's notes the stores are made.

    Raises:
        SettingsError: not pairs, or several files without ``replay``.
        UnreadableFileError: a file cannot be read.
    """
    pairs = tuple(zip(files[::2], map(Path, files[1::2]), strict=False))
    if len(files) % 2 or (len(pairs) > 1 and not replay):
        raise SettingsError("KIND FILE, and more of them only with --replay", "import")
    folder, config, keys = places
    data = DataDir(folder)
    if config is not None and not data.front.exists():
        keys = keys or config.parent / "keys"
        load(config)  # what cannot be loaded must leave nothing behind
        data.prepare()
        prepare_stores(data, keys)
        data.remember(config, keys)
    data, settings, ring_folder = _opened((folder, config, keys))
    request = ImportRequest(
        settings=settings,
        data=data,
        keys=ring_folder,
        files=pairs,
        mapping=mapping,
        source=source,
        replay=replay,
    )
    return run_import(request, progress or (lambda _done, _total: None)).to_dict()
