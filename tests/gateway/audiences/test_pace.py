from gateway.audiences.pace import RatePace
from segments.destination import Operation

ADD, REMOVE = Operation.ADD, Operation.REMOVE


def test_removals_go_when_additions_used_up_theirs() -> None:
    pace = RatePace(200, lambda: 0.0)
    while pace.take(ADD) == 0.0:
        pass
    assert pace.take(ADD) > 0.0
    assert pace.take(REMOVE) == 0.0


def test_removals_use_what_additions_do_not() -> None:
    pace = RatePace(200, lambda: 0.0)
    removals = 0
    while pace.take(REMOVE) == 0.0:
        removals += 1
    assert removals > 200 // 10 // 4
    assert pace.take(ADD) > 0.0


def test_both_together_keep_to_the_rate() -> None:
    now = [0.0]
    pace = RatePace(60, lambda: now[0])
    sent = 0
    for tick in range(600):
        now[0] = tick / 10
        sent += pace.take(ADD) == 0.0
        sent += pace.take(REMOVE) == 0.0
    assert sent <= 60
