"""Fixtures of the import tests: a shop without a server, and rows for it."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.configuration.init import init
from gateway.datadir import DataDir
from gateway.settings import load
from gateway.wiring.stores import prepare_stores
from tests.gateway.importing.shops import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    init(tmp_path, "wk_public", "sk_secret", secrets.token_bytes)
    data, keys = DataDir(tmp_path / "data"), tmp_path / "keys"
    data.prepare()
    prepare_stores(data, keys)
    data.remember(tmp_path / "einlass.toml", keys)
    return Shop(tmp_path, load(tmp_path / "einlass.toml"), data, keys)


@pytest.fixture
def order() -> Callable[..., dict[str, object]]:
    """Return ``order(number, **cells)``: a row of an orders file without consent columns."""

    def row(number: int = 1, **cells: object) -> dict[str, object]:
        known: dict[str, object] = {
            "person": "u1",
            "order_id": f"A-{number}",
            "t": "2024-05-01T10:00:00+02:00",
            "value": "12.50",
            "currency": "EUR",
        }
        return known | cells

    return row
