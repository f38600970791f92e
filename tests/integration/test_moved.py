"""Folders that are renamed, moved or removed after, or in the middle of, their registration (DONE-09).

The detect lane, the lanes behind it and an Alyx, with real folders and a clock turned by hand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.detect.cadence import HOUR
from labferry.engine import operations
from labferry.model import JobState, SessionState, Stage
from support.past import DATASETS, FILES, SESSION, Past

RENAMED = "KS005/2026-03-02/002"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Past]:
    lab = Past(tmp_path, ahead=0.0)
    for number in range(3, 12):  # so that one session that is missing is no disk that is missing
        lab.write(f"KS005/2026-03-02/{number:03d}", files={})
    yield lab
    lab.close()


def folder(lab: Past, session: str = SESSION) -> Path:
    return lab.sandbox.places.watch_root / session


def move(lab: Past, old: str, new: str) -> None:
    folder(lab, new).parent.mkdir(parents=True, exist_ok=True)
    folder(lab, old).rename(folder(lab, new))


def blocked(lab: Past, session: str) -> list[str]:
    jobs = lab.journal.jobs.of_session(lab.row(session).id)
    return [job.code for job in jobs if job.state is JobState.BLOCKED]


def record(lab: Past) -> None:
    """Let a session be registered and archived."""
    lab.write(flag=True)
    lab.meet()
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED
    lab.count_anew()


@pytest.mark.parametrize("new", [RENAMED, "ZM_1150/2026-03-02/001", "KS005/2026-03-03/001"])
def test_done_09_a_session_renamed_after_registration_is_told_of_and_not_registered_twice(lab: Past, new: str) -> None:
    record(lab)
    move(lab, SESSION, new)
    lab.work()
    lab.work()
    assert lab.changes() == []
    assert lab.explain()["verdict"] == "moved"
    assert new in lab.explain()["message"]
    told = lab.explain(new)
    assert (told["verdict"], told["code"], told["attention"]) == ("moved", "moved", True)
    assert SESSION in told["message"]
    assert (lab.row().eid or "?") in told["message"]


def test_done_09_the_new_name_is_registered_once_a_person_says_so(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.work()
    operations.retry(lab.context, [lab.row(RENAMED)])
    lab.work()
    assert lab.row(RENAMED).state is SessionState.ARCHIVED
    assert len(lab.requests("POST", "/sessions")) == 1


def test_done_09_a_folder_that_is_renamed_back_goes_on_as_if_nothing_had_been(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    move(lab, RENAMED, SESSION)
    lab.work()
    lab.work()
    assert lab.changes() == []
    assert lab.row().state is SessionState.ARCHIVED
    assert lab.explain()["verdict"] == "ok_archived"
    assert lab.row(RENAMED).attention is False
    move(lab, SESSION, RENAMED)
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"], "and once more"
    assert lab.changes() == []


def test_done_09_what_is_recorded_where_a_session_was_by_mistake_waits_for_its_own_signal(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.work()
    move(lab, RENAMED, SESSION)
    lab.work()
    lab.write(RENAMED)  # the rig records the second session of the day
    lab.work()
    assert (lab.row(RENAMED).state, lab.row(RENAMED).wait_code) == (SessionState.SETTLING, "waiting_signal")
    assert "begins anew" in "".join(fact["what"] for fact in lab.explain(RENAMED)["evidence"])
    assert lab.changes() == []
    lab.write(RENAMED, flag=True)
    lab.work()
    assert lab.row(RENAMED).state is SessionState.ARCHIVED


def test_done_09_a_session_that_lost_its_data_since_is_known_by_its_new_name(lab: Past) -> None:
    record(lab)
    for name in DATASETS:
        (folder(lab) / name).unlink()
    for _ in range(24):
        lab.clock.pass_by(HOUR)
        lab.look()
    move(lab, SESSION, RENAMED)
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    assert lab.changes() == []


def test_done_09_a_link_left_under_the_old_name_does_not_make_two_of_a_session(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    folder(lab).symlink_to(folder(lab, RENAMED).name)
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    assert lab.changes() == []


def test_done_09_a_link_left_under_the_old_name_of_its_day_does_not_make_two_of_a_session(lab: Past) -> None:
    old, new = "ZM_1150/2026-03-02", "ZM_1150/2026-03-03"
    lab.write(f"{old}/001", flag=True)
    record(lab)
    move(lab, old, new)
    folder(lab, old).symlink_to(folder(lab, new).name)
    lab.work()
    lab.work()
    assert blocked(lab, f"{new}/001") == ["moved"]
    assert lab.changes() == []


@pytest.mark.parametrize("stage", [Stage.RESOLVE, Stage.SEAL, Stage.REGISTER])
def test_done_09_a_folder_renamed_in_mid_job_is_one_session_in_alyx(lab: Past, stage: Stage) -> None:
    lab.write(flag=True)
    lab.meet()
    lab.settle()
    lab.work_until(stage)
    move(lab, SESSION, RENAMED)
    lab.work()
    lab.work()
    sessions = lab.alyx("GET", "/sessions?subject=KS005")["results"]
    assert len(sessions) == 1
    if stage is Stage.REGISTER:
        assert (sessions[0]["number"], blocked(lab, RENAMED)) == (1, ["moved"])
    else:
        assert (sessions[0]["number"], lab.row(RENAMED).state) == (2, SessionState.ARCHIVED)
    assert lab.explain()["verdict"] == "moved"
    move(lab, RENAMED, SESSION)
    lab.work()
    lab.work()
    if stage is Stage.REGISTER:
        assert lab.row().state is SessionState.ARCHIVED
    else:
        assert blocked(lab, SESSION) == ["moved"], "by now it is the other name that Alyx has"
    assert len(lab.alyx("GET", "/sessions?subject=KS005")["results"]) == 1


def test_done_09_a_rename_while_the_answer_to_the_creation_is_lost_makes_no_second_session(lab: Past) -> None:
    lab.write(flag=True)
    lab.meet()
    lab.settle()
    lab.work_until(Stage.SEAL)
    lab.sandbox.faults.add({"match": "POST /sessions", "when": "after", "action": "drop", "times": 1})
    lab.turn_once()
    assert lab.row().eid is None
    assert len(lab.requests("POST", "/sessions")) == 1
    move(lab, SESSION, RENAMED)
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    assert len(lab.alyx("GET", "/sessions?subject=KS005")["results"]) == 1


@pytest.mark.parametrize("stage", [Stage.RESOLVE, Stage.SEAL, Stage.REGISTER])
def test_done_09_a_folder_deleted_in_mid_job_is_waited_for_and_told_of(lab: Past, stage: Stage, tmp_path: Path) -> None:
    lab.write(flag=True)
    lab.meet()
    lab.settle()
    lab.work_until(stage)
    folder(lab).rename(tmp_path / "removed")
    lab.work()
    lab.work()
    assert lab.explain()["verdict"] == "vanished"
    assert blocked(lab, SESSION) == []
    (tmp_path / "removed").rename(folder(lab))
    lab.work()
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED
    assert len(lab.alyx("GET", "/sessions?subject=KS005")["results"]) == 1


def test_done_09_a_copy_beside_the_original_is_a_session_of_its_own(lab: Past) -> None:
    record(lab)
    lab.write(RENAMED, flag=True)
    lab.work()
    lab.work()
    assert lab.row(RENAMED).state is SessionState.ARCHIVED


def test_done_09_a_new_session_in_the_old_place_does_not_hide_that_the_old_one_was_renamed(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.write(files={DATASETS[0]: b"of another session"}, flag=True)
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    assert blocked(lab, SESSION) == ["changed_after_archive"], "and what is in the old place now is told of as well"
    assert lab.changes() == []


def test_done_09_a_renamed_session_is_known_although_what_is_in_its_old_place_was_looked_into_first(lab: Past) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.write(files={DATASETS[0]: b"of another session"}, flag=True)
    lab.detect.rescan()  # as a hint does
    for _ in range(3):
        lab.look()
    assert lab.row().complete_at is None, "what is there now was seen"
    lab.work()
    lab.work()
    assert blocked(lab, RENAMED) == ["moved"]
    assert lab.changes() == []


def test_done_09_a_session_in_the_place_of_a_renamed_one_is_not_told_to_be_that_one(lab: Past, tmp_path: Path) -> None:
    record(lab)
    move(lab, SESSION, RENAMED)
    lab.work()
    move(lab, RENAMED, SESSION)
    lab.work()
    lab.write(RENAMED, {name: content + b" of another one" for name, content in FILES.items()}, flag=True)
    lab.work()
    assert lab.row(RENAMED).state is SessionState.ARCHIVED
    folder(lab).rename(tmp_path / "away")  # as of an archived session that is tidied up
    lab.work()
    assert (lab.explain()["verdict"], lab.row(RENAMED).moved_from) == ("ok_archived", None)


def test_done_09_an_adopted_session_that_is_renamed_is_not_registered_under_its_new_name(tmp_path: Path) -> None:
    lab = Past(tmp_path)
    try:
        lab.write(files={"notes.txt": b"not a dataset"}, flag=True)
        lab.write("KS005/2026-03-02/003")  # so that the disk is not empty
        lab.register(names=())
        lab.adopt()
        assert lab.row().state is SessionState.ADOPTED
        lab.end()
        lab.environ["LABFERRY_DETECTION__HISTORY_AGE"] = "400d"  # what comes from now on is no history
        lab.open()
        lab.meet()
        for _ in range(8):
            lab.clock.pass_by(HOUR / 4)
            lab.look()
        move(lab, SESSION, RENAMED)
        lab.work()
        lab.work()
        assert blocked(lab, RENAMED) == ["moved"]
        assert lab.explain()["verdict"] == "moved"
        assert (lab.row().eid or "?") in lab.explain(RENAMED)["message"]
        assert lab.changes() == []
    finally:
        lab.close()


def test_done_09_a_session_that_lost_a_file_in_the_same_moment_is_known_by_its_new_name(lab: Past) -> None:
    record(lab)
    (folder(lab) / "notes.txt").unlink()
    move(lab, SESSION, RENAMED)
    lab.work()
    lab.work()
    assert (blocked(lab, RENAMED), lab.changes()) == (["moved"], [])
    assert lab.explain()["verdict"] == "moved"
    assert RENAMED in lab.explain()["message"]
    told = lab.explain(RENAMED)
    assert SESSION in told["message"]
    assert any(f"most of its files were at {folder(lab)}" in fact["what"] for fact in told["evidence"])
    move(lab, RENAMED, SESSION)
    lab.work()
    lab.work()
    assert (lab.row().state, lab.explain()["verdict"]) == (SessionState.ARCHIVED, "ok_archived")


def test_done_09_many_sessions_that_lost_a_file_and_were_renamed_at_once_are_known(lab: Past) -> None:
    sessions = [f"KS005/2026-03-03/{number:03d}" for number in range(1, 9)]
    for session in sessions:
        lab.write(session, {name: content + session.encode() for name, content in FILES.items()}, flag=True)
    lab.meet()
    lab.work()
    lab.count_anew()
    for session in sessions:
        (folder(lab, session) / "notes.txt").unlink()
        move(lab, session, session.replace("KS005", "ZM_1150"))
    lab.work()
    assert "disappeared at once" in lab.detect.facts()[0].problem, "none of them counts as vanished"
    assert lab.changes() == []
    assert [blocked(lab, session.replace("KS005", "ZM_1150")) for session in sessions] == [["moved"]] * 8


def test_done_09_a_new_session_with_the_settings_of_one_that_was_deleted_is_a_session(lab: Past) -> None:
    record(lab)
    old = folder(lab) / "alf" / "_ibl_trials.intervals.npy"
    times = old.stat().st_mtime_ns
    shutil.rmtree(folder(lab))
    new = lab.write(RENAMED, {**FILES, "alf/_ibl_wheel.position.npy": b"others"}, flag=True)
    os.utime(new / "alf" / "_ibl_trials.intervals.npy", ns=(times, times))
    lab.work()
    lab.work()
    assert (blocked(lab, RENAMED), lab.row(RENAMED).state) == ([], SessionState.ARCHIVED)
