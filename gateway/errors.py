"""The error tree of the gateway package.

GatewayError
├── MalformedPayloadError   the request cannot be read at all: answered 400, counted invalid
├── PayloadTooLargeError    over a byte, depth or count limit: answered 413 or 400
├── UnprocessableError      the request is readable but cannot be followed: answered 422
├── ForbiddenError          the key or secret does not reach that far: answered 403
├── UnsupportedEncodingError  an unknown or stacked content encoding: answered 415
├── IncompleteBodyError     the sender left before the body had ended: nobody reads the answer
├── OverloadedError         no room to accept it now: answered 503 with Retry-After
├── UnknownSourceError      no source has this write key: answered 401
├── UnreadableFileError     a file to import cannot be read at all: nothing more is taken from it
├── SettingsError           the configuration is wrong: refuse to start, name file, line and field
├── PortTakenError          the address to listen on cannot be had: refuse to start
├── StoreError              a store cannot be used: refuse to start or stop accepting
│   ├── StoreLockedError    another process has the data directory: refuse to start
│   └── StoreBrokenError    a commit failed or a row cannot be trusted: stop accepting, exit
├── NotRunningError         a command needs a running server and finds none
├── EngineError             the engine answered with an error
└── DestinationError        a destination cannot be reached or is misconfigured
"""

__all__ = [
    "DestinationError",
    "EngineError",
    "ForbiddenError",
    "GatewayError",
    "IncompleteBodyError",
    "MalformedPayloadError",
    "NotRunningError",
    "OverloadedError",
    "PayloadTooLargeError",
    "PortTakenError",
    "SettingsError",
    "StoreBrokenError",
    "StoreError",
    "StoreLockedError",
    "UnknownSourceError",
    "UnprocessableError",
    "UnreadableFileError",
    "UnsupportedEncodingError",
]


class GatewayError(Exception):
    """Root of everything this package raises; the HTTP and command-line edges catch it."""

    hint = "See the log entry with the same code."


class MalformedPayloadError(GatewayError):
    """The request cannot be read; the HTTP edge answers 400. ``field`` names where."""

    hint = "Compare the request with the protocol's documentation page."

    def __init__(self, message: str, field: str = "body") -> None:
        super().__init__(message)
        self.field = field


class PayloadTooLargeError(MalformedPayloadError):
    """The request is over a limit; the HTTP edge answers 413 or what the protocol needs."""

    hint = "Send smaller batches."


class UnsupportedEncodingError(MalformedPayloadError):
    """The body has an unknown or stacked content encoding; the HTTP edge answers 415."""

    hint = "Send plain, gzip or deflate (zlib) bodies, packed once."


class IncompleteBodyError(MalformedPayloadError):
    """The sender left before the body had ended; the HTTP edge answers 400 to nobody."""

    hint = "Look for a proxy that cuts requests."


class OverloadedError(GatewayError):
    """There is no room to accept this now; the HTTP edge answers 503 with Retry-After."""

    hint = "Add workers, or look at the disk."


class UnprocessableError(MalformedPayloadError):
    """The request can be read but not followed; ``field`` names what is missing or wrong."""

    hint = "See docs/consent-api.md for what each field means."


class ForbiddenError(MalformedPayloadError):
    """The key or device secret does not reach that far; ``field`` names what would."""

    hint = "Use the device secret of the first answer, a server key or an identity proof."


class UnknownSourceError(GatewayError):
    """No source has this write key; the HTTP edge answers 401."""

    hint = "Use the key of a source in einlass.toml."


class UnreadableFileError(GatewayError):
    """A file to import cannot be read; rows of it that were taken before stay."""

    hint = "See docs/import.md for the files and columns that can be read."


class SettingsError(GatewayError):
    """The configuration is wrong. ``line`` is its 1-based line, 0 where none can be named."""

    hint = "Run `einlass doctor`."

    def __init__(self, message: str, field: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.field = field
        self.line = line


class PortTakenError(GatewayError):
    """The address to listen on cannot be had; the process must not start."""

    hint = "Stop the program that listens there or choose another port."


class StoreError(GatewayError):
    """A store cannot be used; the process stops."""

    hint = "Run `einlass doctor --data DIR`."


class StoreLockedError(StoreError):
    """Another process owns the data directory."""

    hint = "Stop the other server or choose another --data."


class StoreBrokenError(StoreError):
    """A commit failed or a row cannot be trusted; nothing more is accepted."""

    hint = "Check disk and file system, then start again: committed data is recovered."


class NotRunningError(GatewayError):
    """The command needs a running server."""

    hint = "Start `einlass serve` first."


class EngineError(GatewayError):
    """The engine refused or failed a request; ``code`` is stable."""

    hint = "See the engine's log entry with the same code."

    def __init__(self, message: str, code: str = "engine_failed") -> None:
        super().__init__(message)
        self.code = code


class DestinationError(GatewayError):
    """A destination is misconfigured or cannot be reached."""

    hint = "Run `einlass doctor`."
