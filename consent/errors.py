"""The error tree of the consent package.

ConsentError
├── MalformedSignalError      a carried consent signal cannot be read: the event is refused
├── MalformedIdentifierError  an identifier has no canonical form: it is dropped, and counted
├── UnknownPurposeError       a purpose that the policy does not declare: configuration is wrong
├── InvalidPolicyError        a policy that contradicts itself: refuse to start
├── KeyringError              the key ring is missing, unreadable or open to others: refuse to start
├── KeyDestroyedError         the key is gone (erasure or destroyed epoch): nothing can be opened
└── SealBrokenError           a sealed value does not open under its key: quarantine, never guess
"""

__all__ = [
    "ConsentError",
    "InvalidPolicyError",
    "KeyDestroyedError",
    "KeyringError",
    "MalformedIdentifierError",
    "MalformedSignalError",
    "SealBrokenError",
    "UnknownPurposeError",
]


class ConsentError(Exception):
    """Root of everything this package raises; catch it only at a process boundary."""

    hint = "See the log entry with the same code."


class MalformedSignalError(ConsentError):
    """A consent signal cannot be read strictly; callers turn it into a refusal."""

    hint = "The tracker sends a consent field in a form that its protocol does not define."


class MalformedIdentifierError(ConsentError):
    """A value is not an identifier of the stated type; callers drop it and count it."""

    hint = "Check what the tracker sends as user or device id."


class UnknownPurposeError(ConsentError):
    """A name is neither a declared purpose, a parent nor a category; callers show the field."""

    hint = "Declare the purpose under [purposes] or correct its spelling."


class InvalidPolicyError(ConsentError):
    """The policy contradicts itself; the process must not start with it."""

    hint = "Run `einlass doctor`: it names the line."


class KeyringError(ConsentError):
    """The key ring is missing, unreadable or readable by others; the process must not start."""

    hint = "Keep the key ring outside the data directory, files with mode 0400."


class KeyDestroyedError(ConsentError):
    """The key that this value was made with is destroyed; callers treat the value as gone."""

    hint = "This is final: destroyed keys cannot be restored."


class SealBrokenError(ConsentError):
    """A sealed value fails authentication; callers quarantine it and tell the operator."""

    hint = "The store was altered or restored beside other keys; compare with a backup."
