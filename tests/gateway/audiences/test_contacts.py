import pytest

from consent.errors import KeyDestroyedError, SealBrokenError
from consent.outcome import Delivery, Reason
from consent.vault import KeyWrap
from gateway.audiences.contacts import Contact, Disclosures, Unusable, open_contacts
from gateway.eventlog import SealedContact

WRAP = KeyWrap(bytes(32))


class Vault:
    """Opens what is text; fails as told."""

    def open(self, sealed: SealedContact) -> str:
        if sealed.sealed == b"erased":
            raise KeyDestroyedError("gone")
        if sealed.sealed == b"broken":
            raise SealBrokenError("altered")
        return sealed.sealed.decode()


def version(sealed: bytes, position: int = 1, kind: str = "email") -> SealedContact:
    return SealedContact(1, kind, position, sealed)


def test_the_newest_version_of_each_kind_counts() -> None:
    sealed = [version(b"new", 5), version(b"old", 2), version(b"+49", 3, "phone")]
    assert open_contacts(Vault(), sealed) == Contact({"email": "new", "phone": "+49"}, 5)


def test_one_broken_kind_does_not_hide_the_other() -> None:
    found = open_contacts(Vault(), [version(b"broken"), version(b"+49", 1, "phone")])
    assert found == Contact({"phone": "+49"}, 1)


@pytest.mark.parametrize(
    ("sealed", "delivery", "reason"),
    [
        ([], Delivery.REFUSED, Reason.NO_CONTACT),
        ([version(b"erased")], Delivery.ERASED, Reason.SUBJECT_ERASED),
        ([version(b"erased"), version(b"broken", 1, "phone")], Delivery.DEAD, Reason.MALFORMED),
    ],
)
def test_nothing_usable_has_a_reason(
    sealed: list[SealedContact], delivery: Delivery, reason: Reason
) -> None:
    found = open_contacts(Vault(), sealed)
    assert isinstance(found, Unusable)
    assert (found.delivery, found.reason) == (delivery, reason)


def test_a_contact_shows_no_value() -> None:
    assert repr(Contact({"email": "a@b.example"}, 1)) == "<Contact ['email']>"


def test_a_disclosure_opens_again() -> None:
    values = {"phone": "+49", "email": "a@b.example"}
    assert Disclosures(WRAP).open(Disclosures(WRAP).seal(1, values)) == values


def test_each_disclosure_has_a_key_of_its_own() -> None:
    one, two = (Disclosures(WRAP).seal(1, {"email": "a"}) for _ in range(2))
    assert one.wrapped_key != two.wrapped_key
    assert one.sealed != two.sealed


def test_a_disclosure_does_not_open_under_another_key_ring() -> None:
    sealed = Disclosures(WRAP).seal(1, {"email": "a"})
    with pytest.raises(SealBrokenError):
        Disclosures(KeyWrap(b"x" * 32)).open(sealed)
