"""The real SDKs: each one as a fixture value, found or demanded."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sdk.runners import SDKS


@pytest.fixture(scope="module", params=sorted(SDKS))
def sdk(request: pytest.FixtureRequest, require: Callable[[str], str]) -> str:
    """Name one SDK that is installed; a missing one fails in CI and skips elsewhere."""
    name = str(request.param)
    if name == "node":
        require("node")
        if not (Path(__file__).parent / "node" / "node_modules" / "@segment").is_dir():
            reason = "the Segment SDK for Node is not installed: run `make test`"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
    return name
