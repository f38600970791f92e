"""Subjects that a root leaves out after work on their sessions began: all of it waits, and goes on when they are back.

The detect lane, the lanes behind it and an Alyx, with real folders and a clock turned by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.engine import operations
from labferry.engine.reports.backlog import backlog
from labferry.engine.reports.status import current_conditions, status
from labferry.engine.settled import require_settled
from labferry.errors import LabferryError
from labferry.model import JobKind, JobState, SessionState, Stage
from support.past import FLAG, MONTH, SESSION, Past

TARGETS = 'archive = ["server"]\n'
UNKNOWN = "ZZ_0001/2026-03-02/001"  # Alyx does not know this subject


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Past]:
    lab = Past(tmp_path, ahead=0.0)
    yield lab
    lab.close()


def leave_out(lab: Past, *subjects: str) -> None:
    """End this life, and begin one whose root leaves out these subjects and no others."""
    config = Path(lab.sandbox.config)
    before, _, after = config.read_text().partition(TARGETS)
    rest = [line for line in after.splitlines() if not line.startswith("exclude_subjects")]
    names = ", ".join(f'"{name}"' for name in subjects)
    config.write_text("\n".join([f"{before}{TARGETS}exclude_subjects = [{names}]", *rest, ""]))
    lab.end()
    lab.open()
    lab.meet()


def jobs(lab: Past, session: str = SESSION) -> list[tuple[JobKind, JobState]]:
    return [(job.kind, job.state) for job in lab.journal.jobs.of_session(lab.row(session).id)]


def codes(lab: Past) -> list[str]:
    """Return what is told of; that the lanes have no threads here is no news."""
    return [one.code for one in current_conditions(lab.context, lab.live) if one.code != "lane_silent"]


def test_ruling_15_what_is_queued_of_a_subject_that_is_left_out_waits_and_goes_on_afterwards(lab: Past) -> None:
    lab.write(flag=True)
    lab.meet()
    lab.settle()
    leave_out(lab, "KS005")
    lab.work()
    assert (lab.requests(), jobs(lab)) == ([], [(JobKind.REGISTER, JobState.QUEUED)])
    assert lab.journal.jobs.claim(Stage.RESOLVE) is None
    assert lab.row().state is SessionState.IGNORED
    told = lab.explain()
    assert (told["verdict"], told["code"], told["attention"]) == ("ignored_subject", "exclude_subjects", False)
    evidence = " | ".join(fact["what"] for fact in told["evidence"])
    assert "complete (generation 1)" in evidence
    assert "register job 1 is queued" in evidence
    assert lab.show()["excluded_at"] is not None
    assert status(lab.context, lab.live)["oldest_waiting_s"] is None
    leave_out(lab)
    lab.work()
    assert (lab.row().state, lab.show()["excluded_at"]) == (SessionState.ARCHIVED, None)


def test_ruling_22_what_is_registered_stays_so_and_is_archived_when_its_subject_is_back(lab: Past) -> None:
    lab.write(flag=True)
    lab.meet()
    lab.settle()
    lab.work_until(Stage.REGISTER)
    leave_out(lab, "KS005")
    lab.work()
    assert (lab.requests(), lab.row().state) == ([], SessionState.REGISTERED)
    told = lab.explain()
    assert (told["verdict"], told["attention"]) == ("ignored_subject", False)
    assert f"registered in Alyx as {lab.row().eid}" in told["message"]
    leave_out(lab)
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED


def test_ruling_15_what_settles_is_not_looked_into_and_is_no_alarm(lab: Past) -> None:
    folder = lab.write()
    lab.meet()
    lab.settle()
    leave_out(lab, "KS005")
    (folder / FLAG).touch()
    lab.clock.pass_by(2 * 86_400.0)
    lab.work()
    assert (lab.row().state, lab.row().signal, jobs(lab)) == (SessionState.IGNORED, None, [])
    assert (lab.explain()["verdict"], codes(lab)) == ("ignored_subject", [])
    leave_out(lab)
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED


def test_ruling_22_a_finished_session_stays_as_it_is_without_alarm(lab: Past, tmp_path: Path) -> None:
    folder = lab.write(flag=True)
    lab.meet()
    lab.work()
    leave_out(lab, "KS005")
    folder.rename(tmp_path / "away")
    lab.settle()
    told = lab.explain()
    assert (lab.row().state, lab.row().vanished_at) == (SessionState.ARCHIVED, None)
    assert (told["verdict"], told["attention"], codes(lab)) == ("ok_archived", False, [])
    assert "subject KS005 is left out" in " | ".join(fact["what"] for fact in told["evidence"])
    (tmp_path / "away").rename(folder)
    leave_out(lab)
    lab.work()
    assert (lab.requests(), lab.row().state) == ([], SessionState.ARCHIVED)


def test_ruling_22_what_is_blocked_needs_nobody_while_its_subject_is_left_out(lab: Past) -> None:
    lab.write(UNKNOWN, flag=True)
    lab.meet()
    lab.work()
    assert lab.explain(UNKNOWN)["code"] == "subject_not_on_alyx"
    leave_out(lab, "ZZ_0001")
    told = lab.explain(UNKNOWN)
    assert (told["verdict"], told["attention"], codes(lab)) == ("ignored_subject", False, [])
    assert lab.show(UNKNOWN)["attention"] is None
    assert operations.stuck(lab.context) == [], "nothing to retry"
    with pytest.raises(LabferryError, match="leaves subject ZZ_0001 out") as refused:
        require_settled(lab.context, lab.row(UNKNOWN), "registered")
    assert "exclude_subjects" in refused.value.hint
    leave_out(lab)
    assert (lab.explain(UNKNOWN)["code"], codes(lab)) == ("subject_not_on_alyx", ["attention"])


def test_ruling_02_about_history_of_a_subject_that_is_left_out_nobody_is_asked(tmp_path: Path) -> None:
    lab = Past(tmp_path, ahead=MONTH)
    try:
        lab.write()
        lab.meet()
        leave_out(lab, "KS005")
        lab.ask()
        assert (lab.requests(), lab.row().state) == ([], SessionState.IGNORED)
        assert (lab.journal.backlog.unasked(), status(lab.context, lab.live)["history"]) == ([], {"unasked": 0})
        assert backlog(lab.context)["counts"]["unasked"] == 0, "it would never be asked about"
        leave_out(lab)
        lab.ask()
        assert lab.standing() == ("backlog", "history_unknown")
        leave_out(lab, "KS005")
        assert (backlog(lab.context)["counts"]["backlog"], backlog(lab.context)["reasons"]) == (0, [])
    finally:
        lab.close()
