"""Runs the command: `python -m gateway`."""

from gateway.cli import main

__all__: list[str] = []

main()
