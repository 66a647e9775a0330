"""What one destination's paths do, against a scripted platform."""

import asyncio
import re
from collections.abc import Coroutine

import pytest

from consent.outcome import Delivery
from consent.vault import KeyWrap
from gateway.audiences.status import balance, status
from gateway.eventlog import SealedContact
from segments.audiences.membership import Held
from segments.destination import Operation
from tests.gateway.audiences.rig import Died, Rig, SlowAudience, digest_of, email

ADD, REMOVE = Operation.ADD, Operation.REMOVE


def run(work: Coroutine[object, object, object]) -> None:
    asyncio.run(work)


def members(rig: Rig, *slots: int) -> bool:
    return rig.platform.members == {digest_of(slot) for slot in slots}


def filled(rig: Rig, *slots: int) -> None:
    rig.front.grant(*slots)
    rig.evaluate(*slots)
    run(rig.settle())


def outcome(rig: Rig, delivery: Delivery) -> int:
    return balance(rig.store)["plain"][delivery.value]


def test_an_audience_below_the_minimum_does_not_leave(rig: Rig) -> None:
    filled(rig, 1, 2)
    assert rig.platform.requests == []


def test_an_audience_of_the_minimum_leaves(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    assert members(rig, 1, 2, 3)


def test_an_addition_below_the_minimum_waits_until_enough_have_gathered(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    filled(rig, 1, 2, 3, 4, 5)
    assert members(rig, 1, 2, 3)
    filled(rig, 1, 2, 3, 4, 5, 6)
    assert members(rig, 1, 2, 3, 4, 5, 6)


def test_people_without_contact_data_do_not_fill_the_minimum(rig: Rig) -> None:
    rig.front.grant(3, contact=False)
    filled(rig, 1, 2)
    rig.evaluate(1, 2, 3)
    run(rig.settle())
    assert rig.platform.requests == []
    assert outcome(rig, Delivery.REFUSED) == 1


def test_a_release_that_shrinks_at_the_wire_stays(rig: Rig) -> None:
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    asyncio.run(rig.lanes[0].add())
    rig.front.erased.add(2)
    run(rig.settle())
    assert rig.platform.requests == []
    assert outcome(rig, Delivery.ERASED) == 1


def test_a_removal_is_never_held_for_the_minimum(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.front.withdraw(2)
    run(rig.tick())
    assert rig.platform.of(REMOVE) == [frozenset({digest_of(2)})]


def test_leaving_the_segment_removes(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.evaluate(1, 2)
    run(rig.settle())
    assert members(rig, 1, 2)


def test_withdrawing_another_purpose_removes_nobody(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.front.withdraw(2, frozenset({"analytics"}))
    run(rig.settle())
    assert rig.platform.of(REMOVE) == []


def test_a_withdrawal_by_any_slot_of_a_person_removes_them(rig: Rig) -> None:
    rig.front.linked = {1: 1, 9: 1}
    rig.front.grant(9)
    filled(rig, 1, 2, 3)
    rig.front.withdraw(9)
    run(rig.settle())
    assert members(rig, 2, 3)


def test_a_withdrawal_while_the_courier_was_down_removes(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.close()
    rig.front.withdraw(2)
    rig.open()
    run(rig.settle())
    assert members(rig, 1, 3)


def test_a_person_who_withdrew_before_the_send_is_never_sent(rig: Rig) -> None:
    rig.front.grant(1, 2, 3, 4)
    rig.evaluate(1, 2, 3, 4)
    rig.front.withdraw(2)
    run(rig.settle())
    assert members(rig, 1, 3, 4)
    assert rig.platform.of(REMOVE) == []
    assert outcome(rig, Delivery.WITHDRAWN) == 1


def test_consent_that_lapsed_without_a_record_is_found_at_the_wire(rig: Rig) -> None:
    rig.front.grant(1, 2, 3, 4)
    rig.evaluate(1, 2, 3, 4)
    asyncio.run(rig.lanes[0].add())
    rig.front.granted[2] = frozenset()
    run(rig.settle())
    assert members(rig, 1, 3, 4)
    assert outcome(rig, Delivery.WITHDRAWN) == 1


def test_consent_that_moves_after_the_members_were_chosen_stops_the_request(rig: Rig) -> None:
    rig.front.grant(1, 2, 3, 4)
    rig.evaluate(1, 2, 3, 4)
    opened = rig.front.open

    def open_and_withdraw(sealed: SealedContact) -> str:
        rig.means.vault.open = opened  # type: ignore[method-assign]
        rig.front.withdraw(2)
        return opened(sealed)

    rig.means.vault.open = open_and_withdraw  # type: ignore[method-assign]
    run(rig.settle())
    assert all(digest_of(2) not in people for people in rig.platform.of(ADD))


def test_a_removal_sends_what_was_disclosed_not_what_is_known_now(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.front.emails[2] = (rig.front.position, "new@shop.example")
    rig.front.withdraw(2)
    run(rig.settle())
    assert rig.platform.of(REMOVE) == [frozenset({digest_of(2)})]


def test_an_erased_person_is_still_removed(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    del rig.front.emails[2]
    rig.front.erase(2)
    run(rig.settle())
    assert members(rig, 1, 3)


def test_both_contact_versions_that_were_shown_are_removed(rig: Rig) -> None:
    rig.platform.entries = [(True, "lost")]
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    run(rig.tick())
    run(rig.tick())
    rig.front.emails[2] = (rig.front.position, email(8))
    run(rig.settle())
    rig.front.withdraw(2)
    run(rig.settle())
    assert rig.platform.of(REMOVE) == [frozenset({digest_of(2), digest_of(8)})]
    assert members(rig, 1, 3)


def test_what_was_disclosed_is_destroyed_when_the_removal_settled(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.front.withdraw(2)
    run(rig.settle())
    with rig.store.read() as back:
        assert set(back.disclosed("plain", "vip", [1, 2, 3])) == {1, 3}


def test_no_identifier_and_no_digest_is_in_the_file(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    raw = b"".join(path.read_bytes() for path in rig.folder.iterdir())
    for slot in (1, 2, 3):
        assert email(slot).encode() not in raw
        assert digest_of(slot).encode() not in raw
        assert bytes.fromhex(digest_of(slot)) not in raw


def test_members_with_other_consents_go_in_another_job(rig: Rig) -> None:
    rig.front.grant(4, 5, purposes=frozenset({"audience_sync", "ads_personalised"}))
    filled(rig, 1, 2, 3)
    rig.evaluate(1, 2, 3, 4, 5)
    rig.front.grant(6)
    rig.evaluate(1, 2, 3, 4, 5, 6)
    run(rig.settle())
    assert members(rig, 1, 2, 3, 4, 5, 6)
    together = [people for people in rig.platform.of(ADD) if digest_of(4) in people]
    assert together == [frozenset({digest_of(4), digest_of(5)})]


def test_a_purpose_no_platform_is_told_about_does_not_part_members(rig: Rig) -> None:
    rig.front.grant(3, purposes=frozenset({"audience_sync", "analytics"}))
    filled(rig, 1, 2)
    rig.evaluate(1, 2, 3)
    run(rig.settle())
    assert len(rig.platform.of(ADD)) == 1


def test_a_lost_answer_is_in_doubt_and_sent_again(rig: Rig) -> None:
    rig.platform.entries = [(True, "lost")]
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    run(rig.tick())
    run(rig.tick())
    assert outcome(rig, Delivery.IN_DOUBT) == 3
    run(rig.settle())
    assert members(rig, 1, 2, 3)
    assert outcome(rig, Delivery.DELIVERED) == 3


def test_rows_are_settled_one_by_one(rig: Rig) -> None:
    rig.platform.entries = [(True, "partial rejected")]
    filled(rig, 1, 2, 3)
    assert outcome(rig, Delivery.DELIVERED) == 2
    assert outcome(rig, Delivery.REFUSED) == 1


def test_whoever_was_rejected_is_tried_again_with_a_newer_contact_value(rig: Rig) -> None:
    rig.minimum = 1
    rig.crash()
    rig.platform.entries = [(True, "partial rejected")]
    filled(rig, 1, 2, 3)
    rig.front.position += 1
    rig.front.emails[1] = (rig.front.position, email(8))
    run(rig.courier.sweep())
    run(rig.settle())
    assert members(rig, 8, 2, 3)


def test_a_refused_batch_is_halved_until_the_bad_row_is_found(rig: Rig) -> None:
    rig.platform.entries = [(False, "split"), (False, "split"), (True, "rejected")]
    filled(rig, 1, 2, 3, 4)
    assert [len(people) for people in rig.platform.of(ADD)] == [4, 2, 1, 1, 2]
    assert outcome(rig, Delivery.REFUSED) == 1


def test_an_expired_credential_is_read_again_once(rig: Rig) -> None:
    rig.platform.entries = [(False, "refresh")]
    filled(rig, 1, 2, 3)
    assert members(rig, 1, 2, 3)


def test_a_credential_that_stays_expired_parks_the_path(rig: Rig) -> None:
    rig.platform.entries = [(False, "refresh"), (False, "refresh")]
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    for _ in range(4):
        run(rig.tick())
        rig.now += 1_000
    assert status(rig.store, 1, rig.now)[0]["parked"] == ["add"]


def test_a_contract_problem_parks_additions_but_not_removals(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.platform.entries = [(False, "blocked")]
    rig.front.grant(4, 5, 6)
    rig.evaluate(1, 2, 3, 4, 5, 6)
    run(rig.tick())
    run(rig.tick())
    rig.front.withdraw(2)
    run(rig.tick())
    found = status(rig.store, 1, rig.now)[0]
    assert (found["parked"], found["last_error"]) == (["add"], "said_blocked")
    assert members(rig, 1, 3)


def test_a_restart_opens_parked_paths(rig: Rig) -> None:
    rig.platform.entries = [(False, "blocked")]
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    run(rig.tick())
    run(rig.tick())
    rig.crash()
    rig.now += 5_000
    run(rig.tick())
    assert members(rig, 1, 2, 3)


def test_throttled_additions_do_not_delay_a_removal(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.platform.entries = [(False, "retry")]
    rig.front.grant(4, 5, 6)
    rig.evaluate(1, 2, 3, 4, 5, 6)
    run(rig.tick())
    run(rig.tick())
    rig.front.withdraw(2)
    run(rig.tick())
    assert members(rig, 1, 3)


def test_nothing_is_sent_above_the_rate(rig: Rig) -> None:
    rig.rate.used_up = {ADD}
    filled(rig, 1, 2, 3)
    assert rig.platform.requests == []
    rig.rate.used_up = {REMOVE}
    run(rig.settle())
    rig.front.withdraw(2)
    run(rig.settle())
    assert rig.platform.of(REMOVE) == []
    assert outcome(rig, Delivery.PENDING) == 1


def test_a_removal_that_cannot_be_opened_is_kept_and_shown(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    wrap = rig.means.disclosures._wrap
    rig.means.disclosures._wrap = KeyWrap(b"another key ring, 32 bytes long.")
    rig.front.withdraw(2)
    run(rig.settle())
    assert status(rig.store, 1, rig.now)[0]["states"]["removing"] == 1
    rig.means.disclosures._wrap = wrap
    run(rig.settle())
    assert members(rig, 1, 3)


def test_a_contact_value_without_a_form_for_the_platform_is_refused(rig: Rig) -> None:
    rig.front.grant(4)
    rig.front.emails[4] = (rig.front.position, "not an address")
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3, 4)
    run(rig.settle())
    assert members(rig, 1, 2, 3)
    assert outcome(rig, Delivery.REFUSED) == 1


def test_a_person_who_left_while_being_prepared_is_looked_at_anew(rig: Rig) -> None:
    rig.front.grant(1, 2, 3, 4)
    rig.evaluate(1, 2, 3, 4)
    opened = rig.front.open

    def open_and_leave(sealed: SealedContact) -> str:
        rig.means.vault.open = opened  # type: ignore[method-assign]
        rig.evaluate(1, 2, 3)
        return opened(sealed)

    rig.means.vault.open = open_and_leave  # type: ignore[method-assign]
    run(rig.settle())
    assert members(rig, 1, 2, 3)
    assert rig.platform.of(REMOVE) == []


def test_a_throttled_removal_is_tried_again_within_seconds(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.platform.entries = [(False, "retry")] * 3
    rig.front.withdraw(2)
    for _ in range(4):
        run(rig.tick())
        rig.now += 3_000
    assert members(rig, 1, 3)


def test_one_platform_out_of_order_does_not_touch_another(rig: Rig) -> None:
    rig.close()
    two = Rig(rig.folder, destinations={"plain": SlowAudience(), "other": SlowAudience()})
    two.platforms["plain"].entries = [(False, "blocked")]
    filled(two, 1, 2, 3)
    assert two.platforms["other"].members == {digest_of(slot) for slot in (1, 2, 3)}
    two.close()
    rig.open()


def test_a_crash_in_mid_flight_is_recovered(rig: Rig) -> None:
    rig.platform.entries = [(True, "died")]
    rig.front.grant(1, 2, 3)
    rig.evaluate(1, 2, 3)
    with pytest.raises(Died):
        run(rig.settle())
    rig.crash()
    rig.front.withdraw(2)
    run(rig.settle())
    assert members(rig, 1, 3)


def test_expired_consent_is_found_by_the_sweep(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    del rig.front.granted[2]
    run(rig.courier.sweep())
    run(rig.settle())
    assert members(rig, 1, 3)


def test_contact_data_that_came_later_is_used_after_the_sweep(rig: Rig) -> None:
    rig.minimum = 1
    rig.crash()
    rig.front.grant(3, contact=False)
    filled(rig, 1, 2)
    rig.evaluate(1, 2, 3)
    run(rig.settle())
    rig.front.grant(3)
    run(rig.courier.sweep())
    run(rig.settle())
    assert members(rig, 1, 2, 3)


def test_an_audience_that_is_no_longer_configured_is_emptied(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    rig.desired._audiences = {}
    assert rig.desired.retire(rig.now) == 3
    run(rig.settle())
    assert members(rig)


def test_an_unreadable_seal_is_quarantined_and_counted_dead(rig: Rig) -> None:
    rig.front.grant(1, 2, 3, 4)
    rig.front.broken = {4}
    rig.evaluate(1, 2, 3, 4)
    run(rig.settle())
    assert members(rig, 1, 2, 3)
    assert outcome(rig, Delivery.DEAD) == 1


def test_a_job_names_the_position_of_its_check_and_no_member(rig: Rig) -> None:
    filled(rig, 1, 2, 3)
    with rig.store.read() as back:
        (job,) = back.jobs("plain", "done")
    assert (job.position, job.members, job.fate) == (rig.front.position, 3, "confirmed")
    assert re.fullmatch(r"[0-9a-f]{64}", job.chunk)


class TestAccepted:
    @pytest.fixture
    def slow(self, rig: Rig) -> Rig:
        rig.destinations = {"plain": SlowAudience()}
        rig.platform.usual = "accepted"
        rig.crash()
        return rig

    def test_is_asked_about_until_it_is_confirmed(self, slow: Rig) -> None:
        filled(slow, 1, 2, 3)
        assert outcome(slow, Delivery.PENDING) == 3
        slow.platform.finish("job1")
        run(slow.settle())
        assert outcome(slow, Delivery.DELIVERED) == 3
        receipts = status(slow.store, 1, slow.now)[0]["receipts"]
        assert receipts["add"] == {"accepted": 3, "confirmed": 3}

    def test_does_not_delay_a_removal_which_is_repeated_after_it(self, slow: Rig) -> None:
        filled(slow, 1, 2, 3)
        slow.front.withdraw(2)
        run(slow.tick())
        assert slow.platform.of(REMOVE) == [frozenset({digest_of(2)})]
        slow.platform.finish("job2")
        run(slow.settle())
        slow.platform.finish("job1")
        run(slow.settle())
        slow.platform.finish("job3")
        run(slow.settle())
        assert members(slow, 1, 3)
        with slow.store.read() as back:
            assert back.members("plain", "vip", [2])[2].held is Held.NO

    def test_is_sent_again_when_the_platform_lost_it(self, slow: Rig) -> None:
        filled(slow, 1, 2, 3)
        slow.platform.failed["job1"] = "in_doubt"
        run(slow.settle())
        slow.platform.finish("job2")
        run(slow.settle())
        assert outcome(slow, Delivery.DELIVERED) == 3

    def test_survives_a_restart(self, slow: Rig) -> None:
        filled(slow, 1, 2, 3)
        slow.crash()
        slow.platform.finish("job1")
        run(slow.settle())
        assert outcome(slow, Delivery.DELIVERED) == 3

    def test_is_given_up_after_two_days_and_sent_again(self, slow: Rig) -> None:
        filled(slow, 1, 2, 3)
        slow.now += 49 * 3_600_000
        run(slow.settle())
        assert len(slow.platform.of(ADD)) == 2
