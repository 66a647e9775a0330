import dataclasses

import pytest
from msgspec.structs import replace

from consent.outcome import Delivery, Reason
from segments.audiences.membership import (
    Ended,
    Held,
    Membership,
    Phase,
    Settlement,
    fence_ended,
    recover,
    refuse,
    settle,
    start,
    undo,
    unwant,
    want,
)
from segments.destination import Fate, Operation

ADD, REMOVE = Operation.ADD, Operation.REMOVE
NEW = Membership(slot=1)
QUEUED = want(NEW, 5, 100).row
RUNNING = start(replace(QUEUED, phase=Phase.RELEASED), 7)
ACCEPTED = replace(RUNNING, phase=Phase.ACCEPTED)
MEMBER = Membership(slot=1, desired=True, held=Held.YES)
LEAVING = unwant(MEMBER, 100).row
GOING = start(LEAVING, 9)


def came(fate: Fate, job: int = 7, **more: object) -> Settlement:
    return dataclasses.replace(Settlement(job=job, fate=fate, before=Held.NO, batch=2), **more)  # type: ignore[arg-type]


def test_wanting_somebody_new_opens_an_addition() -> None:
    step = want(NEW, 5, 100)
    assert (step.opened, step.row.phase, step.row.since) == (ADD, Phase.QUEUED, 100)


def test_wanting_a_member_opens_nothing() -> None:
    assert want(MEMBER, 5, 100).opened is None


def test_wanting_somebody_on_the_way_out_waits_for_the_removal() -> None:
    step = want(LEAVING, 5, 100)
    assert (step.opened, step.row.operation, step.row.desired) == (None, REMOVE, True)


def test_leaving_the_segment_opens_a_removal() -> None:
    assert unwant(MEMBER, 100).opened is REMOVE


def test_an_addition_not_sent_ends_refused_when_they_left_the_segment() -> None:
    step = unwant(QUEUED, 100)
    assert step.ended == Ended(ADD, Delivery.REFUSED, Reason.NOT_SELECTED)
    assert step.row.operation is None


def test_an_addition_not_sent_ends_withdrawn_when_consent_went() -> None:
    step = unwant(QUEUED, 100, denied_at=6)
    assert step.ended == Ended(ADD, Delivery.WITHDRAWN, Reason.CONSENT_WITHDRAWN)


def test_an_addition_not_sent_ends_erased_when_the_person_was() -> None:
    step = unwant(QUEUED, 100, denied_at=6, delivery=Delivery.ERASED)
    assert step.ended == Ended(ADD, Delivery.ERASED)


def test_an_addition_in_flight_keeps_the_only_place() -> None:
    step = unwant(RUNNING, 100, denied_at=6)
    assert (step.opened, step.ended, step.row.desired) == (None, None, False)


@pytest.mark.parametrize("fate", [Fate.CONFIRMED, Fate.ACCEPTED, Fate.IN_DOUBT, Fate.SPLIT])
def test_an_addition_that_may_have_worked_is_followed_by_a_removal(fate: Fate) -> None:
    step = settle(unwant(RUNNING, 100, denied_at=6).row, came(fate), 200)
    assert step.opened is REMOVE
    assert step.ended is not None


def test_an_addition_that_surely_did_nothing_is_followed_by_nothing() -> None:
    unwanted = unwant(RUNNING, 100, denied_at=6).row
    step = settle(unwanted, came(Fate.RETRY, effect=False), 200)
    assert (step.opened, step.row.held) == (None, Held.NO)
    assert step.ended == Ended(ADD, Delivery.WITHDRAWN, Reason.CONSENT_WITHDRAWN)


def test_an_addition_in_doubt_ends_in_doubt_when_a_removal_follows() -> None:
    doubt = settle(RUNNING, came(Fate.IN_DOUBT), 200).row
    step = unwant(doubt, 300, denied_at=6)
    assert step.ended == Ended(ADD, Delivery.IN_DOUBT)
    assert step.opened is REMOVE


def test_a_confirmed_addition_makes_a_member() -> None:
    step = settle(RUNNING, came(Fate.CONFIRMED), 200)
    assert step.ended == Ended(ADD, Delivery.DELIVERED)
    assert (step.row.held, step.row.operation) == (Held.YES, None)


def test_a_rejected_addition_is_refused_and_nothing_is_held() -> None:
    step = settle(RUNNING, came(Fate.REJECTED), 200)
    assert step.ended == Ended(ADD, Delivery.REFUSED, Reason.REJECTED)
    assert step.row.held is Held.NO


def test_a_refused_batch_is_sent_again_in_halves() -> None:
    row = settle(RUNNING, came(Fate.SPLIT, batch=5), 200).row
    assert (row.phase, row.batch) == (Phase.DOUBT, 2)


def test_a_refused_batch_of_one_is_a_rejection() -> None:
    step = settle(RUNNING, came(Fate.SPLIT, batch=1), 200)
    assert step.ended == Ended(ADD, Delivery.REFUSED, Reason.REJECTED)


def test_the_answer_to_a_superseded_job_changes_nothing() -> None:
    assert settle(RUNNING, came(Fate.CONFIRMED, job=8), 200).row == RUNNING


def test_a_removal_overtakes_an_accepted_addition_and_is_repeated_after_it() -> None:
    removing = unwant(ACCEPTED, 100, denied_at=6)
    assert removing.opened is REMOVE
    sent = start(removing.row, 9)
    early = settle(sent, came(Fate.CONFIRMED, job=9, fence_open=True), 200)
    assert (early.opened, early.row.held) == (None, Held.MAYBE)
    assert fence_ended(early.row, 7, 300).opened is REMOVE


def test_a_removal_sent_before_the_addition_ended_is_repeated_at_once() -> None:
    sent = start(unwant(ACCEPTED, 100, denied_at=6).row, 9)
    assert fence_ended(sent, 7, 150).row == sent
    step = settle(sent, came(Fate.CONFIRMED, job=9, fence_open=False), 200)
    assert (step.opened, step.row.fence) == (REMOVE, 0)


def test_a_removal_not_sent_yet_needs_no_repetition() -> None:
    waiting = unwant(ACCEPTED, 100, denied_at=6).row
    step = fence_ended(waiting, 7, 150)
    assert (step.opened, step.row.fence, step.row.operation) == (None, 0, REMOVE)


def test_nobody_comes_back_before_the_repeated_removal() -> None:
    sent = start(unwant(ACCEPTED, 100, denied_at=6).row, 9)
    early = settle(sent, came(Fate.CONFIRMED, job=9, fence_open=True), 200).row
    assert want(early, 8, 300).opened is None


def test_the_end_of_another_job_repeats_nothing() -> None:
    assert fence_ended(MEMBER, 7, 100).opened is None


def test_a_confirmed_removal_holds_nothing() -> None:
    step = settle(GOING, came(Fate.CONFIRMED, job=9), 200)
    assert step.ended == Ended(REMOVE, Delivery.DELIVERED)
    assert step.row.held is Held.NO


def test_whoever_is_wanted_again_returns_after_the_removal() -> None:
    step = settle(want(GOING, 5, 100).row, came(Fate.CONFIRMED, job=9), 200)
    assert (step.opened, step.ended) == (ADD, Ended(REMOVE, Delivery.DELIVERED))


@pytest.mark.parametrize("fate", [Fate.RETRY, Fate.REJECTED, Fate.IN_DOUBT, Fate.BLOCKED])
def test_a_removal_is_never_given_up(fate: Fate) -> None:
    step = settle(GOING, came(fate, job=9, due=250), 200)
    assert step.ended is None
    assert (step.row.operation, step.row.due) == (REMOVE, 250)


def test_an_accepted_removal_is_open_until_it_is_confirmed() -> None:
    row = settle(GOING, came(Fate.ACCEPTED, job=9), 200).row
    assert (row.phase, row.held) == (Phase.ACCEPTED, Held.YES)


def test_an_accepted_removal_that_is_never_confirmed_counts_as_done() -> None:
    assert settle(GOING, came(Fate.ACCEPTED, job=9, final=True), 200).row.held is Held.NO


def test_what_was_in_flight_at_a_crash_is_in_doubt() -> None:
    assert recover(RUNNING, 200).row.phase is Phase.DOUBT
    assert recover(QUEUED, 200).row == QUEUED


def test_what_was_in_flight_at_a_crash_and_unwanted_is_removed() -> None:
    assert recover(unwant(RUNNING, 100, denied_at=6).row, 200).opened is REMOVE


def test_a_removal_in_flight_at_a_crash_is_sent_again() -> None:
    row = recover(GOING, 200).row
    assert (row.operation, row.phase) == (REMOVE, Phase.DOUBT)


def test_a_job_of_which_nothing_was_written_leaves_no_trace() -> None:
    row = undo(RUNNING, 7, Held.NO, 200).row
    assert (row.phase, row.held, row.tries) == (Phase.RELEASED, Held.NO, 0)
    assert undo(RUNNING, 8, Held.NO, 200).row == RUNNING


def test_a_refused_addition_remembers_the_contact_version() -> None:
    step = refuse(QUEUED, Delivery.REFUSED, Reason.NO_CONTACT, 4)
    assert (step.row.operation, step.row.contact) == (None, 4)
    assert step.ended == Ended(ADD, Delivery.REFUSED, Reason.NO_CONTACT)
