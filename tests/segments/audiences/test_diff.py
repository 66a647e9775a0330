from segments.audiences.diff import Change, Standing, diff

IN, OUT = Standing(desired=True), Standing(desired=False)


def test_new_people_enter_and_missing_ones_leave() -> None:
    found = diff([1, 2], {2: IN, 3: IN}, {}, 10)
    assert found == Change(enter=(1,), leave=(3,), stay=(2,))


def test_somebody_who_left_before_may_enter_again() -> None:
    assert diff([1], {1: OUT}, {}, 10).enter == (1,)


def test_a_denial_newer_than_the_evaluation_keeps_them_out() -> None:
    denied = Standing(desired=False, denied_at=11)
    assert diff([1], {1: denied}, {}, 10).enter == ()


def test_a_denial_older_than_the_evaluation_is_lifted_by_it() -> None:
    denied = Standing(desired=False, denied_at=10)
    assert diff([1], {1: denied}, {}, 10).enter == (1,)


def test_a_denial_newer_than_the_evaluation_takes_a_wanted_member_out() -> None:
    assert diff([1], {1: Standing(desired=True, denied_at=11)}, {}, 10).leave == (1,)


def test_linking_a_member_under_another_slot_is_not_leaving() -> None:
    found = diff([1], {2: IN}, {1: 1, 2: 1}, 10)
    assert found == Change(enter=(), leave=(), stay=(2,))


def test_one_slot_of_a_person_enters_not_two() -> None:
    assert diff([1, 2], {}, {1: 1, 2: 1}, 10).enter == (1,)


def test_a_person_known_under_another_slot_comes_back_under_it() -> None:
    assert diff([1], {2: OUT, 3: OUT}, {1: 1, 2: 1, 3: 1}, 10).enter == (2,)


def test_the_slot_named_is_preferred_where_it_is_known() -> None:
    assert diff([3], {2: OUT, 3: OUT}, {2: 2, 3: 2}, 10).enter == (3,)


def test_a_denial_of_one_slot_counts_for_the_whole_person() -> None:
    recorded = {1: IN, 2: Standing(desired=False, denied_at=11)}
    assert diff([1], recorded, {1: 1, 2: 1}, 10).leave == (1,)
