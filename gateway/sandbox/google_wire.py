"""The messages of the simulated Data Manager API, and what makes one invalid.

Written from the message types of google-ads-datamanager 0.9.4: lowerCamelCase names and no
others; `userData` only. Knows no audience and no time.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

__all__ = ["Ingest", "Refusal", "Remove", "consent_error", "refusals", "rows_of"]

_MAX_MEMBERS: Final = 10_000
_MAX_IDENTIFIERS: Final = 10
_MAX_DESTINATIONS: Final = 10
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_SHA256_HEX: Final = 64
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NUMBER = re.compile(r"[1-9][0-9]{0,19}")


class _Message(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A proto3 JSON message: lowerCamelCase names and no others."""


class _Account(_Message):
    account_type: Literal[
        "GOOGLE_ADS",
        "DISPLAY_VIDEO_PARTNER",
        "DISPLAY_VIDEO_ADVERTISER",
        "DATA_PARTNER",
        "GOOGLE_ANALYTICS_PROPERTY",
        "GOOGLE_AD_MANAGER_AUDIENCE_LINK",
        "FLOODLIGHT_CONFIG",
        "GOOGLE_AD_MANAGER",
    ]
    account_id: str


class _Destination(_Message):
    operating_account: _Account
    product_destination_id: str
    reference: str = ""
    login_account: _Account | None = None
    linked_account: _Account | None = None


_Status = Literal["CONSENT_STATUS_UNSPECIFIED", "CONSENT_GRANTED", "CONSENT_DENIED"]


class _Consent(_Message):
    ad_user_data: _Status = "CONSENT_STATUS_UNSPECIFIED"
    ad_personalization: _Status = "CONSENT_STATUS_UNSPECIFIED"


class _Address(_Message):
    given_name: str
    family_name: str
    region_code: str
    postal_code: str


class _Identifier(_Message):
    email_address: str = ""
    phone_number: str = ""
    address: _Address | None = None


class _UserData(_Message):
    user_identifiers: list[_Identifier]


class _Member(_Message):
    user_data: _UserData
    destination_references: list[str] = []
    consent: _Consent | None = None


class _Terms(_Message):
    customer_match_terms_of_service_status: Literal[
        "TERMS_OF_SERVICE_STATUS_UNSPECIFIED", "ACCEPTED", "REJECTED"
    ]


class Remove(_Message):
    """`RemoveAudienceMembersRequest`."""

    destinations: list[_Destination]
    audience_members: list[_Member]
    encoding: Literal["ENCODING_UNSPECIFIED", "HEX", "BASE64"] = "ENCODING_UNSPECIFIED"
    validate_only: bool = False


class Ingest(Remove):
    """`IngestAudienceMembersRequest`."""

    consent: _Consent | None = None
    terms_of_service: _Terms | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason of Google's ``ErrorReason``, and the field path it stands at."""

    reason: str
    field: str


def refusals(body: Remove) -> Iterator[Refusal]:
    """Yield what is wrong with the request apart from its rows."""
    yield from _destination_refusals(body)
    if not body.audience_members:
        yield Refusal("REQUIRED_FIELD_MISSING", "audience_members")
    if len(body.audience_members) > _MAX_MEMBERS:
        yield Refusal("TOO_MANY_AUDIENCE_MEMBERS", "audience_members")
    if body.encoding == "ENCODING_UNSPECIFIED":
        yield Refusal("REQUIRED_FIELD_MISSING", "encoding")
    if isinstance(body, Ingest) and not _terms_accepted(body.terms_of_service):
        yield Refusal("TERMS_AND_CONDITIONS_NOT_SIGNED", "terms_of_service")


def _destination_refusals(body: Remove) -> Iterator[Refusal]:
    if not body.destinations:
        yield Refusal("REQUIRED_FIELD_MISSING", "destinations")
    if len(body.destinations) > _MAX_DESTINATIONS:
        yield Refusal("TOO_MANY_DESTINATIONS", "destinations")
    references = [entry.reference for entry in body.destinations]
    if len(set(references)) != len(references):
        yield Refusal("DUPLICATE_DESTINATION_REFERENCE", "destinations")
    for place, entry in enumerate(body.destinations):
        if not _NUMBER.fullmatch(entry.product_destination_id):
            yield Refusal("INVALID_USER_LIST_ID", f"destinations[{place}].product_destination_id")
        accounts = [entry.operating_account, entry.login_account]
        if any(a is not None and not _NUMBER.fullmatch(a.account_id) for a in accounts):
            yield Refusal("INVALID_DESTINATION", f"destinations[{place}].operating_account")


def _terms_accepted(terms: _Terms | None) -> bool:
    return terms is not None and terms.customer_match_terms_of_service_status == "ACCEPTED"


def rows_of(body: Remove) -> tuple[list[list[str]], Refusal | None]:
    """Return each member's digests in hex, or the first thing wrong with a member."""
    known = {entry.reference for entry in body.destinations}
    rows: list[list[str]] = []
    for place, member in enumerate(body.audience_members):
        where = f"audience_members[{place}]"
        if not known.issuperset(member.destination_references):
            return [], Refusal("INVALID_DESTINATION", f"{where}.destination_references")
        identifiers = member.user_data.user_identifiers
        if not identifiers:
            return [], Refusal("NO_IDENTIFIERS_PROVIDED", f"{where}.user_data")
        if len(identifiers) > _MAX_IDENTIFIERS:
            return [], Refusal("TOO_MANY_USER_IDENTIFIERS", f"{where}.user_data")
        row: list[str] = []
        for at, identifier in enumerate(identifiers):
            found, reason = _digest(identifier, body.encoding)
            if reason:
                return [], Refusal(reason, f"{where}.user_data.user_identifiers[{at}]")
            row += found
        rows.append(row)
    return rows, None


def _digest(identifier: _Identifier, encoding: str) -> tuple[list[str], str]:
    values = [value for value in (identifier.email_address, identifier.phone_number) if value]
    if identifier.address is not None:
        values += [identifier.address.given_name, identifier.address.family_name]
    if not values or (identifier.email_address and identifier.phone_number):
        return [], "INVALID_AUDIENCE_MEMBER"
    found: list[str] = []
    for value in values:
        text, reason = _hex_of(value, encoding)
        if reason:
            return [], reason
        found.append(text)
    return found, ""


def _hex_of(value: str, encoding: str) -> tuple[str, str]:
    if encoding == "HEX":
        if not _HEX.fullmatch(value):
            return "", "INVALID_HEX_ENCODING"
        text = value
    else:
        try:
            text = base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            return "", "INVALID_BASE64_ENCODING"
    wrong = len(text) != _SHA256_HEX or text == _EMPTY
    return ("", "INVALID_SHA256_FORMAT") if wrong else (text, "")


def consent_error(request: _Consent | None, member: _Consent | None) -> str:
    """Return why a member may not be added, empty where both consents are granted."""
    effective = member or request or _Consent()
    fields = {effective.ad_user_data, effective.ad_personalization}
    if "CONSENT_DENIED" in fields:
        return "DENIED_CONSENT"
    return "NO_CONSENT" if "CONSENT_STATUS_UNSPECIFIED" in fields else ""
