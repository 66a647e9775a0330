"""What tests of the whole program share: simulated platforms in a process of their own."""

from collections.abc import Iterator

import pytest

from tests.sandbox_server import RunningSandbox, sandbox


@pytest.fixture
def platforms() -> Iterator[RunningSandbox]:
    """Return simulated platforms that hold nothing yet."""
    with sandbox() as running:
        yield running
