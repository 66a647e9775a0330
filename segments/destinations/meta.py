"""Adds and removes members of a Meta custom audience: one request a job, answered at once.

Knows Meta's wire format and its error codes; hashes, retries and batches nothing.
Source: Marketing API "Custom Audience users" (v25) and package facebook-business 26.0.3;
docs/destinations/meta.md lists fields, limits and what an answer means.
"""

import hashlib
import hmac
import re
from typing import ClassVar, Final

import httpx
import msgspec

from segments.destination import (
    DestinationSpec,
    Fate,
    Flow,
    Operation,
    SyncJob,
    SyncReport,
)

__all__ = ["MetaAudiences"]

_HOST: Final = "graph.facebook.com"
_VERSION: Final = "v26.0"
_KEYS: Final = {"email": "EMAIL", "phone": "PHONE"}
_AUDIENCE = re.compile(r"[0-9]{1,32}")
_VERSION_FORM = re.compile(r"v[0-9]{1,3}\.[0-9]{1,2}")

_THROTTLED: Final = frozenset({4, 17, 32, 341, 368, 613, *range(80000, 80015)})
"""Calls over a limit: nothing was done. 368 is the abuse limit, 80003 and 80004 are ads limits."""
_UNKNOWN: Final = frozenset({1, 2})
"""Meta's own failure: it may or may not have taken the members."""
_EXPIRED: Final = frozenset({102, 190})


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    error_subcode: int = 0


class _Answer(msgspec.Struct, frozen=True):
    error: _Error | None = None
    session_id: str | int = ""
    num_received: int = -1
    num_invalid_entries: int = -1


class MetaAudiences:
    """Customer-file custom audiences. A member is confirmed when Meta counts it as valid."""

    spec: ClassVar[DestinationSpec] = DestinationSpec(
        kind="meta_audiences",
        title="Meta custom audiences",
        identifiers={"email": "E1", "phone": "P2"},
        max_members=10_000,
        requests_per_minute=200,
        hosts=(_HOST,),
        purposes=frozenset({"audience_sync"}),
        docs="docs/destinations/meta.md",
    )

    def flow(self, job: SyncJob) -> Flow:
        """Send one batch; Meta answers with counts, never with row numbers."""
        refused = self._refused(job)
        if refused:
            return SyncReport(fate=refused[0], code=refused[1])
        response = yield _request(job)
        return _report(job, response)

    def poll(self, job: SyncJob, reference: str) -> Flow:
        """Confirm at once: Meta has no status call, the first answer was all there is."""
        yield from ()
        return SyncReport(fate=Fate.CONFIRMED, reference=reference or job.id)

    def _refused(self, job: SyncJob) -> tuple[Fate, str] | None:
        if job.operation is Operation.ADD and not self.spec.purposes <= job.purposes:
            return Fate.REJECTED, "purposes_missing"
        if not _AUDIENCE.fullmatch(job.options.get("audience", "")):
            return Fate.BLOCKED, "option_audience"
        if not _VERSION_FORM.fullmatch(job.options.get("version", _VERSION)):
            return Fate.BLOCKED, "option_version"
        named = [bool(member.digests.keys() & _KEYS.keys()) for member in job.members]
        if not named or not all(named):
            return Fate.REJECTED, "member_without_identifier"
        return None


def _request(job: SyncJob) -> httpx.Request:
    kinds = [kind for kind in _KEYS if any(kind in member.digests for member in job.members)]
    body = {
        "session": {
            "session_id": _session(job.id),
            "batch_seq": 1,
            "last_batch_flag": True,
            "estimated_num_total": len(job.members),
        },
        "payload": {
            "schema": [_KEYS[kind] for kind in kinds],
            "is_raw": True,
            "data": [[member.digests.get(kind, "") for kind in kinds] for member in job.members],
        },
    }
    options = job.options
    version, audience = options.get("version", _VERSION), options["audience"]
    endpoint = options.get("endpoint") or f"https://{_HOST}"
    return httpx.Request(
        "POST" if job.operation is Operation.ADD else "DELETE",
        f"{endpoint.rstrip('/')}/{version}/{audience}/users",
        params=_proof(options.get("app_secret", ""), job.token),
        content=msgspec.json.encode(body),
        headers={"Authorization": f"Bearer {job.token}", "Content-Type": "application/json"},
    )


def _session(job_id: str) -> int:
    """Give a job a session number of its own: 63 bits, the same each time it is sent again."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") >> 1


def _proof(secret: str, token: str) -> dict[str, str] | None:
    if not secret:
        return None
    return {"appsecret_proof": hmac.new(secret.encode(), token.encode(), "sha256").hexdigest()}


def _report(job: SyncJob, response: httpx.Response) -> SyncReport:
    """Read the answer by ``error.code``, not by status: the status is 400 for most errors."""
    try:
        answer = msgspec.json.decode(response.content, type=_Answer, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _unreadable(response)
    if answer.error is not None:
        return _failed(answer.error, response)
    return _counted(job, answer) if response.is_success else _unreadable(response)


def _counted(job: SyncJob, answer: _Answer) -> SyncReport:
    received, invalid = answer.num_received, answer.num_invalid_entries
    if received != len(job.members) or not 0 <= invalid <= received:
        return SyncReport(fate=Fate.IN_DOUBT, code="counts_unreadable")
    reference = str(answer.session_id)[:64]
    if invalid == 0:
        return SyncReport(fate=Fate.CONFIRMED, reference=reference)
    # The answer counts bad rows without naming them. Adding and removing are idempotent, so
    # sending halves is safe, and ends at the rows themselves.
    fate = Fate.REJECTED if invalid == received else Fate.SPLIT
    return SyncReport(fate=fate, reference=reference, code="num_invalid_entries")


def _failed(error: _Error, response: httpx.Response) -> SyncReport:
    if error.code in _THROTTLED or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        fate = Fate.RETRY
    elif error.code in _UNKNOWN or (error.code == 0 and response.is_server_error):
        fate = Fate.IN_DOUBT
    elif error.code in _EXPIRED:
        fate = Fate.REFRESH
    else:
        fate = Fate.BLOCKED
    subcode = f"/{error.error_subcode}" if error.error_subcode else ""
    return SyncReport(fate=fate, code=f"{error.code}{subcode}")


def _unreadable(response: httpx.Response) -> SyncReport:
    """Settle nothing from an answer that Meta did not write; only a 3xx or 429 is plain."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return SyncReport(fate=Fate.RETRY, code="http_429")
    if response.is_redirect:
        return SyncReport(fate=Fate.BLOCKED, code=f"http_{status}")
    return SyncReport(fate=Fate.IN_DOUBT, code=f"http_{status}")
