"""P5: outside sealed columns no identifier is in any file, column, log line, metric or answer.

One run plants canaries on every path and then uses the whole product; the tests search what it
left. The controls plant a canary in each place by hand: the search must find every one.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.e2e.canary import (
    Canary,
    Found,
    Trace,
    duckdb_columns,
    file_traces,
    opened_traces,
    search,
    sqlite_columns,
)
from tests.e2e.planting import CANARIES, CONTACT, PERSON, Planter
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
    server, people = planted.server, customers(60)
    enrol(server, people)
    sync(server)
    withdraw(server, people[0])
    data, definitions = ("--data", str(server.data)), str(planted.folder / "segments/shop.yaml")
    events = _printed(planted, "events", "list", *data, "--json")
    _printed(planted, "events", "list", *data)
    _printed(planted, "segments", "evaluate", definitions, *data, "--json")
    _printed(planted, "segments", "sizes", *data, "--json")
    for file, kind in (("users", "user_id"), ("addresses", "email"), ("numbers", "phone")):
        listed = planted.folder.with_name(file)  # outside of what is searched
        listed.write_text("\n".join([PERSON, *(canary.value for canary in CONTACT)]))
        found = run("subjects", "resolve", str(listed), "--type", kind, *data, "--json")
        for subject in filter(None, json.loads(found).values()):
            about = ("--name", AUDIENCE, "--subject", subject)
            _printed(planted, "segments", "explain", definitions, *about, *data, "--json")
    _printed(planted, "audiences", "status", *data, "--json")
    _printed(planted, "doctor", *data, "--json")
    bearer = {"Authorization": f"Bearer {server.admin_token}"}
    ids = {json.loads(line)["id"] for line in events.splitlines()}
    with httpx.Client(base_url=server.admin_url, headers=bearer, timeout=30) as client:
        paths = ["/metrics", "/v1/balance", "/v1/audiences"]
        for path in [*paths, *(f"/v1/events/{one}/why" for one in sorted(ids)[:150])]:
            answer = client.get(path)
            planted.printed.append(Trace(f"GET {path[:16]}", answer.content))


def _printed(planted: Run, *command: str) -> str:
    output = run(*command)
    planted.printed.append(Trace(f"output of {' '.join(command[:2])}", output.encode()))
    return output


def test_the_canaries_were_let_in(left: Run) -> None:
    """Without this a run that refuses everything would pass."""
    assert left.planter.outcomes["accepted"] > 100
    assert {"refused", "duplicate", "invalid"} <= left.planter.outcomes.keys()
    assert b'"u": "203' not in left.printed[0].content
    with closing(sqlite3.connect(left.data / "front.db")) as front:
        (sealed,) = front.execute("SELECT count(*) FROM contacts").fetchone()
    assert sealed > 120


def test_the_platforms_were_shown_the_canaries(left: Run) -> None:
    """The contact data were there to leak: their digests left by the only way that is meant."""
    email = {canary.kind: canary for canary in CONTACT}["email"]
    wanted = Trace("platform", "\n".join(left.shown["google"]).encode())
    assert {found.form for found in search([email], [wanted])} == {"sha256/1/hex"}


def test_no_file_holds_a_canary_while_the_product_runs(left: Run) -> None:
    assert not seen(CANARIES, file_traces(left.folder.with_name("live")))


def test_no_file_holds_a_canary_after_a_stop(left: Run) -> None:
    folders = (left.folder, left.folder.with_name("scratch"))
    assert not seen(CANARIES, file_traces(*folders))


@pytest.mark.parametrize("name", DATABASES)
def test_no_column_holds_a_canary(left: Run, name: str) -> None:
    assert not seen(CANARIES, sqlite_columns(left.data / name))


def test_no_column_of_the_warehouse_holds_a_canary(left: Run) -> None:
    assert not seen(CANARIES, duckdb_columns(left.data / "warehouse.duckdb"))


def test_no_opened_event_or_record_holds_a_canary(left: Run) -> None:
    assert not seen(CANARIES, opened_traces(left.data, left.server.config, left.keys))


def test_nothing_printed_holds_a_canary(left: Run) -> None:
    assert not seen(CANARIES, left.printed)


def test_no_answer_repeats_a_canary(left: Run) -> None:
    assert not seen(CANARIES, left.planter.answers)


def seen(canaries: Sequence[Canary], traces: Iterable[Trace]) -> list[Found]:
    """Return what was found, a few of each kind and place."""
    return list({(one.kind, one.where): one for one in search(canaries, traces)}.values())
