"""P5: outside sealed columns no identifier is in any file, column, log line, metric or answer.

One run plants canaries on every path and then uses the whole product; the tests search what it
left. The controls plant a canary in each place by hand: the search must find every one.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
import msgspec
import pytest

from consent.event import encode
from consent.keyring import ENGINE, Keyring
from gateway.datadir import DataDir
from gateway.eventlogs.view import EmbeddedView
from gateway.settings import load
from gateway.wiring import parts
from tests.e2e import unguarded
from tests.e2e.canary import (
    Trace,
    duckdb_columns,
    file_traces,
    opened_traces,
    search,
    sqlite_columns,
)
from tests.e2e.planting import CANARIES, CONTACT, Planter
from tests.e2e.shop import (
    AUDIENCE,
    PLATFORMS,
    READY_SECONDS,
    customers,
    enrol,
    port_of,
    sync,
    towards,
    withdraw,
)
from tests.sandbox_server import sandbox
from tests.server import Server, run

DATABASES = ("front.db", "keys.db", "back.db")
PEOPLE = 60


@dataclass
class Run:
    """What one run left behind."""

    folder: Path
    server: Server
    planter: Planter
    printed: list[Trace] = field(default_factory=list)
    shown: dict[str, set[str]] = field(default_factory=dict)
    """Platform → digests that arrived there."""

    @property
    def data(self) -> Path:
        return self.server.data

    @property
    def keys(self) -> Path:
        return self.folder / "keys"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the product with canaries on every path, stop it, and return what is left."""
    folder = tmp_path_factory.mktemp("canary") / "shop"
    scratch = folder.with_name("scratch")
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch, sandbox() as platforms:
        patch.setenv("TMPDIR", str(scratch))  # temporary files are searched like all others
        server = Server(
            folder, configure=towards(port_of(platforms.url)), ready_seconds=READY_SECONDS
        )
        with server:
            planted = Run(folder, server, Planter(server))
            planted.planter.plant()
            platforms.fault("meta", "partial")  # it echoes what it was shown
            use(planted)
            for platform, audience in PLATFORMS.items():
                planted.shown[platform] = platforms.digests(platform, audience)
            shutil.copytree(folder, folder.with_name("live"), ignore=_sockets)
    return planted


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder) / name).is_file() and ".sock" in name]


def use(planted: Run) -> None:
    """Load, evaluate, explain, sync, withdraw and print everything that prints."""
    server, people = planted.server, customers(PEOPLE)
    enrol(server, people)
    sync(server)
    withdraw(server, people[0])
    data, definitions = ("--data", str(server.data)), str(planted.folder / "segments/shop.yaml")
    events = _printed(planted, "events", "list", *data, "--json")
    _printed(planted, "segments", "evaluate", definitions, *data, "--json")
    listed = planted.folder.with_name("addresses")  # it holds canaries: outside of what is searched
    listed.write_text("\n".join(canary.value for canary in CONTACT))
    found = run("subjects", "resolve", str(listed), "--type", "email", *data, "--json")
    (subject,) = filter(None, json.loads(found).values())
    about = ("--name", AUDIENCE, "--subject", subject)
    _printed(planted, "segments", "explain", definitions, *about, *data, "--json")
    _printed(planted, "audiences", "status", *data, "--json")
    _printed(planted, "doctor", *data, "--json")
    bearer = {"Authorization": f"Bearer {server.admin_token}"}
    ids = {json.loads(line)["id"] for line in events.splitlines()}
    with httpx.Client(base_url=server.admin_url, headers=bearer, timeout=30) as client:
        whys = [f"/v1/events/{one}/why" for one in sorted(ids)[:40]]
        for path in [*whys, "/metrics", "/v1/audiences", "/v1/balance"]:
            answer = client.get(path)
            planted.printed.append(Trace(f"GET {path[:16]}", answer.content))


def _printed(planted: Run, *command: str) -> str:
    output = run(*command)
    planted.printed.append(Trace(f"output of {' '.join(command[:2])}", output.encode()))
    return output


def test_the_canaries_were_let_in(left: Run) -> None:
    """Without this a run that refuses everything would pass."""
    sources = json.loads(left.printed[-1].content)["sources"]
    for source in ("web", "backend"):
        for outcome in ("accepted", "refused", "invalid", "duplicate"):
            assert sources[source][outcome] > 100, (source, outcome)
    with closing(sqlite3.connect(left.data / "front.db")) as front:
        (sealed,) = front.execute("SELECT count(*) FROM contacts").fetchone()
    assert sealed >= 2 * PEOPLE


def test_the_platforms_were_shown_the_canaries(left: Run) -> None:
    """The contact data were there to leak: their digests left by the one way that is meant."""
    for platform, digests in left.shown.items():
        trace = Trace(platform, "\n".join(digests).encode())
        assert {one.kind for one in search(CONTACT, [trace])} == {"email", "phone"}


def test_no_request_broke_the_server(left: Run) -> None:
    assert [where for where in left.planter.outcomes if where.startswith("5")] == []


def test_no_file_holds_a_canary_while_the_product_runs(left: Run) -> None:
    assert not seen(file_traces(left.folder.with_name("live")))


def test_no_file_holds_a_canary_after_a_stop(left: Run) -> None:
    folders = (left.folder, left.folder.with_name("scratch"))
    assert not seen(file_traces(*folders))


@pytest.mark.parametrize("name", DATABASES)
def test_no_column_holds_a_canary(left: Run, name: str) -> None:
    assert not seen(sqlite_columns(left.data / name))


def test_no_column_of_the_warehouse_holds_a_canary(left: Run) -> None:
    assert not seen(duckdb_columns(left.data / "warehouse.duckdb"))


def test_no_opened_event_or_record_holds_a_canary(left: Run) -> None:
    assert not seen(opened_traces(left.data, left.server.config, left.keys))


def test_nothing_printed_holds_a_canary(left: Run) -> None:
    assert not seen(left.printed)


def test_no_answer_repeats_a_canary(left: Run) -> None:
    assert not seen(left.planter.answers)


def seen(traces: Iterable[Trace]) -> list[str]:
    """Return what was found, once for each kind and place."""
    found = {(one.kind, one.where): one for one in reversed(search(CANARIES, traces))}
    return [f"{one.kind} {one.form} in {one.where}" for one in found.values()]


# -- controls: the search sees what is planted by hand --------------------------------------------

EMAIL, PHONE = CONTACT


@pytest.mark.parametrize("name", DATABASES)
def test_the_search_sees_every_column_of_a_database(left: Run, tmp_path: Path, name: str) -> None:
    shutil.copy(left.data / name, tmp_path)
    planted = set()
    with closing(sqlite3.connect(tmp_path / name)) as store, store:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        for (table,) in store.execute(tables).fetchall():
            columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
            # Made anew without rules: a text can stand in every column then.
            store.execute(f"DROP TABLE {table}")
            store.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            plant_row(store, table, dict.fromkeys(columns, EMAIL.value))
            planted |= {f"{name} {table}.{column}" for column in columns}
    found = {one.where for one in search([EMAIL], sqlite_columns(tmp_path / name))}
    assert planted <= found
    assert search([EMAIL], file_traces(tmp_path))


def test_the_search_sees_every_column_of_the_warehouse(left: Run, tmp_path: Path) -> None:
    shutil.copy(left.data / "warehouse.duckdb", tmp_path)
    number, planted = int(PHONE.spellings[2]), set()
    with closing(duckdb.connect(str(tmp_path / "warehouse.duckdb"))) as store:
        rows = store.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        )
        columns: dict[str, dict[str, object]] = {}
        for table, column, kind in rows.fetchall():
            planted.add(f"warehouse.duckdb {table}.{column}")
            columns.setdefault(table, {})[column] = PHONE.value if kind == "VARCHAR" else number
        for table, row in columns.items():
            plant_row(store, table, row)
    found = search([PHONE], duckdb_columns(tmp_path / "warehouse.duckdb"))
    assert planted == {one.where for one in found}


def plant_row(
    store: sqlite3.Connection | duckdb.DuckDBPyConnection, table: str, row: Mapping[str, object]
) -> None:
    marks = ",".join("?" * len(row))
    store.execute(f"INSERT INTO {table} VALUES ({marks})", list(row.values()))  # noqa: S608 - names of the schema


EVENT_FIELDS: tuple[dict[str, Any], ...] = (
    {"id": EMAIL.value},
    {"name": EMAIL.value},
    {"session": EMAIL.value},
    {"properties": {"coupon": EMAIL.value}},
    {"properties": {EMAIL.value: 1}},
    {"properties": {"items": [{"sku": EMAIL.value}]}},
    {"properties": {"quantity": int(PHONE.spellings[2])}},
    {"page": {"path": f"/{EMAIL.value}"}},
    {"campaign": {"term": EMAIL.value}},
    {"device": {"os": EMAIL.value}},
    {"geo": {"region": EMAIL.value}},
)


@pytest.mark.parametrize("fields", EVENT_FIELDS, ids=str)
def test_the_search_sees_into_sealed_events(
    left: Run, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """What is sealed shows only once it is opened: this is why the raw search is not enough."""
    data = shutil.copytree(left.data, tmp_path / "data", ignore=_sockets)
    with sealing(left, data) as (view, front):
        logged = view.events(0, 1)[0]
        plain = encode(msgspec.structs.replace(logged.event, **fields))
        sealed = view.seal_of(logged.slot).seal(b"event", plain)
        position = view.head() + 1
        payload = msgspec.msgpack.encode([(position, logged.slot, sealed)])
        front.execute("INSERT INTO log VALUES (?, 1, 0, ?)", (position, payload))
    assert search(CONTACT, sqlite_columns(data / "front.db")) == []
    assert search(CONTACT, opened_traces(data, left.server.config, left.keys))


def test_the_search_sees_into_sealed_records(left: Run, tmp_path: Path) -> None:
    data = shutil.copytree(left.data, tmp_path / "data", ignore=_sockets)
    with sealing(left, data) as (view, front):
        query = "SELECT record, slot FROM records WHERE slot IS NOT NULL ORDER BY record LIMIT 1"
        record, slot = front.execute(query).fetchone()
        body = json.dumps({"evidence": {"method": EMAIL.value}}).encode()
        sealed = view.seal_of(slot).seal(b"record", body)
        front.execute("UPDATE records SET body = ? WHERE record = ?", (sealed, record))
    assert search([EMAIL], sqlite_columns(data / "front.db")) == []
    assert search([EMAIL], opened_traces(data, left.server.config, left.keys))


def test_without_the_detectors_canaries_are_stored_and_found(tmp_path: Path) -> None:
    program = unguarded.program(["detectors"])
    with Server(tmp_path / "shop", ready_seconds=READY_SECONDS, program=program) as server:
        planter = Planter(server)
        with planter.sending():
            planter.values(server.server_key)
    found = search(CANARIES, opened_traces(server.data, server.config, server.folder / "keys"))
    assert {one.kind for one in found} == {canary.kind for canary in CANARIES}


@contextmanager
def sealing(left: Run, data: Path) -> Iterator[tuple[EmbeddedView, sqlite3.Connection]]:
    """Return a view of a copied data directory that opens and seals, and its front store."""
    settings, folder = load(left.server.config), DataDir(data)
    keys = parts.key_reader(Keyring(left.keys, ENGINE), folder)
    with (
        closing(keys),
        closing(EmbeddedView(folder.front, settings.policy, keys)) as view,
        closing(sqlite3.connect(folder.front)) as front,
        front,
    ):
        yield view, front
