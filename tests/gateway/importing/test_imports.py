"""A whole import from a file: formats, places, sources, replay, and what it needs to start."""

import csv
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.commands import import_files
from gateway.datadir import DataDir
from gateway.errors import SettingsError, StoreLockedError, UnreadableFileError
from gateway.wiring.imports import run_import
from tests.gateway.importing.shops import Shop

ALL = {"functional": "true", "analytics": "true", "marketing": "true"}
T = 1_700_000_000_000
Order = Callable[..., dict[str, object]]


def _silent(_done: int, _total: int | None) -> None:
    return


def _csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_event(shop: Shop, order: Order, ending: str) -> None:
    rows, path = [order(1, **ALL)], shop.folder / f"orders.{ending}"
    if ending == "csv":
        _csv(path, rows)
    elif ending == "jsonl":
        shop.file(path.name, rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    shop.run_file("orders", path)
    (event,) = shop.events()
    assert (event["name"], event["t"], event["source"]) == (
        "order_completed", 1_714_550_400_000, "backend",
    )  # fmt: skip
    assert event["properties"] == {"order_id": "A-1", "value_minor": 1250, "currency": "EUR"}


def test_refused_rows_are_listed_beside_the_file_without_their_values(
    shop: Shop, order: Order
) -> None:
    rows = [order(1) | ALL, order(2, person="other") | dict.fromkeys(ALL, "")]
    summary = shop.run_file("orders", _csv(shop.folder / "orders.csv", rows))
    assert summary.refused == [shop.folder / "orders.csv.refused.csv"]
    assert summary.refused[0].read_text() == "line,outcome,reason\n3,refused,consent_unknown\n"


def test_a_broken_row_is_invalid_and_keeps_its_place(shop: Shop, order: Order) -> None:
    path = shop.file("o.jsonl", [order(1, **ALL)])
    path.write_text("nonsense\n" + path.read_text())
    summary = shop.run_file("orders", path)
    assert (summary.outcomes, dict(summary.faults)) == (
        {("accepted", ""): 1, ("invalid", "malformed"): 1},
        {"row: cannot be read": 1},
    )
    assert "\n1,invalid,malformed\n" in summary.refused[0].read_text()


def test_columns_nobody_knows_are_listed_once(shop: Shop, order: Order) -> None:
    assert shop.run("orders", order(1, shoe=43), order(2, shoe=44)).unknown == ["shoe"]


def test_progress_tells_rows_done_and_their_number(shop: Shop, order: Order) -> None:
    path = shop.file("o.jsonl", (order(number) for number in range(500)))
    told: list[tuple[int, int | None]] = []
    run_import(shop.request(("orders", path)), lambda done, total: told.append((done, total)))
    assert told == [(200, 500), (400, 500), (500, 500)]


def test_a_row_names_the_time_it_was_received_only_in_a_replay(shop: Shop, order: Order) -> None:
    shop.run("orders", order(1, received=T, **ALL))
    assert shop.events()[0]["received"] > T


def test_a_replay_keeps_the_times_of_events_and_records(shop: Shop) -> None:
    consent = {"person": "u1", "t": T, "notice": "web", "version": "3"} | ALL
    event = {"id": "m", "person": "u1", "name": "searched", "t": T + 1, "received": T + 2}
    shop.replay(events=[event], consents=[consent])
    (stored,), (record,) = shop.events(), shop.records()
    assert (stored["t"], stored["received"]) == (T + 1, T + 2)
    assert (record["kind"], record["received"]) == ("own", T)


def test_a_replay_decides_each_row_on_what_held_when_it_was_received(shop: Shop) -> None:
    def consent(t: int, answer: str) -> dict[str, object]:
        cells = {"person": "u1", "t": t, "notice": "web", "version": "3"}
        return cells | dict.fromkeys(ALL, answer)

    events = [{"id": f"m{n}", "person": "u1", "name": "searched", "t": T + n} for n in range(7)]
    consents = [consent(T + 1, "true"), consent(T + 3, "false"), consent(T + 5, "true")]
    shop.replay(events=events, consents=consents)
    assert [event["t"] - T for event in shop.events()] == [1, 2, 5, 6]


def test_a_replay_needs_an_empty_data_directory(shop: Shop, order: Order) -> None:
    shop.run("orders", order())
    with pytest.raises(SettingsError, match="empty"):
        shop.replay(orders=[order()])


def test_a_replay_needs_the_data_directory_for_itself(
    shop: Shop, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.datadir._LOCK_SECONDS", 0.0)
    with closing(open(shop.data.own(), "rb")), pytest.raises(StoreLockedError):  # noqa: PTH123 - a descriptor
        shop.replay(orders=[order()])


def test_an_import_needs_a_server_source(shop: Shop, order: Order) -> None:
    path = shop.file("o.jsonl", [order()])
    request = shop.request(("orders", path))
    for name in ("web", "nowhere"):
        with pytest.raises(SettingsError, match="trust = server"):
            run_import(replace(request, source=name), _silent)
    assert run_import(replace(request, source="backend"), _silent).rows == 1


def test_a_file_of_no_known_kind_is_an_error(shop: Shop, order: Order) -> None:
    path = shop.file("o.jsonl", [order()])
    with pytest.raises(UnreadableFileError, match="invoices"):
        run_import(shop.request(("invoices", path)), _silent)


def test_a_file_without_its_columns_leaves_nothing_behind(shop: Shop) -> None:
    path = _csv(shop.folder / "orders.csv", [{"person": "u1"}])
    with pytest.raises(UnreadableFileError, match="no column order_id"):
        shop.run_file("orders", path)
    assert not path.with_name("orders.csv.refused.csv").exists()


def test_the_command_makes_a_data_directory_that_is_not_there(shop: Shop, order: Order) -> None:
    path = str(shop.file("o.jsonl", [order(1, **ALL)]))
    data = shop.folder / "fresh"
    found = import_files(
        (data, shop.settings.path, None), ["orders", path], None, None, replay=True
    )
    assert found["outcomes"] == {"accepted": 1}
    assert DataDir(data).recall() == (shop.settings.path, shop.keys)


@pytest.mark.parametrize("files", [["orders"], ["orders", "a.csv", "events", "b.csv"]])
def test_several_files_are_for_a_replay_only(shop: Shop, files: list[str]) -> None:
    with pytest.raises(SettingsError, match="--replay"):
        import_files((shop.data.path, None, None), files, None, None, replay=False)
