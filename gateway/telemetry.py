"""Structured logs: one JSON object a line, and only fields from an allow-list.

A field that is not listed is replaced by the name of its type: an identifier that slips into a
log call never reaches the line. Values are numbers, booleans and short plain words.
"""

import json
import math
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from consent.detect import identifying

__all__ = ["configure"]

_FIELDS = frozenset(
    {
        "attempt", "audience", "code", "count", "destination", "error", "event", "events",
        "fate", "hint", "job", "level", "message", "milliseconds", "name", "operation",
        "pid", "port", "position", "process", "reason", "seconds", "signal", "size",
        "source", "state", "status", "timestamp", "trace", "version", "where",
    }
)  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9_.:/ +()\[\]-]{0,120}")


def configure(process: str, stream: TextIO | None = None) -> None:
    """Set up logging for one process; ``process`` is its name in every line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _named(process),
            _only_listed,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _named(process: str) -> structlog.types.Processor:
    def add(
        _logger: object, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        line["process"] = process
        return line

    return add


def _only_listed(
    _logger: object, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {name: _shown(name, value) for name, value in line.items()}


def _shown(name: str, value: object) -> object:
    if name in _FIELDS:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):  # JSON has no other
            return value
        if isinstance(value, str) and _PLAIN.fullmatch(value):
            return value if name == "timestamp" or not identifying(value) else "<str>"
    return f"<{type(value).__name__}>"


def _to_json(line: object, **_options: object) -> str:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":"))
