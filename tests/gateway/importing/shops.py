"""A shop to import into, without a server: its configuration, its stores, and what it holds."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.keyring import ENGINE, Keyring
from gateway.commands import each_event
from gateway.datadir import DataDir
from gateway.eventlogs.view import EmbeddedView
from gateway.importing.summary import ImportSummary
from gateway.settings import Settings
from gateway.wiring import parts
from gateway.wiring.imports import ImportRequest, run_import

Rows = Iterable[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Shop:
    """A configured shop in ``folder``."""

    folder: Path
    settings: Settings
    data: DataDir
    keys: Path

    def file(self, name: str, rows: Rows) -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def request(self, *files: tuple[str, Path], replay: bool = False) -> ImportRequest:
        return ImportRequest(
            settings=self.settings, data=self.data, keys=self.keys, files=files, replay=replay
        )

    def run(self, kind: str, *rows: Mapping[str, object]) -> ImportSummary:
        """Import rows of one kind from a JSON lines file."""
        return self.run_file(kind, self.file(f"{kind}.jsonl", rows))

    def run_file(self, kind: str, path: Path) -> ImportSummary:
        return run_import(self.request((kind, path)), lambda _done, _total: None)

    def replay(self, **rows: Rows) -> ImportSummary:
        """Replay rows by kind."""
        files = [(kind, self.file(f"{kind}.jsonl", each)) for kind, each in rows.items()]
        return run_import(self.request(*files, replay=True), lambda _done, _total: None)

    def events(self) -> list[dict[str, Any]]:
        return list(each_event(self.data.path, self.settings.path, self.keys))

    def records(self) -> list[dict[str, Any]]:
        """Return the bodies of all consent records, oldest first."""
        ring = Keyring(self.keys, ENGINE)
        view = EmbeddedView(
            self.data.front, self.settings.policy, parts.key_reader(ring, self.data)
        )
        found: list[dict[str, Any]] = []
        while (record := view.record(len(found) + 1)) is not None:
            found.append(dict(record))
        view.close()
        return found
