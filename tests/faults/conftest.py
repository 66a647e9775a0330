"""What every fault test starts from."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.altered import program
from tests.server import Server

Start = Callable[..., Server]


def _with_a_number(text: str) -> str:
    return text.replace('declared = ["size", "color"]', 'declared = ["size", "color", "seq"]')


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return ``start(workers=1, alteration="", configure=…)``: a server that runs until the end.

    It runs as it is shipped: measuring coverage would slow its start and write files of its own.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    with ExitStack() as stack:

        def started(
            workers: int = 1,
            alteration: str = "",
            configure: Callable[[str], str] = lambda text: text,
        ) -> Server:
            chosen = {"program": program(alteration)} if alteration else {}
            server = Server(
                tmp_path,
                configure=lambda text: configure(_with_a_number(text)),
                options=("--workers", str(workers)),
                environment=environment,
                ready_seconds=40,
                **chosen,
            )
            return stack.enter_context(server)

        yield started


@pytest.fixture
def strace(require: Callable[[str], str]) -> str:
    """Return the path of strace."""
    return require("strace")
