"""Composition root of an import: settings, key ring and files in, a summary out.

Works beside a running server: one more writer that takes its turn. A replay needs a data directory
that holds nothing, and has it for itself. Never imports the warehouse stack.
"""

import asyncio
import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from consent.keyring import FRONT, Keyring
from consent.policy import SourcePolicy, Trust
from gateway.clock import MonotonicClock
from gateway.collector.choices import Choices
from gateway.configuration.shapes import Settings
from gateway.datadir import DataDir
from gateway.errors import SettingsError, UnreadableFileError
from gateway.eventlogs.embedded import connect
from gateway.importing.admission import Admission
from gateway.importing.columns import KINDS, Columns, read_mapping
from gateway.importing.merging import Part, merged, stamped
from gateway.importing.reading import open_rows
from gateway.importing.rows import Reader
from gateway.importing.run import Importer, Progress
from gateway.importing.summary import ImportSummary, RefusedRows
from gateway.wiring import parts
from gateway.wiring.front import door_parts

__all__ = ["ImportRequest", "run_import"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import where. ``files`` are (kind, path); several of them only for a replay.

    ``data`` and ``keys`` must be prepared. ``source`` is a server source; None takes the first.
    """

    settings: Settings
    data: DataDir
    keys: Path
    files: tuple[tuple[str, Path], ...]
    mapping: Path | None = None
    source: str | None = None
    replay: bool = False


def run_import(request: ImportRequest, progress: Progress) -> ImportSummary:
    """Import the files and say what came of each row; refused rows are no error.

    Raises:
        UnreadableFileError: a file cannot be read, or a required column is missing.
        SettingsError: there is no such server source.
        StoreError: a replay into a data directory that holds something, or the store failed.
        StoreLockedError: a replay while a server runs.
    """
    policy = request.settings.policy
    source = _source(request)
    mapping = read_mapping(request.mapping) if request.mapping else {}
    files = []
    for number, (kind, path) in enumerate(request.files):
        if kind not in KINDS:
            raise UnreadableFileError(f"{kind}: not one of {', '.join(KINDS)}")
        columns, file = Columns(kind, policy, mapping), open_rows(path)
        if file.columns is not None:
            columns.check(file.columns)
        files.append(Part(number, file, columns))
    with ExitStack() as stack:
        if request.replay:
            stack.callback(os.close, _own_empty(request.data))
        refused = [stack.enter_context(RefusedRows(part.file.path)) for part in files]
        summary = asyncio.run(_run(request, source, files, refused, progress))
    for part in files:
        summary.unknown += [name for name in part.columns.unknown if name not in summary.unknown]
    return summary


def _source(request: ImportRequest) -> SourcePolicy:
    sources = request.settings.policy.sources
    if request.source is None:
        found = next((one for one in sources.values() if one.trust is Trust.SERVER), None)
    else:
        found = sources.get(request.source)
    if found is None or found.trust is not Trust.SERVER:
        error = SettingsError("an import needs a source with trust = server", "source")
        error.hint = "Name one with --source, or add one to einlass.toml."
        raise error
    return found


def _own_empty(data: DataDir) -> int:
    """Take the data directory for a replay; returns the descriptor that holds the lock."""
    descriptor = data.own()
    connection = connect(data.front, write=False)
    try:
        used = connection.execute("SELECT position + record FROM head").fetchone()[0]
        counted = connection.execute("SELECT 1 FROM counters LIMIT 1").fetchone()
    finally:
        connection.close()
    if used or counted:
        os.close(descriptor)
        error = SettingsError("a replay needs an empty data directory", "data")
        error.hint = "Name a folder that does not exist yet with --data."
        raise error
    return descriptor


async def _run(
    request: ImportRequest,
    source: SourcePolicy,
    files: list[Part],
    refused: list[RefusedRows],
    progress: Progress,
) -> ImportSummary:
    settings = request.settings
    ring = Keyring(request.keys, FRONT)
    # A store that broke fails every waiting row, which ends the import.
    door, preparer = door_parts(settings, request.data, ring, lambda: None)
    references = parts.references(ring, settings.policy)
    choices = Choices(preparer, partial(secrets.token_urlsafe, 32))
    importer = Importer(
        door,
        Reader(settings.policy, source, references, own=request.replay),
        Admission(preparer, choices, source),
        refused,
    )
    totals = [part.file.total for part in files]
    total = sum(each or 0 for each in totals) if None not in totals else None
    now = MonotonicClock()
    rows = merged(files, now()) if request.replay else stamped(files[0], now)
    door.start()
    try:
        return await importer.run(rows, total, progress)
    finally:
        await door.close()
