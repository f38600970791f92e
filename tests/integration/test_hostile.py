"""Bad moments, stage by stage: what was cancelled, superseded, restored, replaced or reconfigured at the wrong time."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labferry.alyx.client import AlyxClient
from labferry.alyx.file_records import RemoteFileRecord
from labferry.archive import carrier
from labferry.archive.plan import Evidence, Item
from labferry.engine import marking, operations, seal
from labferry.engine.policy import decide
from labferry.engine.reports.explain_session import explain_session
from labferry.engine.reports.live import LiveState
from labferry.engine.worker import Shared, Worker
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Done, JobState, Outcome, Stage
from labferry.service.process import Life
from labferry.sessions.walk import WalkedFile
from support.journals import find_session
from support.stages import LIMITS, StageBench

PATH = "KS005/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
DATASETS = 3  # of the bench's files


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(
        tmp_path, LABFERRY_REGISTRATION__RESEND_AFTER="30s", LABFERRY_REGISTRATION__RESEND_LOOK_EVERY="15s"
    )
    yield bench
    bench.close()


def reopen(bench: StageBench, *changes: tuple[str, str]) -> None:
    """End this life of the daemon and begin another one with a changed configuration."""
    text = bench.sandbox.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    bench.sandbox.config.write_text(text)
    bench.journal.close()
    bench.open()


def session_now(bench: StageBench, session: SessionRow) -> SessionRow:
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return row


def settle_again(bench: StageBench, session: SessionRow) -> None:
    bench.journal.sessions.unsettle(session.id, "changed")
    bench.write(files={})


def exists_at(bench: StageBench, session: SessionRow, repository: str) -> dict[str, bool]:
    return {
        dataset["name"]: record["exists"]
        for dataset in bench.datasets(session)
        for record in dataset["file_records"]
        if record["data_repository"] == repository
    }


def archived(bench: StageBench) -> list[Path]:
    return sorted(p for p in bench.sandbox.places.archive.rglob("*") if p.is_file())


# --- two attempts at one session ------------------------------------------------------------------------------


def test_a_job_cancelled_and_retried_is_not_claimed_while_its_attempt_still_runs(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    running = bench.journal.jobs.claim(Stage.REGISTER)
    assert running is not None
    operations.cancel(bench.context, [session_now(bench, session)], "a person")
    operations.retry(bench.context, [session_now(bench, session)])
    assert bench.journal.jobs.claim(Stage.REGISTER) is None, "two requests for one session would be in flight"
    move = decide(running, Done(), bench.clock.now(), 0.0, LIMITS)
    assert not bench.runs[Stage.REGISTER].finish(running, move), "what the cancelled attempt found is not acted upon"
    assert bench.step(Stage.REGISTER).state is JobState.DONE


def test_a_newer_generation_is_not_begun_while_an_attempt_of_the_older_one_runs(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    running = bench.journal.jobs.claim(Stage.REGISTER)
    assert running is not None
    settle_again(bench, session)
    assert bench.journal.jobs.claim(Stage.RESOLVE) is None
    assert not bench.runs[Stage.REGISTER].finish(running, decide(running, Done(), bench.clock.now(), 0.0, LIMITS))
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE


def test_jobs_of_a_session_that_settles_again_are_left_alone(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.journal.sessions.unsettle(session.id, "changed")
    bench.clock.pass_by(2 * 86_400)
    assert bench.journal.jobs.claim(Stage.SEAL) is None
    assert bench.journal.jobs.next_due(Stage.SEAL) is None
    bench.write(files={})
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE


def test_an_attempt_that_was_superseded_does_not_send_the_newer_generation_back(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.SEAL)

    def superseded_meanwhile(_job: JobRow) -> None:
        (folder / WHEEL).write_bytes(b"grown")
        settle_again(bench, session)

    worker_of(bench, Stage.REGISTER, Interposed(bench, Stage.REGISTER, superseded_meanwhile)).turn()
    assert session_now(bench, session).complete_at is not None
    assert session_now(bench, session).generation == 2


class Interposed:
    """A stage with something between the claim and its work, or in place of its end."""

    def __init__(
        self,
        bench: StageBench,
        stage: Stage,
        before: Callable[[JobRow], None],
        finish: Callable[[JobRow, Move], bool] | None = None,
    ) -> None:
        self._run = bench.runs[stage]
        self._before = before
        self._finish = finish or self._run.finish

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        self._before(job)
        return self._run(job, beat)

    def finish(self, job: JobRow, move: Move) -> bool:
        return self._finish(job, move)


def worker_of(bench: StageBench, stage: Stage, run: Interposed) -> Worker:
    context = bench.context
    shared = Shared(bench.journal, context.dependencies, LIMITS, context.wakeup, bench.clock)
    return Worker("lane", {stage: run}, shared)


def test_an_end_that_cannot_be_committed_leaves_no_job_running_for_ever(bench: StageBench) -> None:
    _, session = bench.write()

    def broken(_job: JobRow, _move: Move) -> bool:
        raise RuntimeError("a fault of labferry itself")

    worker_of(bench, Stage.RESOLVE, Interposed(bench, Stage.RESOLVE, lambda _: None, broken)).turn()
    job = bench.job(session)
    assert job.state is JobState.QUEUED
    assert "a fault of labferry itself" in job.reason


# --- journal ---------------------------------------------------------------------------------------------------


def test_the_journal_is_free_while_a_session_is_listed(bench: StageBench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, session = bench.write()
    bench.step(Stage.RESOLVE)
    written: list[bool] = []
    walk = seal.walk_session

    def slow_disk(folder: bytes) -> Iterator[WalkedFile]:
        lane = threading.Thread(target=bench.journal.sessions.signal, args=(session.id, "raw_session.flag"))
        lane.start()
        lane.join(5)
        written.append(not lane.is_alive())
        yield from walk(folder)

    monkeypatch.setattr(seal, "walk_session", slow_disk)
    bench.step(Stage.SEAL)
    assert written == [True], "a slow disk must not hold up every lane"


# --- clocks ----------------------------------------------------------------------------------------------------


def lose_an_answer(bench: StageBench) -> None:
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"


def looks_until_done(bench: StageBench, session: SessionRow, most: float) -> float:
    waited = 0.0
    while bench.job(session).kind != "archive":
        assert waited < most, bench.job(session).reason
        bench.clock.pass_by(5)
        waited += 5
        bench.journal.jobs.clamp_delays(900)
        if (bench.journal.jobs.next_due(Stage.REGISTER) or 1e99) <= bench.clock.now():
            bench.step(Stage.REGISTER)
    return waited


def test_ruling_13_a_clock_that_is_set_back_does_not_hold_a_resend_for_ever(bench: StageBench) -> None:
    _, session = bench.write()
    lose_an_answer(bench)
    bench.clock.wall += -86_400 * 365
    looks_until_done(bench, session, 2000)
    assert len(bench.requests("POST", "/register-file")) == 2


def test_ruling_13_a_clock_that_jumps_ahead_does_not_shorten_the_wait(bench: StageBench) -> None:
    _, session = bench.write()
    lose_an_answer(bench)
    bench.clock.wall += 86_400
    assert looks_until_done(bench, session, 2000) >= 45


def test_ruling_13_a_kill_starts_the_wait_anew(bench: StageBench) -> None:
    _, session = bench.write()
    lose_an_answer(bench)
    reopen(bench)
    bench.clock.wall += 86_400
    assert looks_until_done(bench, session, 2000) >= 45


def test_a_wait_does_not_outlast_a_clock_that_is_set_back(bench: StageBench) -> None:
    bench.write()
    bench.sandbox.faults.add({"match": "", "when": "before", "action": "status", "status": 503, "times": None})
    config = bench.context.config
    life = Life(config, Path(config.state_dir), Path(config.state_dir) / "log", bench.clock)
    assert bench.step(Stage.RESOLVE).state is JobState.WAITING
    bench.clock.wall -= 86_400 * 365
    life.mind_the_clock(bench.journal)
    due = bench.journal.jobs.next_due(Stage.RESOLVE)
    assert due is not None
    assert due - bench.clock.now() <= config.worker.backoff_max


# --- Alyx is not what it was ---------------------------------------------------------------------------------


def delete_in_alyx(bench: StageBench, path: str) -> None:
    bench.context.alyx.delete(path)


def test_a_session_deleted_in_alyx_after_registration_is_registered_again_on_retry(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    delete_in_alyx(bench, f"/sessions/{session_now(bench, session).eid}")
    move = bench.step(Stage.ARCHIVE)
    assert (move.state, move.code) == (JobState.BLOCKED, "session_gone")
    operations.retry(bench.context, [session_now(bench, session)])
    bench.write(files={})
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    assert set(exists_at(bench, session, "flatiron_cortexlab").values()) == {True}
    assert len(exists_at(bench, session, "flatiron_cortexlab")) == DATASETS


def test_a_dataset_lost_in_alyx_after_registration_is_registered_again_on_retry(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    dataset = next(d for d in bench.datasets(session) if WHEEL.endswith(d["name"]))
    delete_in_alyx(bench, f"/datasets/{dataset['url'][-36:]}")
    move = bench.step(Stage.ARCHIVE)
    assert (move.state, move.code) == (JobState.BLOCKED, "hash_conflict")
    operations.retry(bench.context, [session_now(bench, session)])
    bench.write(files={})
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    assert len(exists_at(bench, session, "flatiron_cortexlab")) == DATASETS
    for there in bench.datasets(session):
        (copy,) = [p for p in archived(bench) if there["url"][-36:] in p.name]
        assert hashlib.md5(copy.read_bytes()).hexdigest() == there["hash"]


def test_a_second_file_record_under_an_unpadded_number_disturbs_nothing(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    md5 = hashlib.md5(b"positions").hexdigest()
    bench.alyx(
        "POST",
        "/register-file",
        {
            "path": "KS005/2026-03-02/1",
            "filenames": [WHEEL],
            "hashes": [md5],
            "filesizes": [9],
            "name": "cortexlab_SR",
            "labs": "cortexlab",
        },
    )
    records = [r for d in bench.datasets(session) if d["hash"] == md5 for r in d["file_records"]]
    assert len(records) == 4
    assert bench.step(Stage.ARCHIVE).state is JobState.DONE
    marked = [
        r["relative_path"]
        for d in bench.datasets(session)
        for r in d["file_records"]
        if r["exists"] and r["data_repository"] == "flatiron_cortexlab"
    ]
    assert len(marked) == DATASETS
    assert all(path.startswith(PATH) for path in marked)
    with bench.journal.together():
        for file in bench.journal.files.each_dataset(session.id):
            bench.journal.files.registered(file.id, "", "", [])
    settle_again(bench, session)
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE


def test_a_dataset_type_that_vanished_costs_its_own_file_only(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    with bench.sandbox._store.database() as db:
        db.run("DELETE FROM dataset_type WHERE name LIKE '%wheel.position%'")
    move = bench.step(Stage.REGISTER)
    assert move.state is JobState.DONE, move
    assert len(bench.datasets(session)) == DATASETS - 1
    assert session_now(bench, session).attention
    (left_out,) = bench.journal.files.rejected(session.id, 10)
    assert left_out.path == WHEEL.encode()
    assert "dataset type" in left_out.reason


# --- the archive is not what it was --------------------------------------------------------------------------


def stop_after_two_files(bench: StageBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the third file fail for now, when the two others have arrived."""
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    carry = carrier.Carrier.carry
    arrived = threading.Semaphore(0)

    def third_fails(self: carrier.Carrier, number: int, item: Item) -> Evidence:
        if number == DATASETS - 1:
            assert all(arrived.acquire(timeout=30) for _ in range(DATASETS - 1))
            raise carrier.target_error("server", item.destination, OSError(5, "EIO"))
        evidence = carry(self, number, item)
        arrived.release()
        return evidence

    with monkeypatch.context() as patch:
        patch.setattr(carrier.Carrier, "carry", third_fails)
        assert bench.step(Stage.ARCHIVE).code == "target_error"


def test_an_archive_replaced_by_an_empty_one_gets_everything_before_anything_is_marked(
    bench: StageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, session = bench.write()
    stop_after_two_files(bench, monkeypatch)
    assert len(archived(bench)) == 2
    shutil.rmtree(bench.sandbox.places.archive / "cortexlab")
    for _ in range(3):
        bench.clock.pass_by(1000)
        if bench.step(Stage.ARCHIVE).state is JobState.DONE:
            break
        assert not any(exists_at(bench, session, "flatiron_cortexlab").values())
    assert len(archived(bench)) == DATASETS
    assert set(exists_at(bench, session, "flatiron_cortexlab").values()) == {True}


def test_copies_lost_before_alyx_heard_of_them_are_made_again(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    bench.sandbox.faults.add({"match": "PATCH /files", "when": "before", "action": "status", "status": 503})
    assert bench.step(Stage.ARCHIVE).state is JobState.WAITING
    shutil.rmtree(bench.sandbox.places.archive / "cortexlab")
    (bench.sandbox.places.archive / "mainenlab").mkdir()  # what is empty altogether is taken for a missing mount
    for _ in range(3):
        bench.clock.pass_by(1000)
        if bench.step(Stage.ARCHIVE).state is JobState.DONE:
            break
    assert len(archived(bench)) == DATASETS
    assert set(exists_at(bench, session, "flatiron_cortexlab").values()) == {True}


def test_ruling_10_alyx_is_looked_at_again_while_many_copies_are_marked(
    bench: StageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = "raw_video_data/_iblrig_leftCamera.timestamps.ssv"
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    mark = marking.mark_exists
    marked: list[str] = []

    def somebody_registers_meanwhile(client: AlyxClient, record: str) -> RemoteFileRecord:
        if not marked:
            body = {"path": PATH, "filenames": [last], "hashes": ["f" * 32], "filesizes": [6]}
            bench.alyx("POST", "/register-file", {**body, "name": "cortexlab_SR", "labs": "cortexlab"})
            bench.clock.pass_by(5)
        marked.append(record)
        return mark(client, record)

    monkeypatch.setattr(marking, "mark_exists", somebody_registers_meanwhile)
    assert bench.step(Stage.ARCHIVE).code == "hash_conflict"
    assert not exists_at(bench, session, "flatiron_cortexlab")[Path(last).name]


def test_ruling_10_what_was_verified_is_not_posted_over_before_alyx_heard_of_it(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    bench.sandbox.faults.add({"match": "PATCH /files", "when": "before", "action": "status", "status": 503})
    assert bench.step(Stage.ARCHIVE).state is JobState.WAITING
    (folder / WHEEL).write_bytes(b"other content")
    settle_again(bench, session)
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "changed_after_archive")
    assert len(bench.requests("POST", "/register-file")) == 1


def test_bytes_that_rotted_on_disk_are_reported_not_tried_for_ever(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    file = next(f for f in bench.journal.files.each_dataset(session.id) if f.path == WHEEL.encode())
    bench.journal._db._writer.execute("UPDATE file SET md5 = ? WHERE id = ?", ("f" * 32, file.id))
    move = bench.step(Stage.ARCHIVE)
    assert move.state is JobState.BLOCKED, move
    assert WHEEL in move.reason


# --- the configuration is not what it was --------------------------------------------------------------------


def test_a_corrected_archive_path_counts_for_what_was_planned_before(bench: StageBench) -> None:
    bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    right = bench.sandbox.places.archive
    reopen(bench, (str(right), str(right) + "-typo"))
    assert bench.step(Stage.ARCHIVE).code == "target_missing"
    reopen(bench, (str(right) + "-typo", str(right)))
    bench.clock.pass_by(1000)
    assert bench.step(Stage.ARCHIVE).state is JobState.DONE
    assert len(archived(bench)) == DATASETS


def add_second_archive(bench: StageBench, directory: Path) -> tuple[str, str]:
    """Begin a life with another archive; return the configurations without and with it."""
    other = directory / "other"
    other.mkdir()
    section = f'\n[archive.disk]\nkind = "directory"\npath = "{other}"\nnaming = "alyx"\nrepository = ""\n'
    one = bench.sandbox.config.read_text()
    both = one.replace('archive = ["server"]', 'archive = ["server", "disk"]') + section
    bench.sandbox.config.write_text(both)
    reopen(bench)
    return one, both


def test_ruling_22_archived_means_what_the_root_asks_for_now(bench: StageBench, tmp_path: Path) -> None:
    plain, both = add_second_archive(bench, tmp_path)
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    bench.step(Stage.SEAL)
    assert bench.step(Stage.ARCHIVE).state is JobState.DONE
    assert session_now(bench, session).state == "registered"
    bench.sandbox.config.write_text(plain)
    reopen(bench)
    assert session_now(bench, session).state == "archived"
    bench.sandbox.config.write_text(both)
    reopen(bench)
    assert session_now(bench, session).state == "registered"
    assert [j.target for j in bench.journal.jobs.live_of_session(session.id)] == ["disk"]


def test_a_root_that_is_not_registered_any_more_sends_nothing_to_alyx(bench: StageBench) -> None:
    _, session = bench.write()
    bench.step(Stage.RESOLVE)
    reopen(
        bench,
        ('naming = "alyx"\nrepository = "auto"', 'naming = "plain"\nrepository = ""'),
        ('layout = "ibl"', 'layout = "ibl"\nregister = false\nlab = "zlab"'),
    )
    live = bench.journal.jobs.live_of_session(session.id)
    assert [job.kind for job in live] == ["archive"]


def test_a_root_that_is_registered_from_now_on_registers_what_it_has(bench: StageBench) -> None:
    plain = (
        ('naming = "alyx"\nrepository = "auto"', 'naming = "plain"\nrepository = ""'),
        ('layout = "ibl"', 'layout = "ibl"\nregister = false\nlab = "zlab"'),
    )
    reopen(bench, *plain)
    _, session = bench.write(register=False)
    bench.step(Stage.SEAL)
    reopen(bench, *((new, old) for old, new in plain))
    bench.write(files={})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.datasets(session)) == DATASETS


def test_work_of_a_root_that_is_not_configured_any_more_says_so(bench: StageBench, tmp_path: Path) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    _, unfinished = bench.write("KS005/2026-03-02/002")
    bench.journal.sessions.unsettle(unfinished.id, "changed")
    other = tmp_path / "elsewhere"
    other.mkdir()
    reopen(bench, ('name = "rig"', 'name = "rig2"'), (str(bench.sandbox.places.watch_root), str(other)))
    job = bench.job(session)
    assert (job.state, job.code) == (JobState.WAITING, "root_unknown")
    live = LiveState((), bench._detect, started_at=0.0, log_file=tmp_path / "log")
    for row in (session, unfinished):
        found = explain_session(bench.context, live, session_now(bench, row))
        assert (found.verdict, found.code) == ("waiting_dependency", "root_unknown")
    reopen(bench, ('name = "rig2"', 'name = "rig"'), (str(other), str(bench.sandbox.places.watch_root)))
    assert bench.step(Stage.ARCHIVE).state is JobState.DONE


# --- two folders, one session ----------------------------------------------------------------------------------


def test_ruling_03_a_folder_that_comes_back_does_not_write_beside_the_one_that_took_its_place(
    bench: StageBench,
) -> None:
    _, first = bench.write()
    bench.run_until(Stage.SEAL)
    bench.journal.sessions.vanished(first.id)
    second = find_session(bench.journal, "rig", b"copy/Subjects/" + PATH.encode(), "KS005", "2026-03-02", 1)
    bench.journal.sessions.complete(second.id, b"signature", register=True, targets=["server"])
    owner = bench.journal.sessions.key_owner(second.id)
    assert owner is not None
    assert owner.id == second.id
    bench.journal.sessions.returned(first.id)
    assert bench.journal.jobs.claim(Stage.REGISTER) is None, "it is looked at anew first"
    bench.journal.sessions.complete(first.id, b"signature", register=True, targets=["server"])
    job = bench.job(first)
    assert (job.state, job.code) == (JobState.BLOCKED, "same_session_elsewhere")
    assert bench.requests("POST", "/sessions") == []


def test_ruling_03_a_folder_that_moved_is_taken_over_once_a_person_says_so(bench: StageBench) -> None:
    folder, first = bench.write()
    bench.run_until(Stage.REGISTER)
    moved = "cortexlab/Subjects/" + PATH
    target = bench.sandbox.places.watch_root / moved
    target.parent.mkdir(parents=True)
    shutil.move(folder, target)
    bench.journal.sessions.vanished(first.id)
    second = find_session(bench.journal, "rig", moved.encode(), "KS005", "2026-03-02", 1)
    bench.journal.sessions.complete(second.id, b"signature", register=True, targets=["server"])
    assert bench.job(second).code == "same_session_elsewhere", "first a person decides"
    operations.retry(bench.context, [session_now(bench, second)])
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("POST", "/register-file")) == 1, "Alyx has them"


def test_a_root_without_archive_does_not_leave_a_late_file_behind(bench: StageBench) -> None:
    reopen(bench, ('archive = ["server"]', "archive = []"))
    folder, _ = bench.write()
    bench.run_until(Stage.SEAL)
    (folder / "alf/_ibl_wheel.timestamps.npy").write_bytes(b"late")
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.WAITING, "changed")


def test_copies_to_different_archives_go_on_side_by_side(bench: StageBench, tmp_path: Path) -> None:
    add_second_archive(bench, tmp_path)
    bench.write()
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    bench.step(Stage.SEAL)
    assert bench.journal.jobs.claim(Stage.ARCHIVE, "server") is not None
    assert bench.journal.jobs.claim(Stage.ARCHIVE, "disk") is not None


def test_ruling_03_a_folder_that_came_back_after_its_key_was_given_away_archives_nothing(bench: StageBench) -> None:
    _, first = bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    bench.step(Stage.SEAL)
    bench.journal.sessions.vanished(first.id)
    second = find_session(bench.journal, "rig", b"copy/Subjects/" + PATH.encode(), "KS005", "2026-03-02", 1)
    bench.journal.sessions.complete(second.id, b"signature", register=True, targets=["server"])
    assert bench.journal.sessions.reclaim_key(second.id) is None, "a person moved the folder"
    bench.journal.sessions.returned(first.id)
    move = bench.step(Stage.ARCHIVE)
    assert (move.state, move.code) == (JobState.BLOCKED, "same_session_elsewhere")
