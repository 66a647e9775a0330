"""Simulated Meta custom audiences: `POST` and `DELETE /{version}/{audience}/users`.

Refuses what the Marketing API refuses, in its dialect: HTTP 400 with ``error.code``, and bad rows
only as a count. Written from the public reference ("Custom Audience users", v25), not from our
connector. Echoes an invalid value back, as platforms do.
"""

import hmac
import re
from typing import Final

import msgspec

from gateway.sandbox.state import Answer, Audience, Call, Kind, SandboxSettings

__all__ = ["MetaPlatform"]

_MAX_ROWS: Final = 10_000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_VERSION = re.compile(r"v[0-9]{2}\.0")
_AUDIENCE = re.compile(r"[1-9][0-9]{0,31}")
_HASHED: Final = frozenset(
    ("EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "FI", "CT", "ST", "ZIP")
) | {"COUNTRY"}
_PLAIN: Final = frozenset({"EXTERN_ID", "MADID"})


class _Session(msgspec.Struct):
    session_id: int
    batch_seq: int
    last_batch_flag: bool = False
    estimated_num_total: int = 0


class _Payload(msgspec.Struct):
    # The key is `schema` on the wire, a name that readers of this class expect to be a method.
    keys: list[str] = msgspec.field(name="schema")
    data: list[list[str]]
    is_raw: bool = False


class _Body(msgspec.Struct):
    payload: _Payload
    session: _Session | None = None


class MetaPlatform:
    """The audiences of one Meta business, by id."""

    name = "meta"

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self.audiences: dict[str, Audience] = {}

    def settle(self, now: float) -> None:
        """Do nothing: what Meta answers has happened."""

    def handle(self, call: Call, version: str) -> Answer:
        """Answer one request."""
        refused = _DIALECT.get(call.fault) or self._refused(call, version)
        if refused:
            return refused
        try:
            body = msgspec.json.decode(call.body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(100, "Invalid parameter")
        wrong = _wrong_shape(body.payload)
        if wrong:
            return wrong
        rows = [_digests(body.payload.keys, row) for row in body.payload.data]
        return self._apply(call, body, rows)

    def _refused(self, call: Call, version: str) -> Answer | None:
        checks = (
            (not call.token, _error(104, "An access token is required")),
            (call.token.startswith("expired"), _DIALECT["expired"]),
            (call.token.startswith("forbidden"), _DIALECT["forbidden"]),
            (not _VERSION.fullmatch(version), _error(2500, "Unknown path components")),
            (not self._proven(call), _error(100, "Invalid appsecret_proof provided")),
            (not _AUDIENCE.fullmatch(call.audience), _DIALECT["unknown_audience"]),
        )
        return next((answer for wrong, answer in checks if wrong), None)

    def _proven(self, call: Call) -> bool:
        given, secret = call.query.get("appsecret_proof", ""), self._settings.app_secret
        if not secret:
            return not given or _DIGEST.fullmatch(given) is not None
        wanted = hmac.new(secret.encode(), call.token.encode(), "sha256").hexdigest()
        return hmac.compare_digest(given.encode(), wanted.encode())

    def _apply(self, call: Call, body: _Body, rows: list[list[str] | None]) -> Answer:
        audience = self.audiences.setdefault(call.audience, Audience())
        change = audience.add if call.kind is Kind.ADD else audience.remove
        if call.fault == "partial":
            rows[0] = None
        invalid = [place for place, row in enumerate(rows) if row is None]
        for row in rows:
            if row is not None:
                change(row)
        session = body.session.session_id if body.session else 0
        answer = {
            "audience_id": call.audience,
            "session_id": str(session),
            "num_received": len(rows),
            "num_invalid_entries": len(invalid),
            "invalid_entry_samples": {
                str(place): ",".join(body.payload.data[place]) for place in invalid[:3]
            },
        }
        return Answer(
            status=200,
            body=answer,
            audience=call.audience,
            rows=len(rows),
            refused=len(invalid),
        )


def _wrong_shape(payload: _Payload) -> Answer | None:
    if not payload.keys or len(set(payload.keys)) != len(payload.keys):
        return _error(100, "Invalid parameter: schema")
    if not set(payload.keys) <= _HASHED | _PLAIN:
        return _error(100, "Invalid parameter: schema has an unknown key")
    if not 1 <= len(payload.data) <= _MAX_ROWS:
        return _error(100, "Invalid parameter: at most 10000 users in one request")
    if any(len(row) != len(payload.keys) for row in payload.data):
        return _error(100, "Invalid parameter: a row does not match the schema")
    return None


def _digests(keys: list[str], row: list[str]) -> list[str] | None:
    """Return the digests of a row, None where Meta would count it as invalid."""
    given = [(key, value) for key, value in zip(keys, row, strict=True) if value]
    hashed = [value for key, value in given if key in _HASHED]
    if not given or any(not _DIGEST.fullmatch(value) or value == _EMPTY for value in hashed):
        return None
    return hashed


def _error(
    code: int, message: str, *, subcode: int = 0, status: int = 400, transient: bool = False
) -> Answer:
    error: dict[str, object] = {
        "message": f"(#{code}) {message}",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "sandbox",
    }
    if subcode:
        error["error_subcode"] = subcode
    if transient:
        error["is_transient"] = True
    return Answer(status=status, body={"error": error}, code=f"{code}/{subcode}")


_DIALECT: Final = {
    "throttle": _error(
        80003,
        "There have been too many calls to this ad-account. Wait a bit and try again.",
        subcode=2446079,
        transient=True,
    ),
    "throttle_app": _error(17, "User request limit reached", transient=True),
    "http500": _error(2, "Service temporarily unavailable", status=500, transient=True),
    "expired": _error(190, "Error validating access token", subcode=463),
    "forbidden": _error(200, "Permissions error", status=403),
    "unknown_audience": _error(100, "Unsupported request", subcode=33),
    "blocked_audience": _error(100, "Invalid parameter", subcode=1713230),
}
"""What the platform says of itself, by the name of the fault."""
