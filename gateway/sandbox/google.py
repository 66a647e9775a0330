"""Simulated Google Data Manager API: `audienceMembers:ingest`, `:remove`, `requestStatus:retrieve`.

Fails fast as the real one: one malformed row refuses the request. Consent is judged later, in the
status. Written from the message types of google-ads-datamanager 0.9.4 and the guides; nothing of
our connector is used.
"""

import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.sandbox.google_wire import (
    Ingest,
    Refusal,
    Remove,
    consent_error,
    refusals,
    rows_of,
)
from gateway.sandbox.state import Answer, Audience, Call, Kind, SandboxSettings

__all__ = ["GooglePlatform"]

_MAX_JOBS: Final = 10_000
_MINUTE: Final = 60.0
_DOMAIN: Final = "datamanager.googleapis.com"
_RPC: Final = "type.googleapis.com/google.rpc."
_PROCESSING: Final = "PROCESSING_ERROR_REASON_"


@dataclass(slots=True, kw_only=True)
class _Job:
    kind: Kind
    lists: list[str]
    rows: list[list[str]]
    failed: Counter[str]
    total: int
    identifiers: int
    ready_at: float
    done: bool = False

    def status(self) -> str:
        if not self.done:
            return "PROCESSING"
        if not self.failed:
            return "SUCCESS"
        return "PARTIAL_SUCCESS" if self.rows else "FAILED"


class GooglePlatform:
    """The user lists of one Google account, by list id."""

    name = "google"

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self.audiences: dict[str, Audience] = {}
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._writes: deque[float] = deque()
        self._numbers = 0

    def settle(self, now: float) -> None:
        """Finish the jobs whose time has come, in the order in which they arrived."""
        while self._queue and self._queue[0].ready_at <= now:
            job = self._queue.popleft()
            for name in job.lists:
                audience = self.audiences.setdefault(name, Audience())
                change = audience.add if job.kind is Kind.ADD else audience.remove
                for row in job.rows:
                    change(row)
            job.done = True

    def handle(self, call: Call, version: str) -> Answer:
        """Answer one request."""
        self.settle(call.now)
        refused = _DIALECT.get(call.fault) or _unauthorised(call)
        if refused:
            return refused
        if version != "v1":
            return _error(404, "NOT_FOUND", "NOT_FOUND")
        if call.kind is Kind.STATUS:
            return self._retrieve(call.query.get("requestId", ""))
        if not self._within_quota(call.now):
            return _DIALECT["throttle"]
        return self._write(call)

    def _within_quota(self, now: float) -> bool:
        while self._writes and self._writes[0] <= now - _MINUTE:
            self._writes.popleft()
        if len(self._writes) >= self._settings.google_requests_per_minute:
            return False
        self._writes.append(now)
        return True

    def _write(self, call: Call) -> Answer:
        try:
            body = msgspec.json.decode(call.body, type=Ingest if call.kind is Kind.ADD else Remove)
        except msgspec.ValidationError as error:
            return _invalid_json(error)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        refused = next(refusals(body), None)
        rows: list[list[str]] = []
        if refused is None:
            rows, refused = rows_of(body)
        if refused is not None:
            return _violation(refused, len(body.audience_members))
        return self._accept(call, body, rows)

    def _accept(self, call: Call, body: Remove, rows: list[list[str]]) -> Answer:
        self._numbers += 1
        reference = f"sandbox-{self._numbers}"
        failed, kept = _judged(body, rows, call.fault)
        total = len(rows)
        job = _Job(
            kind=call.kind,
            lists=[entry.product_destination_id for entry in body.destinations],
            rows=kept,
            failed=failed,
            total=total,
            identifiers=sum(map(len, rows)),
            ready_at=call.now + self._settings.processing_seconds,
        )
        if not body.validate_only:
            self._jobs[reference] = job
            self._queue.append(job)
            if len(self._jobs) > _MAX_JOBS:
                del self._jobs[next(iter(self._jobs))]
        return Answer(
            status=200,
            body={"requestId": reference},
            audience=",".join(job.lists),
            rows=total,
            refused=failed.total(),
        )

    def _retrieve(self, reference: str) -> Answer:
        job = self._jobs.get(reference)
        if job is None:
            return _error(400, "INVALID_ARGUMENT", "INVALID_REQUEST_ID")
        counts = {
            # 64-bit integers are text in proto3 JSON.
            "recordCount": str(job.total),
            "userIdentifierCount": str(job.identifiers),
        }
        detail = (
            {"audienceMembersIngestionStatus": {"userDataIngestionStatus": counts}}
            if job.kind is Kind.ADD
            else {"audienceMembersRemovalStatus": {"userDataRemovalStatus": counts}}
        )
        entries: list[dict[str, object]] = []
        for name in job.lists:
            entry: dict[str, object] = {
                "destination": {"productDestinationId": name},
                "requestStatus": job.status(),
                **detail,
            }
            if job.done and job.failed:
                entry["errorInfo"] = {
                    "errorCounts": [
                        {"recordCount": str(count), "reason": reason}
                        for reason, count in job.failed.items()
                    ]
                }
            entries.append(entry)
        return Answer(status=200, body={"requestStatusPerDestination": entries})


def _unauthorised(call: Call) -> Answer | None:
    if not call.token or call.token.startswith("expired"):
        return _DIALECT["expired"]
    return _DIALECT["forbidden"] if call.token.startswith("forbidden") else None


def _judged(
    body: Remove, rows: list[list[str]], fault: str
) -> tuple[Counter[str], list[list[str]]]:
    """Judge consent row by row, as the real one does after it has accepted the request."""
    failed: Counter[str] = Counter()
    if fault == "status_failed":
        return Counter({f"{_PROCESSING}INTERNAL_ERROR": len(rows)}), []
    kept: list[list[str]] = []
    for place, row in enumerate(rows):
        reason = ""
        if isinstance(body, Ingest):
            reason = consent_error(body.consent, body.audience_members[place].consent)
        if fault == "partial" and place == 0:
            reason = "INVALID_FORMAT"
        if reason:
            failed[f"{_PROCESSING}{reason}"] += 1
        else:
            kept.append(row)
    return failed, kept


def _invalid_json(error: msgspec.ValidationError) -> Answer:
    """Say it as proto3 JSON says it; names of fields only, no value is echoed."""
    text = str(error)
    unknown = re.search(r"unknown field `(\w+)`", text)
    missing = re.search(r"missing required field `(\w+)`", text)
    if missing:
        return _violation(Refusal("REQUIRED_FIELD_MISSING", missing[1]), 0)
    said = f'Unknown name "{unknown[1]}": Cannot find field.' if unknown else "Invalid value"
    message = f"Invalid JSON payload received. {said}"
    return _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message=message)


def _violation(refusal: Refusal, rows: int) -> Answer:
    violation = {
        "field": refusal.field,
        "description": "There was a problem with the request.",
        "reason": refusal.reason,
    }
    extra: list[dict[str, object]] = [
        {"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]}
    ]
    answer = _error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", extra=extra)
    return Answer(status=400, body=answer.body, code=refusal.reason, rows=rows, refused=rows)


def _error(
    status: int,
    name: str,
    reason: str,
    *,
    message: str = "There was a problem with the request.",
    extra: Sequence[dict[str, object]] = (),
) -> Answer:
    details = [
        {"@type": f"{_RPC}ErrorInfo", "reason": reason, "domain": _DOMAIN},
        {"@type": f"{_RPC}RequestInfo", "requestId": "sandbox"},
        *extra,
    ]
    error = {"code": status, "message": message, "status": name, "details": details}
    return Answer(status=status, body={"error": error}, code=reason)


def _quota() -> Answer:
    limit: dict[str, object] = {
        "@type": f"{_RPC}ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "domain": "googleapis.com",
        "metadata": {"quota_limit": "IngestionRequestsPerMinutePerProject"},
    }
    retry: dict[str, object] = {"@type": f"{_RPC}RetryInfo", "retryDelay": "1s"}
    return _error(
        429,
        "RESOURCE_EXHAUSTED",
        "RESOURCE_EXHAUSTED",
        message="Quota exceeded.",
        extra=(limit, retry),
    )


_DIALECT: Final = {
    "throttle": _quota(),
    "http500": _error(500, "INTERNAL", "INTERNAL_ERROR"),
    "unavailable": _error(503, "UNAVAILABLE", "INTERNAL_ERROR"),
    "expired": _error(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"),
    "forbidden": _error(403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
    "not_allowlisted": _error(403, "PERMISSION_DENIED", "NOT_ALLOWLISTED"),
    "unknown_audience": _error(400, "INVALID_ARGUMENT", "INVALID_USER_LIST_ID"),
}
"""What the platform says of itself, by the name of the fault."""
