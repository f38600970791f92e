"""The detect lane with a real file system and a clock turned by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from labferry.detect.cadence import HOUR
from labferry.detect.witness import Witness
from labferry.engine.detection import keeping
from labferry.errors import UnavailableError
from labferry.model import JobKind, JobState, SessionState
from support.detection import QUIET, SCAN, Watch
from support.disks import mounted_below, seen_through_fuse
from support.recordings import describe
from support.rights import folder_for_everyone, without_rights
from support.trouble import Logs, said


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


QUEUED_ONCE = [(JobKind.REGISTER, JobState.QUEUED, 1)]


def test_ruling_07_a_finished_session_becomes_work_after_the_quiet_period(watch: Watch) -> None:
    watch.make()
    watch.turns(QUIET - 10)
    assert watch.session().state is SessionState.SETTLING
    watch.turns(30)
    assert watch.session().state is SessionState.COMPLETE
    assert watch.jobs() == QUEUED_ONCE
    watch.turns(600)
    assert watch.jobs() == QUEUED_ONCE, "work is made once"


def test_done_01_a_file_that_grows_is_never_complete_before_its_last_write_and_quiet(watch: Watch) -> None:
    folder = watch.make()
    for _ in range(30):
        with (folder / "alf" / "a.b.npy").open("ab") as file:
            file.write(b"more")
        watch.turns(20)
        assert watch.session().state is SessionState.SETTLING
    watch.turns(QUIET + 40)
    assert watch.session().state is SessionState.COMPLETE


def test_ruling_04_a_flag_that_was_seen_counts_after_other_software_deleted_it(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(SCAN + 5)
    (folder / "raw_session.flag").unlink()
    watch.turns(QUIET + 40)
    assert watch.session().state is SessionState.COMPLETE


def test_ruling_04_a_flag_that_was_seen_counts_after_a_restart_too(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(SCAN + 5)
    (folder / "raw_session.flag").unlink()
    watch.restart()
    watch.turns(QUIET + 40)
    assert watch.session().state is SessionState.COMPLETE


@pytest.mark.parametrize("complete", [False, True])
def test_ruling_04_a_signal_says_nothing_of_another_folder_in_the_same_place(watch: Watch, complete: bool) -> None:
    for number in range(2, 8):
        watch.make(f"KS005/2024-03-01/{number:03d}", flag=False)
    folder = watch.make()
    watch.turns(SCAN + QUIET + 10 if complete else SCAN)
    assert (watch.session().complete_at is not None) is complete
    shutil.rmtree(folder)
    watch.turns(3 * SCAN)
    watch.make(flag=False)  # copied anew: it comes bit by bit
    watch.turns(SCAN + QUIET + 10)
    watch.restart()
    watch.turns(SCAN + QUIET + 10)
    assert (watch.session().state, watch.session().wait_code) == (SessionState.SETTLING, "waiting_signal")
    assert [job for job in watch.jobs() if job[1] is not JobState.SUPERSEDED] == []
    (folder / "raw_session.flag").touch()
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs()[-1] == (JobKind.REGISTER, JobState.QUEUED, 2 if complete else 1)
    describe(folder)
    watch.journal.sessions.unsettle(watch.session().id, "changed")
    watch.turns(SCAN + QUIET + 10)
    assert watch.session().state is SessionState.COMPLETE, "it has come as a whole by now: nothing is waited for"


def empty(folder: Path) -> None:
    """Delete all that is in a folder."""
    for one in folder.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def link(path: Path) -> None:
    path.symlink_to("alf/a.b.npy")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, link])
def test_ruling_04_only_a_regular_file_is_a_signal(watch: Watch, make: Callable[[Path], None]) -> None:
    flag = watch.make(flag=False) / "raw_session.flag"
    watch.turns(SCAN)
    make(flag)
    watch.turns(SCAN + QUIET + 10)
    assert (watch.session().signal, watch.session().wait_code) == (None, "waiting_signal")
    flag.rename(flag.with_name("away"))
    flag.touch()
    flag.unlink()
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE, "one that is gone by now is believed"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("complete", [False, True])
def test_ruling_04_a_signal_says_nothing_of_what_comes_into_an_emptied_folder(
    watch: Watch, complete: bool, restarted: bool
) -> None:
    folder = watch.make()
    watch.turns(SCAN + QUIET + 10 if complete else SCAN)
    assert (watch.session().complete_at is not None) is complete
    for job in watch.journal.jobs.of_session(watch.session().id):
        watch.journal.jobs.cancel(job.id, "It cannot be registered as it is.")
    empty(folder)
    if restarted:
        watch.restart()
    watch.turns(3600, step=SCAN)
    assert watch.session().wait_code == "no_files"
    (folder / "b.c.npy").write_bytes(b"others")
    watch.turns(SCAN + QUIET + 10)
    watch.restart()
    watch.turns(SCAN + QUIET + 10)
    assert (watch.session().state, watch.session().wait_code) == (SessionState.SETTLING, "waiting_signal")
    assert "begins anew" in watch.journal.sessions.remarks(watch.session().id)[0][1]
    (folder / "raw_session.flag").touch()
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs()[-1] == (JobKind.REGISTER, JobState.QUEUED, 2 if complete else 1)


@pytest.mark.parametrize("restarted", [False, True])
def test_ruling_04_a_signal_that_was_deleted_before_the_files_came_is_kept(watch: Watch, restarted: bool) -> None:
    folder = watch.root / "KS005/2024-03-01/001"
    folder.mkdir(parents=True)
    (folder / "raw_session.flag").touch()
    watch.turns(2 * SCAN)
    (folder / "raw_session.flag").unlink()
    watch.turns(2 * SCAN)
    if restarted:
        watch.restart()
    watch.turns(2 * SCAN)
    (folder / "a.b.npy").write_bytes(b"data")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_ruling_04_an_emptied_folder_keeps_a_signal_that_is_still_there(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(SCAN)
    shutil.rmtree(folder / "alf")
    watch.turns(2, step=1)
    assert watch.session().wait_code == "signal_before_data", "it was looked into"
    (folder / "raw_session.flag").unlink()
    watch.turns(2 * SCAN)
    (folder / "a.b.npy").write_bytes(b"data")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


@pytest.mark.parametrize("complete", [False, True])
def test_ruling_04_a_signal_stays_with_a_folder_that_is_renamed(watch: Watch, complete: bool) -> None:
    watch.make("KS005/2024-03-01/003", flag=False)
    folder = watch.make()
    watch.turns(SCAN + QUIET + 10 if complete else SCAN)
    assert (watch.session().complete_at is not None) is complete
    (folder / "raw_session.flag").unlink()
    folder.rename(folder.with_name("002"))
    watch.turns(SCAN + QUIET + 30)
    assert watch.jobs("KS005/2024-03-01/002") == QUEUED_ONCE
    assert watch.session("KS005/2024-03-01/003").wait_code == "waiting_signal"


def test_ruling_04_a_folder_that_is_back_as_it_was_keeps_its_signal(watch: Watch) -> None:
    watch.make("KS005/2024-03-01/002", flag=False)
    folder = watch.make()
    watch.turns(SCAN)
    (folder / "raw_session.flag").unlink()
    away = folder.rename(watch.root.parent / "away")
    watch.turns(3 * SCAN)
    assert watch.session().state is SessionState.VANISHED
    away.rename(folder)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_without_a_flag_a_session_waits_and_says_for_what(watch: Watch) -> None:
    watch.make(flag=False)
    watch.turns(3600, step=30)
    row = watch.session()
    assert (row.state, row.wait_code) == (SessionState.SETTLING, "waiting_signal")
    assert "raw_session.flag" in (row.wait_why or "")


def test_done_04_without_events_the_next_scan_finds_it_and_its_flag(tmp_path: Path) -> None:
    watch = Watch(tmp_path, events="off")
    assert (watch.lane.facts()[0].mode, watch.lane.facts()[0].watches) == ("scan-only", 0)
    folder = watch.make(flag=False)
    watch.turns(SCAN + 5)
    assert watch.session().wait_code == "waiting_signal"
    watch.turns(8 * 3600, step=600)  # looks have become rare by now
    (folder / "raw_session.flag").touch()
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_done_08_a_restart_starts_the_quiet_period_anew_and_decides_the_same(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(QUIET - 10)
    (folder / "raw_session.flag").unlink()  # latched before
    watch.restart()
    watch.turns(QUIET - 10)
    assert watch.session().state is SessionState.SETTLING
    watch.turns(20)
    assert watch.jobs() == QUEUED_ONCE


def test_done_07_a_wall_clock_that_jumps_changes_nothing(watch: Watch) -> None:
    folder = watch.make()
    os.utime(folder / "alf" / "a.b.npy", (4e9, 4e9))
    watch.turns(20)
    watch.clock.wall -= 3600
    watch.turns(QUIET - 40)
    assert watch.session().state is SessionState.SETTLING
    watch.clock.wall += 86_400
    watch.turns(40)
    assert watch.session().state is SessionState.COMPLETE


def test_what_was_sent_back_settles_again_into_the_next_generation(watch: Watch) -> None:
    watch.make()
    watch.turns(SCAN + QUIET + 10)
    watch.journal.sessions.unsettle(watch.session().id, "grew")
    assert watch.session().state is SessionState.SETTLING
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == [(JobKind.REGISTER, JobState.SUPERSEDED, 1), (JobKind.REGISTER, JobState.QUEUED, 2)]


def test_done_03_a_temporary_name_keeps_a_session_settling(watch: Watch) -> None:
    folder = watch.make()
    part = folder / "alf" / ".x.y.npy.AbC123"
    part.write_bytes(b"half")
    watch.turns(SCAN + 3 * QUIET)
    assert watch.session().state is SessionState.SETTLING
    part.rename(folder / "alf" / "x.y.npy")
    watch.turns(2 * QUIET)
    assert watch.jobs() == QUEUED_ONCE


def test_done_03_a_directory_moved_in_is_one_session(watch: Watch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    watch.make().rename(elsewhere)
    watch.turns(SCAN)
    (watch.root / "KS005" / "2024-03-01").mkdir(parents=True, exist_ok=True)
    elsewhere.rename(watch.root / "KS005" / "2024-03-01" / "001")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_a_session_that_two_scans_do_not_find_has_vanished_and_may_return(watch: Watch) -> None:
    keep, gone = watch.make("KS005/2024-03-01/001"), watch.make("KS005/2024-03-01/002")
    watch.turns(SCAN)
    moved = gone.rename(watch.root.parent / "away")
    watch.turns(SCAN)
    assert watch.session("KS005/2024-03-01/002").state is SessionState.SETTLING, "one miss is a hiccup"
    watch.turns(SCAN + 5)
    assert watch.session("KS005/2024-03-01/002").state is SessionState.VANISHED
    assert keep.exists()
    assert watch.session("KS005/2024-03-01/001").state is not SessionState.VANISHED
    moved.rename(gone)
    watch.turns(SCAN + 5)
    assert watch.session("KS005/2024-03-01/002").state is SessionState.SETTLING


def test_a_root_that_is_gone_is_frozen_not_emptied(watch: Watch) -> None:
    watch.make()
    watch.turns(SCAN)
    watch.root.rename(watch.root.parent / "unmounted")
    watch.turns(5 * SCAN)
    assert watch.session().state is SessionState.SETTLING
    assert str(watch.root) in watch.problem
    (watch.root.parent / "unmounted").rename(watch.root)
    watch.turns(SCAN + QUIET + 10)
    assert watch.problem == ""
    assert watch.session().state is SessionState.COMPLETE


def test_an_empty_mount_point_in_place_of_the_root_freezes_it(watch: Watch) -> None:
    watch.make()
    watch.turns(SCAN)
    shutil.rmtree(watch.root)
    watch.root.mkdir()
    watch.turns(5 * SCAN)
    assert "mounted" in watch.problem
    assert watch.session().state is SessionState.SETTLING


def vanished(watch: Watch) -> int:
    return sum(row.vanished_at is not None for row in watch.journal.sessions.of_root("s0"))


def test_a_bind_mounted_root_that_is_taken_away_is_frozen_until_it_is_back(watch: Watch, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted_below(watch.root, "--bind", str(disk)):
        for number in (1, 2, 3):
            watch.make(f"KS005/2024-03-01/{number:03d}")
        watch.turns(SCAN + QUIET + 10)
        assert watch.session().state is SessionState.COMPLETE
    watch.turns(10 * SCAN, step=SCAN)
    (facts,) = watch.lane.facts()
    assert (facts.frozen, vanished(watch)) == (True, 0)
    with mounted_below(watch.root, "--bind", str(disk)):
        watch.turns(2 * SCAN)
        (facts,) = watch.lane.facts()
        assert (facts.frozen, facts.problem, vanished(watch)) == (False, "", 0)
        watch.make("KS005/2024-03-01/004")
        watch.turns(2 * SCAN + QUIET)
        assert watch.session("KS005/2024-03-01/004").state is SessionState.COMPLETE
        watch.lane.tidy()


@pytest.mark.parametrize("below", ["", "KS005"])
def test_done_04_a_mount_that_comes_later_and_tells_of_no_changes_is_scanned(
    watch: Watch, tmp_path: Path, below: str
) -> None:
    watch.make()
    watch.turns(SCAN)
    assert (watch.lane.facts()[0].mode, watch.problem) == ("events", "")
    far = tmp_path / "far"
    shutil.copytree(watch.root / below, far)
    with seen_through_fuse(far, watch.root / below):
        watch.turns(HOUR + SCAN if below else SCAN, step=SCAN)
        (facts,) = watch.lane.facts()
        assert (facts.mode, facts.watches) == ("scan-only", 0)
        assert "does not report changes: found by scanning only" in facts.problem
        new = far / ("2024-03-01/002" if below else "KS005/2024-03-01/002")
        shutil.copytree(new.with_name("001"), new)
        watch.turns(SCAN + QUIET + 10)
        assert watch.session("KS005/2024-03-01/002").state is SessionState.COMPLETE
        watch.lane.tidy()


def test_another_file_system_in_the_roots_place_freezes_it(watch: Watch) -> None:
    for number in range(1, 9):
        watch.make(f"KS005/2024-03-01/{number:03d}")
    watch.turns(SCAN + QUIET + 10)
    with mounted_below(watch.root, "-t", "tmpfs", "labferry-test"):
        watch.make("ZM_1150/2024-03-02/001")  # it is not empty: somebody else's disk
        watch.turns(10 * SCAN, step=SCAN)
        (facts,) = watch.lane.facts()
        assert (facts.frozen, vanished(watch)) == (True, 0)
        assert "8 of 8 sessions disappeared at once" in facts.problem
        assert watch.journal.sessions.at("s0", b"ZM_1150/2024-03-02/001") is None, "nothing is taken up from it"
        watch.lane.tidy()


def test_another_file_system_in_the_place_of_a_root_with_few_sessions_freezes_it_as_well(watch: Watch) -> None:
    watch.make()
    watch.turns(SCAN + QUIET + 10)
    with mounted_below(watch.root, "-t", "tmpfs", "labferry-test"):
        watch.make("ZM_1150/2024-03-02/001")
        watch.turns(10 * SCAN, step=SCAN)
        assert (watch.lane.facts()[0].frozen, vanished(watch)) == (True, 0)
        assert watch.journal.sessions.at("s0", b"ZM_1150/2024-03-02/001") is None
        watch.lane.rescan("s0", accept_missing=True)
        watch.turns(2 * SCAN)
        assert (watch.lane.facts()[0].frozen, vanished(watch)) == (False, 1), "unless a person says so"
        watch.lane.tidy()


@pytest.mark.parametrize("restarted", [False, True])
def test_ruling_05_a_root_that_is_away_does_not_change_since_when_its_sessions_wait(
    watch: Watch, restarted: bool
) -> None:
    watch.make(flag=False)
    watch.turns(HOUR, step=SCAN)
    since = watch.session().wait_since
    away = watch.root.rename(watch.root.with_name("away"))
    if restarted:
        watch.restart()
    watch.turns(HOUR, step=SCAN)
    assert (watch.lane.facts()[0].frozen, watch.session().wait_code) == (True, "waiting_signal")
    away.rename(watch.root)
    watch.turns(2 * HOUR, step=SCAN)
    assert (watch.session().wait_code, watch.session().wait_since) == ("waiting_signal", since)


def test_most_sessions_disappearing_at_once_freezes_the_root(watch: Watch) -> None:
    for number in range(1, 21):
        watch.make(f"KS005/2024-03-01/{number:03d}")
    watch.turns(SCAN)
    for number in range(1, 11):
        shutil.rmtree(watch.root / f"KS005/2024-03-01/{number:03d}")
    watch.turns(5 * SCAN)
    assert watch.problem.startswith("10 of 20 sessions disappeared at once")
    assert not any(row.state is SessionState.VANISHED for row in watch.journal.sessions.all())


def tidied_up(watch: Watch) -> None:
    """Let an archived past be deleted: eight of twenty sessions at once."""
    for number in range(1, 21):
        watch.make(f"KS005/2024-03-01/{number:03d}")
    watch.turns(SCAN + QUIET + 10)
    for number in range(1, 9):
        shutil.rmtree(watch.root / f"KS005/2024-03-01/{number:03d}")
    watch.turns(3 * SCAN)


def test_done_09_after_many_sessions_were_deleted_new_ones_are_found_all_the_same(watch: Watch) -> None:
    tidied_up(watch)
    watch.restart()
    watch.make("KS006/2024-03-02/001")
    watch.turns(2 * SCAN + QUIET + 10)
    assert watch.session("KS006/2024-03-02/001").state is SessionState.COMPLETE
    (facts,) = watch.lane.facts()
    assert (facts.frozen, vanished(watch)) == (False, 0), "what is missing waits for a person's word"
    assert "sessions disappeared at once" in facts.problem
    assert "`labferry rescan s0 --accept-missing`" in facts.hint


def test_done_09_what_is_missing_has_vanished_on_an_operators_word(watch: Watch) -> None:
    tidied_up(watch)
    watch.lane.rescan("s0")
    watch.turn()
    assert vanished(watch) == 0, "a scan alone says nothing"
    watch.lane.rescan("s0", accept_missing=True)
    watch.turn()
    assert (vanished(watch), watch.problem) == (8, "")
    for number in range(9, 17):
        shutil.rmtree(watch.root / f"KS005/2024-03-01/{number:03d}")
    watch.turns(3 * SCAN)
    assert vanished(watch) == 8, "the word was good for one scan"


def test_done_09_an_operators_word_is_kept_until_the_journal_takes_it(watch: Watch) -> None:
    tidied_up(watch)
    watch.journal._db._writer.execute("PRAGMA query_only = ON")
    watch.lane.rescan("s0", accept_missing=True)
    with pytest.raises(UnavailableError):
        watch.turn()
    watch.journal._db._writer.execute("PRAGMA query_only = OFF")
    watch.turns(2 * SCAN)
    assert (vanished(watch), watch.problem) == (8, "")


def test_a_root_in_trouble_is_told_of_once_and_once_that_it_is_over(watch: Watch, logs: Logs) -> None:
    for number in range(1, 21):
        watch.make(f"KS005/2024-03-01/{number:03d}")
    watch.turns(SCAN + QUIET + 10)
    for number in range(1, 11):
        shutil.rmtree(watch.root / f"KS005/2024-03-01/{number:03d}")
        if number > 7:
            watch.turns(2 * SCAN)
            assert watch.problem.startswith(f"{number} of 20 sessions disappeared"), "the number of now is shown"
    assert [line["kind"] for line in said(logs, "root_problem")] == ["sessions_missing"]
    assert "`labferry rescan s0 --accept-missing`" in watch.lane.facts()[0].hint
    watch.lane.rescan("s0", accept_missing=True)
    watch.turns(2 * SCAN)
    assert (watch.problem, watch.lane.facts()[0].hint) == ("", "")
    assert [line["kind"] for line in said(logs, "root_problem_over")] == ["sessions_missing"]
    watch.root.rename(watch.root.with_name("away"))
    watch.turns(2 * SCAN)
    assert [line["kind"] for line in said(logs, "root_problem")] == ["sessions_missing", "away"]


def test_done_09_an_operators_word_does_not_empty_a_root_that_is_away(watch: Watch) -> None:
    for number in range(1, 9):
        watch.make(f"KS005/2024-03-01/{number:03d}")
    watch.turns(SCAN + QUIET + 10)
    disk = watch.root.rename(watch.root.parent / "disk")
    for away in (lambda: None, watch.root.mkdir):
        away()
        watch.lane.rescan("s0", accept_missing=True)
        watch.turns(SCAN)
        assert (watch.lane.facts()[0].frozen, vanished(watch)) == (True, 0)
    watch.root.rmdir()
    disk.rename(watch.root)
    watch.turns(2 * SCAN)
    assert (watch.lane.facts()[0].frozen, watch.problem, vanished(watch)) == (False, "", 0)


def test_ruling_03_a_root_that_was_given_another_name_is_told_of_and_left_alone(watch: Watch) -> None:
    watch.make()
    watch.turns(SCAN + QUIET + 10)
    watch.name = "s1"
    watch.restart()
    watch.turns(SCAN + QUIET + 10)
    (facts,) = watch.lane.facts()
    assert facts.frozen
    assert 'name = "s0" again' in facts.problem
    assert watch.journal.sessions.of_root("s1") == [], "nothing is found twice"
    watch.name = "s0"
    watch.restart()
    watch.turns(SCAN + QUIET + 10)
    (facts,) = watch.lane.facts()
    assert (facts.frozen, facts.problem) == (False, "")
    assert watch.session().state is SessionState.COMPLETE


def test_ruling_21_what_was_cancelled_before_it_was_sealed_stays_cancelled_until_it_changes(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(SCAN + QUIET + 10)
    (job,) = watch.journal.jobs.of_session(watch.session().id)
    assert watch.journal.jobs.cancel(job.id, "Cancelled by ann.")
    watch.turns(2 * HOUR, step=30)
    assert watch.jobs() == [(JobKind.REGISTER, JobState.CANCELLED, 1)]
    watch.restart()
    watch.turns(2 * HOUR, step=30)
    assert watch.jobs() == [(JobKind.REGISTER, JobState.CANCELLED, 1)]
    (folder / "alf" / "late.b.npy").write_bytes(b"late")
    watch.turns(2 * HOUR, step=30)
    assert watch.jobs()[-1] == (JobKind.REGISTER, JobState.QUEUED, 2)


def test_ruling_01_what_was_blocked_before_it_was_sealed_waits_as_it_is(watch: Watch) -> None:
    for name in ("KS005/2024-03-01/001", "KS005/2024-03-01/1"):
        watch.make(name)
    watch.turns(4 * HOUR, step=30)
    assert [watch.session(name).generation for name in ("KS005/2024-03-01/001", "KS005/2024-03-01/1")] == [1, 1]
    states = {watch.jobs(name)[-1][1] for name in ("KS005/2024-03-01/001", "KS005/2024-03-01/1")}
    assert states == {JobState.QUEUED, JobState.BLOCKED}


def test_excluded_subjects_are_not_sessions(watch: Watch) -> None:
    watch.make("test_subject/2024-03-01/001")
    watch.turns(SCAN + QUIET + 10)
    assert watch.journal.sessions.all() == []


def test_folders_that_almost_match_are_kept_with_the_rule_they_break(watch: Watch) -> None:
    for name in ("KS005/2023-02-29/001", "KS005/2019-04-02/001a"):
        (watch.root / name).mkdir(parents=True)
    watch.turns(SCAN)
    misses = {(miss.part, miss.rule) for miss in watch.lane.facts()[0].near_misses}
    assert {part for part, _ in misses} == {"2023-02-29", "001a"}
    assert all(rule for _, rule in misses)


def test_ruling_03_a_second_root_with_the_same_session_is_blocked(watch: Watch) -> None:
    watch.make("KS005/2024-03-01/001")
    watch.make("KS005/2024-03-01/1")
    watch.turns(SCAN + QUIET + 40)
    states = sorted(job.code for row in watch.journal.sessions.all() for job in watch.journal.jobs.of_session(row.id))
    assert states == ["", "same_session_elsewhere"]


def test_a_hint_is_quicker_than_the_scan(watch: Watch) -> None:
    watch.make("KS005/2024-03-01/001", flag=False)
    watch.turns(SCAN + 5)
    (watch.root / "KS005/2024-03-01/001/raw_session.flag").touch()
    watch.turn(0.1)
    watch.turn(1.0)
    assert watch.session().signal_seen_at is not None


def broken_at(name: bytes, function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """Return a function with a fault of our own, which shows where this argument names one session."""

    def breaks(*arguments: Any) -> Any:
        if name in arguments[place]:
            raise ValueError("Exceeds the limit (4300 digits) for integer string conversion")
        return function(*arguments)

    return breaks


POISON, OTHER = "AA/2024-03-01/001", "ZZ/2024-03-01/001"


def test_ruling_07_a_session_that_we_fail_at_keeps_no_other_one_waiting(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.make(POISON)
    watch.make(OTHER)
    with monkeypatch.context() as fault:
        fault.setattr(Witness, "look", broken_at(b"/AA/", Witness.look, 1))
        watch.turns(SCAN + QUIET + 10)
        assert watch.session(OTHER).state is SessionState.COMPLETE
        row = watch.session(POISON)
        assert (row.state, row.wait_code) == (SessionState.SETTLING, "crash")
        assert "ValueError: Exceeds the limit" in str(row.wait_why)
    watch.turns(3600 + QUIET + 60, step=30)
    assert watch.session(POISON).state is SessionState.COMPLETE, "it was tried again"


def test_ruling_01_a_session_that_we_fail_at_keeps_no_other_one_from_being_looked_at_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [watch.make(POISON), watch.make(OTHER)]
    watch.turns(SCAN + QUIET + 10)
    for job in watch.journal.jobs.unfinished():
        assert watch.journal.jobs.cancel(job.id, "Nobody works here.")
    for folder in folders:
        (folder / "alf" / "c.d.npy").write_bytes(b"later")
    with monkeypatch.context() as fault:
        fault.setattr(keeping, "_times", broken_at(b"/AA/", keeping._times, 0))
        watch.turns(600, step=30)
        assert (watch.session(POISON).generation, watch.session(OTHER).generation) == (1, 2)
    watch.turns(2 * 3600, step=60)
    assert watch.session(POISON).generation == 2, "it was tried again"


def eight_each(watch: Watch) -> None:
    for subject in ("AA", "KS005"):
        for number in range(1, 9):
            watch.make(f"{subject}/2024-03-01/{number:03d}")
    watch.turns(SCAN + QUIET + 10)


def test_ruling_15_a_subject_that_is_left_out_from_now_on_is_not_missed(watch: Watch) -> None:
    eight_each(watch)
    watch.settings["exclude_subjects"] = ["AA"]
    watch.restart()
    watch.make("KS006/2024-03-02/001")
    watch.turns(5 * SCAN)
    (facts,) = watch.lane.facts()
    assert (facts.frozen, facts.problem, vanished(watch)) == (False, "", 0)
    assert watch.session("KS006/2024-03-02/001").state is SessionState.COMPLETE
    for number in range(1, 4):
        shutil.rmtree(watch.root / f"KS005/2024-03-01/{number:03d}")
    watch.turns(5 * SCAN)
    assert vanished(watch) == 3, "the others are missed as ever"


def test_ruling_15_nothing_that_was_begun_of_a_subject_that_is_left_out_is_gone_on_with(watch: Watch) -> None:
    watch.make("AA/2024-03-01/001")
    watch.turns(SCAN)
    watch.settings["exclude_subjects"] = ["AA"]
    watch.restart()
    watch.turns(QUIET + 5 * SCAN)
    assert (watch.session("AA/2024-03-01/001").state, watch.jobs("AA/2024-03-01/001")) == (SessionState.IGNORED, [])


def see_a_closed_subject(watch: Watch) -> None:
    eight_each(watch)
    (watch.root / "AA").chmod(0)
    shutil.rmtree(watch.root / "KS005/2024-03-01/001")
    watch.make("KS006/2024-03-02/001")
    watch.turns(5 * SCAN)
    (facts,) = watch.lane.facts()
    (watch.root / "AA").chmod(0o755)
    assert (facts.frozen, vanished(watch)) == (False, 1)
    assert facts.problem.startswith("AA cannot be read")
    assert watch.session("KS006/2024-03-02/001").state is SessionState.COMPLETE
    watch.lane.tidy()


def test_done_10_a_folder_that_cannot_be_read_is_named_and_what_is_below_it_not_missed() -> None:
    with folder_for_everyone() as everyone:
        everyone.chmod(0o777)
        with without_rights():
            see_a_closed_subject(Watch(everyone))


def test_ruling_04_signals_that_came_and_went_while_the_journal_took_nothing_are_latched(watch: Watch) -> None:
    folders = [watch.make(path, flag=False) for path in (POISON, OTHER)]
    watch.turns(2 * SCAN)
    for folder in folders:
        (folder / "raw_session.flag").touch()
        (folder / "raw_session.flag").unlink()
    watch.journal._db._writer.execute("PRAGMA query_only = ON")
    refused = 0
    for _ in range(3):  # hints have no order: in one of these it may be that nothing is to be written
        try:
            watch.turn(1)
        except UnavailableError:
            refused += 1
    assert refused >= len(folders)
    watch.journal._db._writer.execute("PRAGMA query_only = OFF")
    watch.turns(SCAN + QUIET + 10)
    for path in (POISON, OTHER):
        assert (watch.session(path).signal, watch.session(path).state) == ("raw_session.flag", SessionState.COMPLETE)


def test_ruling_04_a_signal_that_a_scan_saw_while_the_journal_took_nothing_is_latched(tmp_path: Path) -> None:
    watch = Watch(tmp_path, events="off")
    folder = watch.make(flag=False)
    watch.turns(SCAN + 5)
    (folder / "raw_session.flag").touch()
    watch.journal._db._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(UnavailableError):
        watch.turns(SCAN)
    (folder / "raw_session.flag").unlink()
    watch.journal._db._writer.execute("PRAGMA query_only = OFF")
    watch.turns(SCAN)
    assert watch.session().signal == "raw_session.flag"


def test_ruling_03_what_is_blocked_from_the_start_is_logged(watch: Watch) -> None:
    watch.make("KS005/2024-03-01/001")
    watch.make("KS005/2024-03-01/1")
    with structlog.testing.capture_logs() as logged:
        watch.turns(SCAN + QUIET + 10)
    (told,) = [one for one in logged if one["event"] == "blocked"]
    assert (told["log_level"], told["code"]) == ("warning", "same_session_elsewhere")
    assert told["session"] in {"KS005/2024-03-01/001", "KS005/2024-03-01/1"}
