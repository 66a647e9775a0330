"""`python -m gateway.sandbox [PORT]`: prints the base address once it is ready."""

import sys

from gateway.sandbox.runner import run

__all__: list[str] = []


def _ready(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8089, ready=_ready)
