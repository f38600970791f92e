"""Promises of the rulings that no other test of one part holds: small, and one for each way to break them."""

from __future__ import annotations

import os
import pwd
import sqlite3
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.config import DirectoryArchive
from labferry.config.model import Worker
from labferry.control.peers import Peer
from labferry.detect.completion import Complete, Rules, Settling, Watched, observe
from labferry.detect.signature import Signature, is_temporary
from labferry.engine.reports.explain import explain
from labferry.engine.reports.verdicts import Verdict
from labferry.engine.seal import is_carried
from labferry.errors import ExitCode, LabferryError
from labferry.journal import Journal
from labferry.journal.jobs import KEPT_ATTEMPTS, Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Blocked, Decision, FileFate, FileVersion, JobKind, JobState, SessionState, Stage, utc_text
from labferry.service.lock import StateLock
from support.clock import FakeClock
from support.journals import find_session
from support.world import FLAG, SESSION, World

FIRST, SECOND = b"KS005/2019-04-02/001", b"KS005/2019-04-02/1"
# Ruling 26 as it is written: nothing else may ever be an answer of `explain`.
VERDICTS = frozenset(
    {
        "ok_archived",
        "ok_registered",
        "adopted",
        "backlog",
        "settling",
        "waiting_signal",
        "waiting_collection",
        "waiting_device",
        "waiting_size",
        "signal_before_data",
        "sealing",
        "queued",
        "registering",
        "archiving",
        "waiting_dependency",
        "held",
        "ignored_subject",
        "ignored_rule",
        "not_a_session",
        "inside_session",
        "above_session",
        "unreadable",
        "outside_roots",
        "root_frozen",
        "vanished",
        "moved",
        "same_session_elsewhere",
        "changed_after_archive",
        "never_settles",
        "blocked",
    }
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    journal = Journal(tmp_path, clock)
    journal.jobs.begin_life()
    journal.sessions.meet_root("s0", b"/data", "ibl")
    yield journal
    journal.close()


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    world = World(tmp_path, clock)
    yield world
    world.close()


def find(journal: Journal, path: bytes = FIRST) -> SessionRow:
    return find_session(journal, "s0", path, "KS005", "2019-04-02", 1)


def complete(journal: Journal, session: SessionRow) -> None:
    assert journal.sessions.complete(session.id, b"signature", register=True, targets=["nas"])


def claim(journal: Journal, stage: Stage, target: str = "") -> JobRow:
    job = journal.jobs.claim(stage, target)
    assert job is not None
    return job


def moved(job: JobRow, state: JobState, stage: Stage | None = None) -> Move:
    return Move(state, stage or job.stage, not_before=0.0, failures=0, outages=0, outcome="done")


def state_of(journal: Journal, session: SessionRow) -> SessionState:
    row = journal.sessions.get(session.id)
    assert row is not None
    return row.state


def refuse_jobs(tmp_path: Path, when: str) -> None:
    """Let the journal refuse to take a job in, as a kill or a full disk at that moment would."""
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON job WHEN {when} BEGIN SELECT RAISE (ABORT, 'refused'); END"
        )
    connection.close()


# --- 3, 7, 21, 23: the journal ------------------------------------------------------------------------------


def test_ruling_03_a_vanished_folder_that_was_registered_keeps_its_key(journal: Journal) -> None:
    first, second = find(journal), find(journal, SECOND)
    complete(journal, first)
    job = claim(journal, Stage.RESOLVE)
    assert journal.jobs.complete_registration(job, moved(job, JobState.DONE, Stage.REGISTER), [], 0)
    journal.sessions.vanished(first.id)
    complete(journal, second)
    (job,) = journal.jobs.of_session(second.id)
    assert (job.state, job.code) == (JobState.BLOCKED, "same_session_elsewhere")


def test_ruling_03_a_vanished_folder_that_was_never_registered_gives_its_key_away(journal: Journal) -> None:
    first, second = find(journal), find(journal, SECOND)
    complete(journal, first)
    journal.sessions.vanished(first.id)
    complete(journal, second)
    assert [job.state for job in journal.jobs.of_session(second.id)] == [JobState.QUEUED]


def test_ruling_07_ruling_21_complete_without_its_job_is_not_committed(journal: Journal, tmp_path: Path) -> None:
    session = find(journal)
    refuse_jobs(tmp_path, "NEW.kind = 'register'")
    with pytest.raises(sqlite3.IntegrityError, match="refused"):
        journal.sessions.complete(session.id, b"signature", register=True, targets=["nas"])
    assert state_of(journal, session) is SessionState.SETTLING
    assert journal.jobs.of_session(session.id) == []


def test_ruling_21_registration_without_its_archive_jobs_is_not_done(journal: Journal, tmp_path: Path) -> None:
    session = find(journal)
    complete(journal, session)
    refuse_jobs(tmp_path, "NEW.target = 'hpc'")
    job = claim(journal, Stage.RESOLVE)
    with pytest.raises(sqlite3.IntegrityError, match="refused"):
        journal.jobs.complete_registration(job, moved(job, JobState.DONE, Stage.REGISTER), ["nas", "hpc"], 0)
    assert [(job.kind, job.state) for job in journal.jobs.of_session(session.id)] == [
        (JobKind.REGISTER, JobState.RUNNING)
    ]


def test_ruling_21_cancel_holds_for_its_generation_and_retry_lifts_it(journal: Journal) -> None:
    session = find(journal)
    complete(journal, session)
    job = claim(journal, Stage.RESOLVE)
    assert journal.jobs.cancel(job.id, "by an operator")
    assert not journal.jobs.finish_attempt(job, moved(job, JobState.QUEUED, Stage.SEAL)), "what it ends as is too late"
    assert journal.jobs.claim(Stage.RESOLVE) is None
    assert journal.jobs.revive(job.id)
    assert claim(journal, Stage.RESOLVE).id == job.id
    assert journal.jobs.cancel(job.id, "once more")
    journal.sessions.unsettle(session.id, "grew")
    complete(journal, session)
    states = [(job.generation, job.state) for job in journal.jobs.of_session(session.id)]
    assert states == [(1, JobState.CANCELLED), (2, JobState.QUEUED)]


def test_ruling_23_the_newest_attempts_and_events_are_kept(journal: Journal, clock: FakeClock) -> None:
    complete(journal, find(journal))
    for _ in range(KEPT_ATTEMPTS + 5):
        clock.pass_by(10)
        job = claim(journal, Stage.RESOLVE)
        journal.jobs.finish_attempt(job, moved(job, JobState.QUEUED))
    kept = journal.jobs.attempts(job.id)
    assert len(kept) == KEPT_ATTEMPTS
    assert kept[-1]["started_at"] == clock.now()
    journal.trim_events(older_than=25)
    assert {event.at for event in journal.events(0)} == {clock.now() - 20, clock.now() - 10, clock.now()}


def test_ruling_19_an_archive_lane_takes_the_jobs_of_its_own_target(journal: Journal) -> None:
    complete(journal, find(journal))
    job = claim(journal, Stage.RESOLVE)
    journal.jobs.complete_registration(job, moved(job, JobState.DONE, Stage.REGISTER), ["nas", "hpc"], 0)
    for _ in range(2):
        job = claim(journal, Stage.SEAL)
        journal.jobs.finish_attempt(job, moved(job, JobState.QUEUED, Stage.ARCHIVE))
    assert claim(journal, Stage.ARCHIVE, "hpc").target == "hpc"
    assert journal.jobs.claim(Stage.ARCHIVE, "hpc") is None
    assert claim(journal, Stage.ARCHIVE, "nas").target == "nas"


# --- 5, 7: settling -----------------------------------------------------------------------------------------


def looks_like(*temporary: bytes) -> Signature:
    return Signature(b"digest", 1, 100, 0, temporary, ())


@pytest.mark.parametrize("name", [b".x.npy.AbC123", b"x.mp4.part", b"x.FILEPART", b"alf/x.tmp"])
def test_ruling_05_a_live_temporary_name_is_known(name: bytes) -> None:
    assert is_temporary(name)
    assert not is_temporary(b"alf/" + name + b".npy")


def test_ruling_05_a_live_temporary_name_keeps_a_session_settling() -> None:
    state = Watched(signal_seen=True)
    for now in (1000.0, 2000.0, 90_000.0):
        state, verdict = observe(state, looks_like(b".x.npy.AbC123"), True, now, Rules())
        assert isinstance(verdict, Settling)
        assert verdict.code == "temporary_files"


@pytest.mark.parametrize("signal", [True, False])
def test_ruling_05_after_a_restart_the_quiet_period_starts_anew(signal: bool) -> None:
    rules = Rules(completion="quiet", quiet=60, quiet_without_signal=60)
    state = Watched(signal_seen=signal)  # all that the journal keeps
    for now in (5000.0, 5059.0):
        state, verdict = observe(state, looks_like(), False, now, rules)
        assert isinstance(verdict, Settling)
    assert isinstance(observe(state, looks_like(), False, 5060.0, rules)[1], Complete)


def test_ruling_07_the_end_of_the_quiet_period_is_met_to_the_second() -> None:
    state, now, rules = Watched(), 1000.0, Rules(quiet=50)
    state, verdict = observe(state, looks_like(), True, now, rules)
    while isinstance(verdict, Settling):
        now = state.next_look
        state, verdict = observe(state, looks_like(), True, now, rules)
    assert 1050.0 <= now <= 1051.0


@pytest.mark.parametrize("signal", [False, True])
def test_ruling_05_unstable_for_stale_after_is_never_settles(world: World, clock: FakeClock, signal: bool) -> None:
    row = world.found()
    if signal:
        world.journal.sessions.signal(row.id, FLAG)
    world.journal.sessions.looked(row.id, b"-", "temporary_files", "still being written: x.part")
    clock.pass_by(world.config.detection.stale_after)
    assert explain(world.context, world.live, SESSION)["verdict"] == "settling"
    clock.pass_by(1)
    assert explain(world.context, world.live, SESSION)["verdict"] == "never_settles"


# --- 8: two daemons -----------------------------------------------------------------------------------------


def test_ruling_08_the_state_directory_has_one_holder_who_is_named(tmp_path: Path) -> None:
    holder = StateLock(tmp_path / "state")
    with pytest.raises(LabferryError, match=f"pid {os.getpid()}") as caught:
        StateLock(tmp_path / "state")
    assert (caught.value.code, caught.value.exit_code) == ("already_running", ExitCode.FAILURE)
    holder.release()
    StateLock(tmp_path / "state").release()


# --- 15: what is copied -------------------------------------------------------------------------------------


def test_ruling_15_what_each_naming_takes(journal: Journal) -> None:
    fates = {
        b"alf/a.times.npy": Decision(FileFate.DATASET),
        b"notes.txt": Decision(FileFate.UNMATCHED, "no_pattern", "why"),
        b"core.tmp": Decision(FileFate.EXCLUDED, "excluded_suffix", "why"),
        b"alf/bad name.npy": Decision(FileFate.REJECTED, "unsafe_name", "why"),
        b"link": Decision(FileFate.EXCLUDED, "not_regular", "why"),
        b"closed": Decision(FileFate.REJECTED, "file_unreadable", "why"),
    }
    listing = [(FileVersion(path, 1, 1, 1), decision) for path, decision in fates.items()]
    session = find(journal)
    journal.files.list_files(session.id, 0, listing)
    files = journal.files.of_session(session.id)

    def taken(naming: str, *exclude: str) -> set[bytes]:
        settings = {"kind": "directory", "path": "/nas", "naming": naming, "exclude": list(exclude)}
        archive = DirectoryArchive.model_validate(settings)
        return {file.path for file in files if is_carried(file, archive)}

    regular = {b"alf/a.times.npy", b"notes.txt", b"core.tmp", b"alf/bad name.npy"}
    assert taken("alyx") == {b"alf/a.times.npy"}
    assert taken("plain") == regular
    assert taken("plain", "*.tmp", "notes.*") == {b"alf/a.times.npy", b"alf/bad name.npy"}
    assert taken("alyx", "alf/*") == set()


# --- 25, 26, 27: interfaces ---------------------------------------------------------------------------------


def test_ruling_25_times_are_utc_with_z() -> None:
    assert utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
    assert utc_text(None) is None


def test_ruling_25_times_do_not_depend_on_the_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_ruling_25_events_are_resumed_after_an_id(journal: Journal) -> None:
    complete(journal, find(journal))
    all_of_them = journal.events(0)
    ids = [event.id for event in all_of_them]
    assert ids == sorted(set(ids))
    assert journal.events(ids[0]) == all_of_them[1:]
    assert journal.events(ids[-1]) == []


def test_ruling_26_verdicts_are_those_of_the_list() -> None:
    assert {verdict.value for verdict in Verdict} == VERDICTS


def test_ruling_26_the_code_below_blocked_is_the_reason(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "Alyx does not know the subject KS005", "create it"))
    found = explain(world.context, world.live, SESSION)
    assert (found["verdict"], found["code"]) == ("blocked", "subject_not_on_alyx")


def test_ruling_27_who_may_change_things() -> None:
    stranger = next(entry for entry in pwd.getpwall() if entry.pw_uid not in {0, os.geteuid()})
    peer = Peer(1, stranger.pw_uid, stranger.pw_gid)
    assert Peer(1, 0, 0).may_change(())
    assert Peer(1, os.geteuid(), 0).may_change(())
    assert not peer.may_change(())
    assert not peer.may_change(("somebody-else",))
    assert peer.may_change((stranger.pw_name,))


# --- 30, 33: small ones -------------------------------------------------------------------------------------


def test_ruling_30_ten_attempts_unless_configured() -> None:
    assert Worker().max_attempts == 10


def test_ruling_33_a_warning_of_ours_is_an_error() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module="labferry.made.up")
