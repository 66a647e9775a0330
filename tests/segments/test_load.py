import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.errors import WarehouseError
from segments.load import catch_up, value_columns
from segments.schema import ValueKind
from segments.warehouse import Cursor
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.dumps import Rows, dump
from tests.segments.generated import UNSHRUNK, histories
from tests.segments.histories import ADS, SYNC, History

T = 1_774_785_600_000
SMALL = (4, 20, 40)
LOADER = """
import sys
from pathlib import Path
from segments.load import catch_up
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.test_load import a_long_history
warehouse = DuckDBWarehouse(Path(sys.argv[1]))
catch_up(a_long_history(), warehouse, lambda *_: print("x", flush=True), 50)
"""


def a_long_history() -> History:
    history = History()
    for number in range(1500):
        slot = number % 7 + 1
        if number % 11 == 0:
            history.grant(slot, T + number - 20, *([ADS] if number % 2 else [ADS, SYNC]))
        history.event(slot, "product_viewed", T + number, product_id=number, color="red")
    return history


def loaded(history: History, *batches: int) -> dict[str, Rows]:
    warehouse = DuckDBWarehouse(None)
    try:
        for batch in batches or (1000,):
            catch_up(history, warehouse, batch=batch)
        return dump(warehouse)
    finally:
        warehouse.close()


def only(history: History, table: str = "events") -> dict[str, object]:
    (row,) = loaded(history)[table]
    return row


def test_loading_twice_changes_nothing() -> None:
    history = a_long_history()
    assert loaded(history, 1000, 1000) == loaded(history)


@settings(max_examples=10, phases=UNSHRUNK)
@given(history=histories(SMALL), batch=st.integers(1, 7), stop=st.integers(0, 12))
def test_content_does_not_depend_on_where_loading_stopped(
    history: History, batch: int, stop: int
) -> None:
    warehouse = DuckDBWarehouse(None)
    early = History(logged=history.logged[:stop], records=history.records[: stop // 2])
    catch_up(early, warehouse, batch=batch)
    catch_up(history, warehouse, batch=batch)
    assert dump(warehouse) == loaded(history)
    warehouse.close()


@settings(max_examples=15, phases=UNSHRUNK)
@given(history=histories(SMALL))
def test_stored_purposes_are_those_that_no_record_has_closed(history: History) -> None:
    expected = {}
    for row in history.logged:
        left = set(row.event.purposes)
        for record in history.records:
            if record.slot == row.slot and record.received >= row.event.t:
                left &= record.granted
        if left:
            expected[row.position] = sorted(left)
    assert {row["position"]: row["open"] for row in loaded(history, 3)["events"]} == expected


def test_a_killed_loader_is_made_good_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    for batches in (1, 3, 6):
        child = subprocess.Popen(
            [sys.executable, "-c", LOADER, str(path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert child.stdout is not None
        for _ in range(batches):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    warehouse = DuckDBWarehouse(path)
    assert warehouse.cursor().events > 0
    catch_up(a_long_history(), warehouse)
    assert dump(warehouse) == loaded(a_long_history())
    warehouse.close()


def test_rows_that_nobody_may_read_are_deleted() -> None:
    history = History().grant(1, T, ADS)
    history.event(1, "person_updated", T + 1, traits={"region": "BY"}, color="red")
    history.grant(1, T + 1)
    content = loaded(history, 1)
    assert (content["events"], content["fields"], content["traits"]) == ([], [], [])


@pytest.mark.parametrize(("t", "rows"), [(-1, 0), (0, 0), (1, 1)])
def test_a_late_event_up_to_a_withdrawal_loaded_before_is_not_stored(t: int, rows: int) -> None:
    history = History().grant(1, T).event(1, "clicked", T + t)
    assert len(loaded(history, 1)["events"]) == rows


def test_an_event_after_the_withdrawal_stays() -> None:
    history = History().grant(1, T).event(1, "clicked", T + 1)
    assert only(history)["open"] == [ADS, SYNC]


def test_progress_tells_position_and_head() -> None:
    calls: list[tuple[int, int]] = []
    warehouse = DuckDBWarehouse(None)
    catch_up(a_long_history(), warehouse, lambda *call: calls.append(call), 500)
    warehouse.close()
    assert calls[-1] == (a_long_history().head(), a_long_history().head())


def test_a_warehouse_ahead_of_the_log_is_refused() -> None:
    warehouse = DuckDBWarehouse(None)
    catch_up(a_long_history(), warehouse)
    with pytest.raises(WarehouseError, match="ahead"):
        catch_up(History().grant(1, T), warehouse)
    warehouse.close()


def test_the_cursor_is_the_newest_position_of_each_kind() -> None:
    warehouse = DuckDBWarehouse(None)
    catch_up(History().grant(1, T, ADS).event(1, "clicked", T), warehouse)
    assert warehouse.cursor() == Cursor(events=2, consents=1)
    warehouse.close()


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("product_id", 507, "507"),
        ("product_id", 507.0, "507"),
        ("product_id", 1.5, None),
        ("product_id", True, None),
        ("product_id", ["a"], None),
        ("category", "E\u0301", "\u00c9"),
        ("quantity", 2.0, 2),
        ("quantity", 2.5, None),
        ("quantity", "2", None),
        ("value_minor", 10**13, 10**13),
        ("value_minor", 10**13 + 1, None),
        ("value_minor", float("nan"), None),
    ],
)
def test_typed_fields_keep_only_what_fits(field: str, sent: object, kept: object) -> None:
    assert only(History().event(1, "clicked", T, **{field: sent}))[field] == kept


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        ("a", (ValueKind.TEXT, "a", None, None)),
        (True, (ValueKind.FLAG, None, 1.0, None)),
        (3, (ValueKind.NUMBER, None, 3.0, 3)),
        (0.5, (ValueKind.NUMBER, None, 0.5, None)),
        ([1], (ValueKind.LIST, None, None, None)),
        (None, (ValueKind.EMPTY, None, None, None)),
        (float("inf"), (ValueKind.EMPTY, None, None, None)),
        (10**400, (ValueKind.EMPTY, None, None, None)),
    ],
)
def test_other_values_are_kept_by_kind(value: object, columns: tuple[object, ...]) -> None:
    assert value_columns(value) == columns


def test_declared_properties_without_a_column_are_rows() -> None:
    history = History().event(1, "clicked", T, color="red", gone=None)
    row = only(history, "fields")
    assert (row["key"], row["text"]) == ("color", "red")


def test_a_trait_taken_back_is_kept_as_empty() -> None:
    history = History().event(1, "person_updated", T, traits={"region": None})
    assert only(history, "traits")["kind"] == ValueKind.EMPTY
