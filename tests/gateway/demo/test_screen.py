"""The last screen shows every number, and names what is amiss."""

import io

from rich.console import Console

from gateway.demo.screen import Report, show


def _screen(report: Report) -> str:
    stream = io.StringIO()
    show(report, Console(file=stream, width=100))
    return stream.getvalue()


REPORT = Report(
    entered=1_500,
    outcomes={("accepted", ""): 1_200, ("refused", "consent_unknown"): 300},
    balance={"residue": 0},
    sizes={"high_value": "75", "regional": "< 10"},
    received={"meta": {"5678": 783}},
    before={"meta": 786},
    requests={"meta": 4},
    removal_ms=840,
)


def test_the_screen_shows_what_was_found() -> None:
    text = _screen(REPORT)
    for word in ("1,500", "residue 0", "consent_unknown", "300", "75", "< 10", "786", "783", "840"):
        assert word in text


def test_the_screen_names_what_is_amiss() -> None:
    text = _screen(Report(problems=["a platform still holds a member who withdrew"]))
    assert "amiss: a platform still holds" in text


def test_without_a_removal_no_time_is_shown() -> None:
    assert "withdrew" not in _screen(Report())
