"""The journal: states that cannot be illegal, claims, steps, generations, migrations."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labferry.errors import UnavailableError
from labferry.journal import Journal, JournalError
from labferry.journal.files import KnownRecord
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfers import NewItem
from labferry.model import Decision, FileFate, FileVersion, JobKind, JobState, SessionState, Stage
from support.clock import FakeClock
from support.journals import find_session


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    journal = Journal(tmp_path, clock)
    journal.jobs.begin_life()
    journal.sessions.meet_root("s0", b"/data", "ibl")
    return journal


def find(journal: Journal, path: bytes = b"KS005/2019-04-02/001", number: int = 1) -> SessionRow:
    return find_session(journal, "s0", path, "KS005", "2019-04-02", number)


def make_complete(journal: Journal, session: SessionRow, targets: tuple[str, ...] = ("nas",)) -> bool:
    return journal.sessions.complete(session.id, b"signature", register=True, targets=targets)


def finish(journal: Journal, job: JobRow, state: JobState = JobState.DONE, stage: Stage | None = None) -> bool:
    move = Move(state, stage or job.stage, not_before=0.0, failures=0, outages=0, outcome="done")
    return journal.jobs.finish_attempt(job, move)


def claim(journal: Journal, stage: Stage, target: str = "") -> JobRow:
    job = journal.jobs.claim(stage, target)
    assert job is not None
    return job


def actions(journal: Journal, session: SessionRow) -> list[tuple[str, str | None]]:
    return [(event.action, event.to_state) for event in journal.history(session.id)]


def test_ruling_07_complete_and_its_job_are_one_transaction(journal: Journal) -> None:
    session = find(journal)
    assert make_complete(journal, session)
    (job,) = journal.jobs.of_session(session.id)
    assert (job.kind, job.state, job.stage, job.generation) == (JobKind.REGISTER, JobState.QUEUED, Stage.RESOLVE, 1)
    after = journal.sessions.get(session.id)
    assert after is not None
    assert after.state is SessionState.COMPLETE
    assert not make_complete(journal, session), "complete twice is not twice the work"


def test_ruling_04_a_signal_is_latched(journal: Journal, clock: FakeClock) -> None:
    session = find(journal)
    journal.sessions.signal(session.id, "raw_session.flag")
    seen_at = clock.now()
    clock.pass_by(60)
    journal.sessions.signal(session.id, "raw_session.flag")
    after = journal.sessions.get(session.id)
    assert after is not None
    assert after.signal_seen_at == seen_at


def test_ruling_03_a_second_folder_with_the_same_key_is_blocked_naming_the_first(journal: Journal) -> None:
    first, second = find(journal), find(journal, b"KS005/2019-04-02/1")
    make_complete(journal, first)
    make_complete(journal, second)
    (job,) = journal.jobs.of_session(second.id)
    assert (job.state, job.code) == (JobState.BLOCKED, "same_session_elsewhere")
    assert "KS005/2019-04-02/001" in job.reason
    assert journal.jobs.claim(Stage.RESOLVE, "") == journal.jobs.of_session(first.id)[0]
    assert journal.jobs.claim(Stage.RESOLVE, "") is None


def test_ruling_21_a_newer_generation_supersedes_the_older_job(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    old = claim(journal, Stage.RESOLVE)
    journal.sessions.unsettle(session.id, "grew")
    make_complete(journal, session)
    states = [(job.generation, job.state) for job in journal.jobs.of_session(session.id)]
    assert states == [(1, JobState.SUPERSEDED), (2, JobState.QUEUED)]
    assert not finish(journal, old), "what the old generation's attempt ends as counts no more"


def test_ruling_21_registration_done_and_archive_jobs_are_one_transaction(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    job = claim(journal, Stage.RESOLVE)
    done = Move(JobState.DONE, Stage.REGISTER, not_before=0.0, failures=0, outages=0, outcome="done")
    assert journal.jobs.complete_registration(job, done, ["nas", "hpc"], 10)
    archives = [(j.target, j.stage) for j in journal.jobs.of_session(session.id) if j.kind is JobKind.ARCHIVE]
    assert archives == [("nas", Stage.SEAL), ("hpc", Stage.SEAL)]
    row = journal.sessions.get(session.id)
    assert row is not None
    assert row.state is SessionState.REGISTERED


def test_ruling_22_archived_means_every_archive_and_blocked_never_hides_registered(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    job = claim(journal, Stage.RESOLVE)
    done = Move(JobState.DONE, Stage.REGISTER, not_before=0.0, failures=0, outages=0, outcome="done")
    journal.jobs.complete_registration(job, done, ["nas", "hpc"], 10)
    for _ in range(2):
        finish(journal, claim(journal, Stage.SEAL), JobState.QUEUED, Stage.ARCHIVE)
    finish(journal, claim(journal, Stage.ARCHIVE, "nas"))
    finish(journal, claim(journal, Stage.ARCHIVE, "hpc"), JobState.BLOCKED)
    row = journal.sessions.get(session.id)
    assert row is not None
    assert (row.state, row.attention) == (SessionState.REGISTERED, True)
    blocked = next(j for j in journal.jobs.of_session(session.id) if j.state is JobState.BLOCKED)
    assert journal.jobs.revive(blocked.id)
    finish(journal, claim(journal, Stage.ARCHIVE, "hpc"))
    row = journal.sessions.get(session.id)
    assert row is not None
    assert (row.state, row.attention) == (SessionState.ARCHIVED, False)


def test_ruling_22_a_rejected_file_asks_for_attention_and_stops_nothing(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    journal.files.list_files(
        session.id, 1, [(FileVersion(b"bad name.npy", 1, 1, 1), Decision(FileFate.REJECTED, "unsafe_name", "why"))]
    )
    row = journal.sessions.get(session.id)
    assert row is not None
    assert (row.state, row.attention, row.rejected) == (SessionState.COMPLETE, True, 1)


def test_claims_belong_to_a_life_and_are_requeued_by_the_next_one(
    tmp_path: Path, journal: Journal, clock: FakeClock
) -> None:
    session = find(journal)
    make_complete(journal, session)
    claim(journal, Stage.RESOLVE)
    journal.close()  # no end_life: this life was killed
    clock.wall -= 3600  # and the clock was set back: claims are not leases
    successor = Journal(tmp_path, clock)
    assert successor.jobs.begin_life() == 1
    (job,) = successor.jobs.of_session(session.id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert [a["outcome"] for a in successor.jobs.attempts(job.id)] == ["lost"]


def test_a_clean_stop_is_remembered(tmp_path: Path, journal: Journal, clock: FakeClock) -> None:
    journal.jobs.end_life()
    journal.close()
    assert Journal(tmp_path, clock).jobs.begin_life() == 0


def test_ruling_19_least_remaining_work_goes_first_and_age_counts(journal: Journal, clock: FakeClock) -> None:
    giant, small = find(journal), find(journal, b"KS005/2019-04-02/002", 2)
    make_complete(journal, giant)
    make_complete(journal, small)
    for session, size in ((giant, 10**12), (small, 10**6)):
        journal.jobs.set_bytes_left(journal.jobs.of_session(session.id)[0].id, size)
    assert claim(journal, Stage.RESOLVE).session_id == small.id
    clock.pass_by(3 * 10**6)
    late = find(journal, b"KS005/2019-04-02/003", 3)
    make_complete(journal, late)
    assert claim(journal, Stage.RESOLVE).session_id == giant.id


def test_a_waiting_job_is_claimed_when_it_is_due_and_not_before(journal: Journal, clock: FakeClock) -> None:
    session = find(journal)
    make_complete(journal, session)
    job = claim(journal, Stage.RESOLVE)
    move = Move(JobState.WAITING, job.stage, clock.now() + 30, 0, 1, "waiting", code="alyx_down", reason="down")
    journal.jobs.finish_attempt(job, move)
    assert journal.jobs.claim(Stage.RESOLVE) is None
    assert journal.jobs.next_due(Stage.RESOLVE) == clock.now() + 30
    journal.jobs.hurry("alyx_down")
    assert claim(journal, Stage.RESOLVE).id == job.id


def test_steps_are_an_outbox(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    job = claim(journal, Stage.RESOLVE)
    journal.steps.send(job.id, "session", {"number": 1})
    step = journal.steps.get(job.id, "session")
    assert step is not None
    assert (step.request, step.answered_at) == ('{"number": 1}', None)
    journal.steps.answer(job.id, "session", {"id": "x"})
    step = journal.steps.get(job.id, "session")
    assert step is not None
    assert step.answered_at is not None
    journal.steps.drop(job.id, "session")
    assert journal.steps.get(job.id, "session") is None


def test_ruling_06_a_checksum_belongs_to_one_version(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    old, new = FileVersion(b"a.npy", 10, 1, 1), FileVersion(b"a.npy", 10, 1, 2)
    decision = Decision(FileFate.DATASET)
    journal.files.list_files(session.id, 1, [(old, decision)])
    journal.files.checksums(session.id, [(old, "0" * 32)])
    journal.files.list_files(session.id, 1, [(old, decision)])
    assert journal.files.of_session(session.id)[0].md5 == "0" * 32
    journal.files.list_files(session.id, 2, [(new, decision)])
    assert journal.files.of_session(session.id)[0].md5 is None, "a new ctime is a new version"
    journal.files.checksums(session.id, [(old, "0" * 32)])
    assert journal.files.of_session(session.id)[0].md5 is None, "a checksum of the old version is not taken"


def test_files_that_are_gone_are_forgotten_unless_they_were_registered(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    decision = Decision(FileFate.DATASET)
    listing = [(FileVersion(name, 1, 1, 1), decision) for name in (b"kept.npy", b"gone.npy", b"never.npy")]
    journal.files.list_files(session.id, 1, listing)
    rows = journal.files.of_session(session.id)
    journal.files.registered(rows[0].id, "d1", "1" * 32, [KnownRecord("r1", "repo", "x/gone.npy", True)])
    journal.files.list_files(session.id, 2, [(FileVersion(b"kept.npy", 1, 1, 1), decision)])
    left = journal.files.of_session(session.id)
    assert [(row.path, row.fate, row.code) for row in left] == [
        (b"gone.npy", FileFate.EXCLUDED, "removed"),
        (b"kept.npy", FileFate.DATASET, ""),
    ]


def test_every_transition_writes_its_event_by_itself(journal: Journal) -> None:
    session = find(journal)
    journal.sessions.signal(session.id, "raw_session.flag")
    make_complete(journal, session)
    finish(journal, claim(journal, Stage.RESOLVE), JobState.BLOCKED)
    journal.sessions.vanished(session.id)
    assert actions(journal, session) == [
        ("found", "settling"),
        ("signal", None),
        ("complete", "complete"),
        ("register:resolve", "queued"),
        ("register:resolve", "running"),
        ("register:resolve", "blocked"),
        ("vanished", None),
    ]


def test_events_are_never_changed(journal: Journal, tmp_path: Path) -> None:
    find(journal)
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE event SET action = 'forged'")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET state = 'finished'",
        "UPDATE job SET state = 'running'",
        "UPDATE job SET state = 'done'",
        "INSERT INTO job (session_id, kind, generation, state, stage, not_before, created_at, updated_at)"
        " VALUES (1, 'register', 1, 'queued', 'resolve', 0, 0, 0)",
        "UPDATE session SET sealed_generation = 99",
        "UPDATE session SET generation = 'many'",
    ],
)
def test_illegal_states_are_refused_by_the_tables(journal: Journal, tmp_path: Path, statement: str) -> None:
    make_complete(journal, find(journal))
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_a_transfer_is_planned_before_and_verified_item_by_item(journal: Journal) -> None:
    session = find(journal)
    make_complete(journal, session)
    journal.files.list_files(session.id, 1, [(FileVersion(b"a.npy", 5, 1, 1), Decision(FileFate.DATASET))])
    (row,) = journal.files.of_session(session.id)
    job = claim(journal, Stage.RESOLVE)
    transfer = journal.transfers.plan(job.id, "nas", b"/nas", "lf-1", [NewItem(row.id, b"x/a.npy", 5, "0" * 32)])
    assert journal.transfers.totals() == {
        "active": 1,
        "bytes_done": 0,
        "bytes_total": 5,
        "files_done": 0,
        "files_total": 1,
    }
    with pytest.raises(sqlite3.IntegrityError):
        journal.transfers.marked(transfer.id, row.id)  # never marked before it is verified
    journal.transfers.verified(transfer.id, [(b"x/a.npy", "copied")])
    journal.transfers.marked(transfer.id, row.id)
    journal.transfers.finish(transfer.id, "verified")
    (item,) = journal.transfers.items(transfer.id)
    assert (item.verified_how, item.marked_at is not None) == ("copied", True)
    assert journal.transfers.totals()["active"] == 0


@pytest.mark.parametrize(("wanted_by", "code"), [({"nas"}, "removed"), ({"nas", "tape"}, "removed_unarchived")])
def test_ruling_01_what_one_archive_has_and_another_has_not_is_a_loss(
    journal: Journal, wanted_by: set[str], code: str
) -> None:
    session = find(journal)
    make_complete(journal, session)
    version = FileVersion(b"a.npy", 5, 1, 1)
    journal.files.list_files(session.id, 1, [(version, Decision(FileFate.DATASET))])
    journal.files.checksums(session.id, [(version, "0" * 32)])
    (row,) = journal.files.of_session(session.id)
    journal.files.registered(row.id, "d1", "0" * 32, [])
    job = claim(journal, Stage.RESOLVE)
    transfer = journal.transfers.plan(job.id, "nas", b"/nas", "lf-1", [NewItem(row.id, b"x/a.npy", 5, "0" * 32)])
    journal.transfers.verified(transfer.id, [(b"x/a.npy", "copied")])
    journal.files.gone(session.id, [row.id], lambda _: wanted_by)
    (row,) = journal.files.of_session(session.id)
    assert row.code == code
    assert (journal.files.lost() is not None) == (code == "removed_unarchived")


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path: Path, clock: FakeClock) -> None:
    Journal(tmp_path, clock).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(JournalError, match="schema 9999") as caught:
        Journal(tmp_path, clock)
    assert "Install" in caught.value.hint


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 40])
def test_a_damaged_file_is_named_and_kept(tmp_path: Path, clock: FakeClock, content: bytes) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_bytes(content)
    with pytest.raises(JournalError, match="journal"):
        Journal(tmp_path, clock)
    assert file.read_bytes() == content


def test_a_foreign_database_is_not_taken_over(tmp_path: Path, clock: FakeClock) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("CREATE TABLE precious (x)")
    with pytest.raises(JournalError, match="some other program"):
        Journal(tmp_path, clock)


def test_ruling_23_backups_are_whole_and_the_newest_are_kept(
    journal: Journal, clock: FakeClock, tmp_path: Path
) -> None:
    find(journal)
    for _ in range(4):
        newest = journal.back_up(keep=3)
        clock.pass_by(86_400)
    assert len(list((tmp_path / "backups").iterdir())) == 3
    with sqlite3.connect(newest) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)


def test_readers_never_wait_for_a_writer(journal: Journal) -> None:
    find(journal)
    with journal.together():
        find(journal, b"KS005/2019-04-02/002", 2)
        inside = len(journal.sessions.all())
        outside: list[int] = []
        reader = threading.Thread(target=lambda: outside.append(len(journal.sessions.all())))
        reader.start()
        reader.join(timeout=5)
        assert not reader.is_alive()
    assert (inside, outside) == (2, [1])


def test_a_full_state_directory_is_named_and_nothing_is_half_written(tmp_path: Path, journal: Journal) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    journal._db._writer.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(2, 1000):
            find(journal, b"KS005/2019-04-02/%03d" % number, number)

    with pytest.raises(UnavailableError, match="full") as caught:
        fill()
    assert (caught.value.dependency, caught.value.code) == ("journal", "journal_full")
    assert journal.problem is not None
    written = len(journal.sessions.all())
    journal._db._writer.execute("PRAGMA max_page_count = 1000000")
    find(journal, b"KS005/2019-04-02/999", 999)
    assert journal.problem is None
    assert len(journal.sessions.all()) == written + 1


KILLED_WRITER = """
import sys
from pathlib import Path
from labferry.journal import Journal
from labferry.model import SystemClock
journal = Journal(Path(sys.argv[1]), SystemClock())
journal.sessions.meet_root("s0", b"/data", "ibl")
for number in range(1, 100000):
    journal.sessions.add("s0", b"%d" % number, layout="ibl", subject="S", date="2024-01-01", number=number, lab=None)
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, clock: FakeClock) -> None:
    command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path)]
    acknowledged = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged == 50:
                writer.kill()
    journal = Journal(tmp_path, clock)
    assert len(journal.sessions.all()) >= acknowledged >= 50
    assert journal.check() is None
