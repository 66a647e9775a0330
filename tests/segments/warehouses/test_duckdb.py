import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from segments.arrow import empty_table, from_columns
from segments.errors import UnsupportedEngineError, WarehouseError
from segments.load import catch_up
from segments.schema import CONSENTS, EVENTS, FIELDS, MAX_PURPOSES, TRAITS
from segments.warehouse import Batch, Cursor, open_warehouse
from segments.warehouses.duckdb import DuckDBWarehouse
from tests.segments.dumps import dump
from tests.segments.histories import ADS, History

T = 1_774_785_600_000


def test_the_registry_opens_it_by_name(tmp_path: Path) -> None:
    warehouse = open_warehouse("duckdb", tmp_path / "w.duckdb")
    assert warehouse.cursor() == Cursor()
    warehouse.close()


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedEngineError, match="no warehouse of kind"):
        open_warehouse("abacus", tmp_path / "w")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match="cannot be opened"):
        DuckDBWarehouse(path)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(tmp_path / "w.duckdb")
    code = (
        "import sys, pathlib\nfrom segments.errors import WarehouseError\n"
        "from segments.warehouses.duckdb import DuckDBWarehouse\n"
        "try: DuckDBWarehouse(pathlib.Path(sys.argv[1]))\n"
        "except WarehouseError: print('refused')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "w.duckdb")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "refused"
    warehouse.close()


def test_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    DuckDBWarehouse(path).close()
    with duckdb.connect(str(path)) as raw:
        raw.execute("UPDATE progress SET format = 999")
    with pytest.raises(WarehouseError, match="another version"):
        DuckDBWarehouse(path)


def test_a_refused_batch_leaves_no_trace() -> None:
    warehouse = DuckDBWarehouse(None)
    catch_up(History().grant(1, T, ADS).event(1, "clicked", T + 1), warehouse)
    before = dump(warehouse)
    consents = from_columns(CONSENTS, [[9], [9], [1], [T + 2], [0]])
    broken = pa.table({"slot": [1]})
    batch = Batch(
        broken, empty_table(FIELDS), empty_table(TRAITS), consents, Cursor(events=9, consents=9)
    )
    with pytest.raises(WarehouseError, match="step of loading failed"):
        warehouse.load(batch)
    assert (dump(warehouse), warehouse.cursor()) == (before, Cursor(events=2, consents=1))
    warehouse.close()


def test_a_batch_loaded_before_is_skipped() -> None:
    warehouse = DuckDBWarehouse(None)
    catch_up(History().grant(1, T, ADS), warehouse)
    before = dump(warehouse)
    consents = from_columns(CONSENTS, [[1], [10], [1], [T], [0]])
    events, fields, traits = (empty_table(table) for table in (EVENTS, FIELDS, TRAITS))
    warehouse.load(Batch(events, fields, traits, consents, Cursor(events=0, consents=1)))
    assert dump(warehouse) == before
    warehouse.close()


def test_purposes_keep_their_bits() -> None:
    warehouse = DuckDBWarehouse(None)
    first = warehouse.purpose_bits(["house_news", ADS])
    assert warehouse.purpose_bits(["another", "house_news"]).items() >= first.items()
    warehouse.close()


def test_more_purposes_than_bits_are_refused() -> None:
    warehouse = DuckDBWarehouse(None)
    with pytest.raises(WarehouseError, match="more than 62 purposes"):
        warehouse.purpose_bits(f"p{number}" for number in range(MAX_PURPOSES))
    warehouse.close()


def test_a_query_that_fails_is_our_error() -> None:
    warehouse = DuckDBWarehouse(None)
    with pytest.raises(WarehouseError, match="a query failed"):
        warehouse.query("SELECT nothing FROM nowhere")
    warehouse.close()
