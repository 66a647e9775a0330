import ibis
import pytest

from segments.engine import open_engine
from segments.errors import UnsupportedEngineError
from segments.warehouses.duckdb import DuckDBWarehouse


@pytest.mark.parametrize(
    ("name", "message"), [("clickhouse", "no clickhouse server"), ("abacus", "unknown engine")]
)
def test_an_engine_that_is_not_there_is_refused(name: str, message: str) -> None:
    warehouse = DuckDBWarehouse(None)
    with pytest.raises(UnsupportedEngineError, match=message):
        open_engine(name, warehouse)
    warehouse.close()


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segments.engine.find_spec", lambda _: None)
    warehouse = DuckDBWarehouse(None)
    with pytest.raises(UnsupportedEngineError, match="not installed"):
        open_engine("chdb", warehouse)
    warehouse.close()


def test_chdb_refuses_a_plan_with_our_own_error() -> None:
    warehouse = DuckDBWarehouse(None)
    engine = open_engine("chdb", warehouse)
    with pytest.raises(UnsupportedEngineError, match="refused a plan"):
        engine.fetch(ibis.table({"a": "int64"}, name="nowhere"))
    engine.close()
    warehouse.close()


def test_a_closed_engine_leaves_no_temporary_table() -> None:
    warehouse = DuckDBWarehouse(None)
    engine = open_engine("duckdb", warehouse)
    engine.keep("kept_one", ibis.table({"slot": "int64"}, name="events"))
    engine.close()
    tables = warehouse.query("SELECT table_name FROM duckdb_tables() WHERE temporary").read_all()
    assert tables.num_rows == 0
    warehouse.close()
