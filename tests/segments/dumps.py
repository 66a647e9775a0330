"""The logical content of a warehouse as plain values, purposes by name."""

from segments.schema import BASE_TABLES
from segments.warehouses.duckdb import DuckDBWarehouse

__all__ = ["Rows", "dump"]

Rows = list[dict[str, object]]


def dump(warehouse: DuckDBWarehouse) -> dict[str, Rows]:
    names = {1 << bit: name for name, bit in warehouse.purpose_bits(()).items()}

    def purposes(mask: int) -> list[str]:
        return sorted(name for bit, name in names.items() if mask & bit)

    found: dict[str, Rows] = {}
    for table in BASE_TABLES:
        rows = warehouse.query(f"SELECT * FROM {table.name}").read_all().to_pylist()  # noqa: S608 - our own names
        for row in rows:
            for mask in ("open", "granted"):
                if mask in row:
                    row[mask] = purposes(row[mask])
        found[table.name] = sorted(rows, key=repr)
    return found
