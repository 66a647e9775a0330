"""What the simulated platforms hold, and how a script of faults is used up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.state import Audience, Call, Entry, Fault, Faults, Journal, Kind

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def a_digest(number: int) -> str:
    return f"{number:064x}"


def an_entry(journal: Journal, body: bytes) -> Entry:
    entry = journal.open("meta", Kind.ADD, "POST", "/")
    journal.received(entry, body, complete=True)
    return entry


def test_row_is_one_person_and_adding_again_changes_nothing() -> None:
    audience = Audience()
    for _ in range(2):
        audience.add([a_digest(1), a_digest(2)])
    assert len(audience) == 1


def test_any_one_digest_removes_the_whole_person() -> None:
    audience = Audience()
    audience.add([a_digest(1), a_digest(2)])
    audience.add([a_digest(3)])
    audience.remove([a_digest(2)])
    assert audience.digests() == [a_digest(3)]


def test_digest_shared_by_two_rows_makes_them_one_person() -> None:
    audience = Audience()
    audience.add([a_digest(1)])
    audience.add([a_digest(2)])
    audience.add([a_digest(1), a_digest(2)])
    assert len(audience) == 1
    audience.remove([a_digest(1)])
    assert len(audience) == 0


@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 8), min_size=1, max_size=3))))
def test_every_digest_belongs_to_exactly_one_person(steps: list[tuple[bool, set[int]]]) -> None:
    audience = Audience()
    for adding, numbers in steps:
        digests = [a_digest(number) for number in sorted(numbers)]
        (audience.add if adding else audience.remove)(digests)
        held = audience.digests()
        assert len(held) == len(set(held)) >= len(audience)
        assert adding == set(digests).issubset(held) or not adding


def test_journal_finds_a_digest_and_no_shifted_one() -> None:
    entry = an_entry(Journal(lambda: 1.0), f'["{"ab" * 32}","{"cd" * 32}"]'.encode())
    assert entry.holds("ab" * 32)
    assert not entry.holds("ab" * 16 + "cd" * 16)
    assert not entry.holds("00" * 32)


def test_journal_counts_what_must_never_arrive() -> None:
    body = f'["jane@example.de","+491712345678","{EMPTY}","{a_digest(1)}"]'.encode()
    assert an_entry(Journal(lambda: 1.0), body).plaintext == 3


def test_journal_shows_digests_only_where_asked() -> None:
    entry = an_entry(Journal(lambda: 1.0), f'"{a_digest(1)}"'.encode())
    assert "digests" not in entry.shown(digests=False)
    assert entry.shown(digests=True)["digests"] == [a_digest(1)]


def test_journal_lets_the_oldest_digests_go() -> None:
    journal = Journal(lambda: 1.0)
    first = an_entry(journal, f'"{a_digest(1)}"'.encode())
    journal._packed = 64 * 1_048_576
    second = an_entry(journal, f'"{a_digest(2)}"'.encode())
    assert not first.holds(a_digest(1))
    assert second.holds(a_digest(2))
    assert journal.since(first.number) == [second]


def test_fault_is_used_up_by_the_requests_it_fits() -> None:
    faults = Faults([Fault(platform="meta", fault="reset", count=2)])
    assert faults.take("google", Kind.ADD) is None
    assert faults.take("meta", Kind.STATUS) is None
    assert [faults.take("meta", Kind.ADD) is not None for _ in range(3)] == [True, True, False]


def test_fault_without_a_count_stays() -> None:
    faults = Faults([Fault(platform="meta", fault="reset", count=0)])
    assert all(faults.take("meta", Kind.REMOVE) for _ in range(5))


def test_fault_may_be_for_one_operation_or_for_questions() -> None:
    removing = Fault(platform="google", fault="throttle", operation="remove")
    asking = Fault(platform="google", fault="http500", on="status")
    faults = Faults([removing, asking])
    assert faults.take("google", Kind.ADD) is None
    assert faults.take("google", Kind.REMOVE) is removing
    assert faults.take("google", Kind.STATUS) is asking


def test_only_a_bearer_token_counts() -> None:
    def token(header: dict[str, str]) -> str:
        return Call(kind=Kind.ADD, audience="", headers=header, query={}, body=b"", now=0.0).token

    assert token({"authorization": "Bearer t"}) == "t"
    assert token({"authorization": "Basic t"}) == ""
    assert token({}) == ""
