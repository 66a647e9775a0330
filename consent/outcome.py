"""The fate of an event: one outcome and, where it was not accepted, one reason.

Both enumerations are closed: a new member is a change of the public contract.
This module knows nothing of policies or stores.
"""

from enum import StrEnum

__all__ = ["Delivery", "Outcome", "Reason"]


class Outcome(StrEnum):
    """What happened to an event at the door (header ``Einlass-Outcome``)."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LIMITED = "limited"
    EXPIRED = "expired"


class Delivery(StrEnum):
    """What happened to one delivery (an event, or one add or remove) at one destination."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"
    EXPIRED = "expired"
    DEAD = "dead"
    IN_DOUBT = "in_doubt"
    PENDING = "pending"


class Reason(StrEnum):
    """Why an event or a delivery was not let through."""

    NONE = ""
    CONSENT_UNKNOWN = "consent_unknown"
    CONSENT_REFUSED = "consent_refused"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    CONSENT_EXPIRED = "consent_expired"
    CONSENT_CONFLICT = "consent_conflict"
    SIGNAL_MALFORMED = "signal_malformed"
    GPC = "gpc"
    PURPOSE_UNDECLARED = "purpose_undeclared"
    NOTICE_OUTDATED = "notice_outdated"
    RECIPIENT_NOT_COVERED = "recipient_not_covered"
    SUBJECT_ERASED = "subject_erased"
    SUBJECT_RESTRICTED = "subject_restricted"
    CHILD = "child"
    BOT = "bot"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    NO_IDENTIFIER = "no_identifier"
    SOURCE_NARROWED = "source_narrowed"
    NOT_SELECTED = "not_selected"
    NO_CONTACT = "no_contact"
    BELOW_MINIMUM = "below_minimum"
    REJECTED = "rejected"
