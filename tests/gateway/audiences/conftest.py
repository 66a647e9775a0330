from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.audiences.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path)
    yield found
    found.close()
