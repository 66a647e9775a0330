"""Adds and removes Customer Match members through Google's Data Manager API, then asks for status.

A 200 says *accepted* only; the result is polled. Knows Google's JSON and its error model;
hashes, retries and batches nothing. Source: package google-ads-datamanager 0.9.4 and the
Data Manager API guides; docs/destinations/google_data_manager.md lists fields and limits.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

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

__all__ = ["GoogleDataManager"]

_HOST: Final = "datamanager.googleapis.com"
_FIELDS: Final = {"email": "emailAddress", "phone": "phoneNumber"}
_NUMBER = re.compile(r"[0-9]{1,20}")
_VERSION_FORM = re.compile(r"v[0-9]{1,2}")
_ACCOUNT_TYPE = re.compile(r"[A-Z_]{3,40}")
_RECORDED = re.compile(r"true|\d{4}-\d{2}-\d{2}", re.IGNORECASE)
"""How an operator records that the Customer Match terms were accepted: ``true``, or the day."""
_MEMBER = re.compile(r"audience_?members?(?:\.audience_?members?)?\[(\d+)\]", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")

_ROW_REASONS: Final = frozenset(
    {
        "FIELD_VALUE_TOO_LONG",
        "FIELD_VALUE_TOO_SHORT",
        "INVALID_AUDIENCE_MEMBER",
        "INVALID_BASE64_ENCODING",
        "INVALID_FORMAT",
        "INVALID_HEX_ENCODING",
        "INVALID_SHA256_FORMAT",
        "NO_IDENTIFIERS_PROVIDED",
        "TOO_MANY_USER_IDENTIFIERS",
    }
)
"""One bad row fails the request ("fast fail"): Google has processed nothing of it."""
_CONTRACT_REASONS: Final = frozenset(
    {
        "ADVERTISER_NOT_ALLOWLISTED_FOR_UPLOADED_DATA",
        "INVALID_DESTINATION",
        "INVALID_USER_LIST_ID",
        "INVALID_USER_LIST_TYPE",
        "NOT_ALLOWLISTED",
        "PERMISSION_DENIED",
        "TERMS_AND_CONDITIONS_NOT_SIGNED",
    }
)
_INTERNAL: Final = "PROCESSING_ERROR_REASON_INTERNAL_ERROR"


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """A part of Google's answers; what we do not read is skipped."""


class _Violation(_Part, frozen=True):
    field: str = ""
    reason: str = ""


class _Detail(_Part, frozen=True):
    reason: str = ""
    retry_delay: str = ""
    field_violations: tuple[_Violation, ...] = ()


class _Error(_Part, frozen=True):
    status: str = ""
    details: tuple[_Detail, ...] = ()


class _Count(_Part, frozen=True):
    reason: str = ""


class _ErrorInfo(_Part, frozen=True):
    error_counts: tuple[_Count, ...] = ()


class _Status(_Part, frozen=True):
    request_status: str = ""
    error_info: _ErrorInfo = _ErrorInfo()


class _Answer(_Part, frozen=True):
    request_id: str = ""
    error: _Error | None = None
    request_status_per_destination: tuple[_Status, ...] = ()
    readable: bool = True


class GoogleDataManager:
    """Customer Match lists. Adds need both Google consents; removals need none."""

    spec: ClassVar[DestinationSpec] = DestinationSpec(
        kind="google_data_manager",
        title="Google Customer Match (Data Manager API)",
        identifiers={"email": "E3", "phone": "P1"},
        max_members=10_000,
        requests_per_minute=300,
        hosts=(_HOST,),
        asynchronous=True,
        purposes=frozenset({"audience_sync", "ads_personalised"}),
        docs="docs/destinations/google_data_manager.md",
    )

    def flow(self, job: SyncJob) -> Flow:
        """Send one batch; an accepted one has Google's request id as its reference."""
        refused = self._refused(job)
        if refused:
            return SyncReport(fate=refused[0], code=refused[1])
        response = yield _request(job)
        answer = _read(response)
        failure = _failure(job, answer, response)
        if failure:
            return failure
        if not answer.request_id:
            return SyncReport(fate=Fate.IN_DOUBT, code="no_request_id")
        return SyncReport(fate=Fate.ACCEPTED, reference=answer.request_id)

    def poll(self, job: SyncJob, reference: str) -> Flow:
        """Ask for the status. ACCEPTED: ask again later; RETRY: this question failed, ask again."""
        response = yield httpx.Request(
            "GET",
            f"{_base(job)}/requestStatus:retrieve",
            params={"requestId": reference},
            headers=_headers(job),
        )
        answer = _read(response)
        failure = _failure(job, answer, response)
        if failure:
            return _poll_failed(failure, reference)
        return _status(job, answer, reference)

    def _refused(self, job: SyncJob) -> tuple[Fate, str] | None:
        adds = job.operation is Operation.ADD
        if adds and not self.spec.purposes <= job.purposes:
            return Fate.REJECTED, "purposes_missing"
        if adds and not _RECORDED.fullmatch(job.options.get("terms_accepted", "")):
            return Fate.BLOCKED, "terms_not_accepted"
        wrong = _wrong_option(job.options)
        if wrong:
            return Fate.BLOCKED, wrong
        named = [bool(member.digests.keys() & _FIELDS.keys()) for member in job.members]
        if not named or not all(named):
            return Fate.REJECTED, "member_without_identifier"
        return None


def _wrong_option(options: Mapping[str, str]) -> str:
    forms = (
        ("account", _NUMBER, ""),
        ("audience", _NUMBER, ""),
        ("login_account", _NUMBER, "0"),
        ("account_type", _ACCOUNT_TYPE, "GOOGLE_ADS"),
        ("version", _VERSION_FORM, "v1"),
    )
    for name, form, default in forms:
        if not form.fullmatch(_plain(options.get(name) or default)):
            return f"option_{name}"
    return ""


def _plain(value: str) -> str:
    """Write an account number without the dashes that Google's pages show it with."""
    return value.replace("-", "")


def _base(job: SyncJob) -> str:
    endpoint = job.options.get("endpoint") or f"https://{_HOST}"
    return f"{endpoint.rstrip('/')}/{job.options.get('version') or 'v1'}"


def _headers(job: SyncJob) -> dict[str, str]:
    return {"Authorization": f"Bearer {job.token}", "Content-Type": "application/json"}


def _request(job: SyncJob) -> httpx.Request:
    body: dict[str, Any] = {
        "destinations": [_destination(job.options)],
        "audienceMembers": [
            {
                "destinationReferences": ["audience"],
                "userData": {
                    "userIdentifiers": [
                        {_FIELDS[kind]: member.digests[kind]}
                        for kind in _FIELDS
                        if kind in member.digests
                    ]
                },
            }
            for member in job.members
        ],
        "encoding": "HEX",
    }
    if job.operation is Operation.ADD:
        body["consent"] = _consent(job.purposes)
        body["termsOfService"] = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
    verb = "ingest" if job.operation is Operation.ADD else "remove"
    return httpx.Request(
        "POST",
        f"{_base(job)}/audienceMembers:{verb}",
        content=msgspec.json.encode(body),
        headers=_headers(job),
    )


def _destination(options: Mapping[str, str]) -> dict[str, Any]:
    kind = options.get("account_type") or "GOOGLE_ADS"
    found: dict[str, Any] = {
        "reference": "audience",
        "operatingAccount": {"accountType": kind, "accountId": _plain(options["account"])},
        "productDestinationId": options["audience"],
    }
    login = _plain(options.get("login_account") or "")
    if login:
        found["loginAccount"] = {"accountType": kind, "accountId": login}
    return found


def _consent(purposes: frozenset[str]) -> dict[str, str]:
    """Say what each person granted; a purpose that is missing is left out, never sent as denied."""
    fields = {"adUserData": "audience_sync", "adPersonalization": "ads_personalised"}
    return {field: "CONSENT_GRANTED" for field, purpose in fields.items() if purpose in purposes}


def _read(response: httpx.Response) -> _Answer:
    try:
        return msgspec.json.decode(response.content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Answer(readable=False)


def _failure(job: SyncJob, answer: _Answer, response: httpx.Response) -> SyncReport | None:
    """Classify Google's error model: the status first, then the reasons in its details."""
    if response.is_success and answer.readable and answer.error is None:
        return None
    error = answer.error or _Error()
    code = error.status[:64] or f"http_{response.status_code}"
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or code == "UNAVAILABLE":
        return SyncReport(fate=Fate.RETRY, code=code, retry_after_seconds=_delay(error))
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return SyncReport(fate=Fate.REFRESH, code=code)
    if response.is_redirect:
        return SyncReport(fate=Fate.BLOCKED, code=code)
    if answer.error is None or response.is_server_error:
        return SyncReport(fate=Fate.IN_DOUBT, code=code)
    return _refusal(job, error, code)


def _refusal(job: SyncJob, error: _Error, code: str) -> SyncReport:
    reasons = _reasons(error)
    if reasons & _ROW_REASONS and not reasons & _CONTRACT_REASONS:
        return _poisoned(job, error, min(reasons & _ROW_REASONS))
    named = min(reasons & _CONTRACT_REASONS, default="") or min(reasons, default="")
    return SyncReport(fate=Fate.BLOCKED, code=named[:64] or code)


def _poisoned(job: SyncJob, error: _Error, code: str) -> SyncReport:
    """Split a batch refused for bad rows; the rows that Google names end here."""
    indexes = {
        int(found[1])
        for detail in error.details
        for violation in detail.field_violations
        if (found := _MEMBER.search(violation.field))
    }
    rows = {job.members[i].row: Fate.REJECTED for i in indexes if i < len(job.members)}
    if len(job.members) == 1 or len(rows) == len(job.members):
        return SyncReport(fate=Fate.REJECTED, code=code)
    return SyncReport(fate=Fate.SPLIT, rows=rows or None, code=code)


def _reasons(error: _Error) -> set[str]:
    found = {detail.reason for detail in error.details}
    found |= {violation.reason for detail in error.details for violation in detail.field_violations}
    return found - {""}


def _delay(error: _Error) -> float | None:
    """Read ``google.rpc.RetryInfo``: a duration such as ``3.5s``."""
    for detail in error.details:
        match = _DURATION.fullmatch(detail.retry_delay)
        if match:
            return float(match[1])
    return None


def _poll_failed(failure: SyncReport, reference: str) -> SyncReport:
    """Turn a failed question into its own fate: what became of the job is as open as before."""
    unclear = {Fate.IN_DOUBT: Fate.RETRY, Fate.SPLIT: Fate.RETRY, Fate.REJECTED: Fate.RETRY}
    fate = unclear.get(failure.fate, failure.fate)
    if failure.code == "INVALID_REQUEST_ID":
        fate = Fate.IN_DOUBT
    return replace(failure, fate=fate, rows=None, reference=reference)


def _status(job: SyncJob, answer: _Answer, reference: str) -> SyncReport:
    entries = answer.request_status_per_destination
    entry = entries[0] if len(entries) == 1 else _Status()
    status = entry.request_status
    if status == "PROCESSING":
        return SyncReport(fate=Fate.ACCEPTED, reference=reference, code=status)
    if status == "SUCCESS":
        return SyncReport(fate=Fate.CONFIRMED, reference=reference)
    if status not in {"FAILED", "PARTIAL_SUCCESS"}:
        return SyncReport(fate=Fate.IN_DOUBT, reference=reference, code="status_unreadable")
    reasons = {count.reason for count in entry.error_info.error_counts} - {""}
    fate = _failed_rows(reasons, every=status == "FAILED" or len(job.members) == 1)
    return SyncReport(fate=fate, reference=reference, code=min(reasons, default=status)[:64])


def _failed_rows(reasons: set[str], *, every: bool) -> Fate:
    """Google counts failed rows per reason and names none: halves find them, and are idempotent."""
    if not reasons or _INTERNAL in reasons:
        return Fate.IN_DOUBT
    return Fate.REJECTED if every else Fate.SPLIT
