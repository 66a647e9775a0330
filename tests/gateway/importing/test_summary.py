"""The summary counts; the list beside the file has places and reasons, and no values."""

from pathlib import Path

import pytest

from consent.outcome import Outcome, Reason
from gateway.errors import UnreadableFileError
from gateway.importing.summary import ImportSummary, RefusedRows


def test_rows_that_were_not_taken_are_listed_by_line(tmp_path: Path) -> None:
    with RefusedRows(tmp_path / "f.csv") as refused:
        refused.note(2, Outcome.ACCEPTED, Reason.NONE)
        refused.note(3, Outcome.REFUSED, Reason.CONSENT_UNKNOWN)
        refused.note(4, Outcome.DUPLICATE, Reason.NONE)
        refused.note(5, Outcome.CONFLICT, Reason.NONE)
    assert (tmp_path / "f.csv.refused.csv").read_text().splitlines() == [
        "line,outcome,reason",
        "3,refused,consent_unknown",
        "5,conflict,",
    ]


def test_a_file_without_such_rows_leaves_no_list_not_even_an_old_one(tmp_path: Path) -> None:
    old = tmp_path / "f.csv.refused.csv"
    old.write_text("line,outcome,reason\n9,refused,gpc\n")
    with RefusedRows(tmp_path / "f.csv"):
        pass
    assert not old.exists()


def test_a_list_that_cannot_be_written_stops_the_import_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "f.csv.refused.csv").mkdir()
    with pytest.raises(UnreadableFileError, match="cannot be written"):
        RefusedRows(tmp_path / "f.csv")


def test_outcomes_are_printed_with_their_reasons() -> None:
    summary = ImportSummary()
    summary.count(Outcome.ACCEPTED, Reason.NONE)
    summary.count(Outcome.REFUSED, Reason.CONSENT_UNKNOWN)
    assert summary.to_dict()["outcomes"] == {"accepted": 1, "refused:consent_unknown": 1}
    assert summary.rows == 2


def test_kinds_of_faults_are_bounded() -> None:
    summary = ImportSummary()
    for number in range(300):
        summary.fault(f"column {number}", "not a text")
    assert len(summary.faults) == 100
