"""The error tree of the segments package.

SegmentError
├── InvalidDefinitionError   a definition cannot be read: show ``path`` and reason
├── UnsupportedEngineError   the engine named is not installed or cannot run this
├── WarehouseError           the warehouse cannot be used: rebuild it from the log
├── IdentifierRejectedError  a value has no platform normal form: drop it, count the reason
└── DestinationRejectedError the platform refused in a way that retrying cannot mend
"""

__all__ = [
    "DestinationRejectedError",
    "IdentifierRejectedError",
    "InvalidDefinitionError",
    "SegmentError",
    "UnsupportedEngineError",
    "WarehouseError",
]


class SegmentError(Exception):
    """Root of everything this package raises."""

    hint = "See the log entry with the same code."


class InvalidDefinitionError(SegmentError):
    """A segment definition cannot be read; ``path`` says where, e.g. ``where.all[1].count``."""

    hint = "See docs/segments.md for the conditions and their fields."

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class UnsupportedEngineError(SegmentError):
    """The engine is not installed, or cannot run this plan."""

    hint = "Install the extra of the same name, or use --engine duckdb."


class WarehouseError(SegmentError):
    """The warehouse file cannot be used."""

    hint = "Stop the server, delete the warehouse file and start again: it is rebuilt."


class IdentifierRejectedError(SegmentError):
    """A contact value has no normal form for this platform; ``reason`` is what is counted."""

    hint = "The record is kept; the platform is not told about this identifier."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DestinationRejectedError(SegmentError):
    """The platform refused; ``code`` is its own error code."""

    hint = "Check credentials and rights at the platform."

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
