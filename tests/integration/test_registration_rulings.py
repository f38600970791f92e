"""Rulings that are only seen when something happens in between: to Alyx, to a file, to an answer on its way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from labferry.alyx.client import AlyxClient
from labferry.alyx.registration import RegisteredFile
from labferry.engine.registering import chunks
from labferry.engine.wakeup import Wakeup
from labferry.journal.rows import SessionRow
from labferry.model import FileFate, JobKind, JobState, Stage
from labferry.service.assembly import assemble
from support.stages import FILES, StageBench

PATH = "KS005/2026-03-02/001"
DATASETS = 3  # of FILES
RESEND_AFTER, LOOK_EVERY = 30.0, 15.0  # seconds, as with a real Alyx: the sandbox's configuration is impatient


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(
        tmp_path,
        LABFERRY_REGISTRATION__RESEND_AFTER=f"{RESEND_AFTER}",
        LABFERRY_REGISTRATION__RESEND_LOOK_EVERY=f"{LOOK_EVERY}",
    )
    yield bench
    bench.close()


def existing_session(bench: StageBench) -> str:
    """Create the session as another program would; return its id."""
    record = {"subject": "KS005", "number": 1, "start_time": "2026-03-02T09:30:00", "users": ["lab_server"]}
    return str(bench.alyx("POST", "/sessions", record)["url"])[-36:]


def register_elsewhere(bench: StageBench, name: str, md5: str) -> None:
    """Register a file as another program would."""
    body = {"path": PATH, "filenames": [name], "hashes": [md5], "filesizes": [6], "name": "cortexlab_SR"}
    bench.alyx("POST", "/register-file", {**body, "labs": "cortexlab", "exists": True})


def test_ruling_03_retry_does_not_help_while_the_other_folder_is_there(bench: StageBench) -> None:
    bench.write()
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    posts = len(bench.requests("POST", "/"))
    _, other = bench.write("KS005/2026-03-02/1")
    assert bench.journal.jobs.revive(bench.job(other).id)
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "same_session_elsewhere")
    assert PATH in move.reason
    assert len(bench.requests("POST", "/")) == posts


def test_ruling_06_only_what_is_sent_is_hashed(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    files = bench.journal.files.of_session(session.id)
    assert {file.path.decode() for file in files} == set(FILES), "the rest is listed"
    assert {file.path for file in files if file.md5} == {file.path for file in files if file.fate is FileFate.DATASET}
    assert [file.size for file in files] == [len(FILES[file.path.decode()]) for file in files]


def test_ruling_08_the_server_is_written_into_what_it_creates_and_read_back(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    found = bench.alyx("GET", f"/sessions/{row.eid}")
    assert found["json"]["labferry"]["server_name"] == bench.context.config.server_name
    bench.alyx("PATCH", f"/sessions/{row.eid}", {"json": {"labferry": {"server_name": "other-server"}}})
    bench.journal.sessions.unsettle(session.id, "looked at again")
    bench.write(files={"alf/_ibl_wheel.timestamps.npy": b"late"})
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "owned_by_other_server")
    assert len(bench.requests("POST", "/register-file")) == 1


def test_ruling_09_a_second_creator_at_the_same_moment_is_reported(bench: StageBench) -> None:
    bench.write()
    bench.run_until(Stage.SEAL)
    rule = bench.sandbox.faults.add({"match": "POST /sessions", "when": "before", "action": "hold"})
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(bench.step, Stage.REGISTER)
        assert bench.sandbox.faults.wait(rule.id, 1, 20.0)
        theirs = existing_session(bench)
        bench.sandbox.faults.release()
        move = ours.result(20.0)
    assert move.state is JobState.DONE
    (left,) = bench.alyx("GET", "/sessions?subject=KS005")["results"]
    assert left["id"] == theirs, "ours was empty: it is withdrawn, and the other one gets the files"
    (remark,) = [text for code, text in bench.journal.sessions.remarks(1) if code == "concurrent_creator"]
    assert theirs in remark


def test_ruling_09_sessions_that_are_not_both_new_are_left_to_a_person(bench: StageBench) -> None:
    one, other = existing_session(bench), existing_session(bench)
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "duplicate_session")
    assert one in move.reason
    assert other in move.reason
    assert bench.requests("DELETE", "/sessions") == []
    assert bench.requests("POST", "/register-file") == []


def lost_registration(bench: StageBench) -> None:
    """Let a registration get lost, and the time pass until Alyx is looked at for the first time."""
    existing_session(bench)
    register_elsewhere(bench, "alf/licks.times.npy", "a" * 32)
    bench.write()
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(RESEND_AFTER)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"


def test_ruling_13_a_look_that_differs_begins_the_watch_anew(bench: StageBench) -> None:
    lost_registration(bench)
    (other,) = bench.context.alyx.list_all("/datasets", {"name": "licks.times.npy"})
    bench.alyx("PATCH", f"/datasets/{str(other['url'])[-36:]}", {"hash": "b" * 32})
    bench.clock.pass_by(LOOK_EVERY)
    sent = len(bench.requests("POST", "/register-file"))
    assert bench.step(Stage.REGISTER).code == "files_in_flight", "Alyx does not stand still"
    assert len(bench.requests("POST", "/register-file")) == sent
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE


def test_ruling_13_two_looks_in_a_row_are_not_far_enough_apart(bench: StageBench) -> None:
    lost_registration(bench)
    sent = len(bench.requests("POST", "/register-file"))
    (job,) = bench.journal.jobs.unfinished()
    for _ in range(2):
        assert bench.journal.jobs.revive(job.id), "an operator is impatient"
        assert bench.step(Stage.REGISTER).code == "files_in_flight"
    assert len(bench.requests("POST", "/register-file")) == sent
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE


def test_ruling_13_a_file_replaced_by_one_of_equal_size_and_time_is_not_sent(bench: StageBench) -> None:
    folder, _ = bench.write()
    bench.run_until(Stage.SEAL)
    file = folder / "alf/_ibl_wheel.position.npy"
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.WAITING, "changed")
    assert bench.requests("POST", "/register-file") == []


def test_ruling_19_what_is_begun_is_finished_first(bench: StageBench) -> None:
    _, new = bench.write("KS005/2026-03-02/002")
    assert bench.step(Stage.RESOLVE).state is JobState.QUEUED
    bench.step(Stage.SEAL)
    begun, (_, new) = new, bench.write("KS005/2026-03-02/003", files={})
    assembly = assemble(bench.context.config, bench.journal, Wakeup(), bench.clock)
    try:
        lane = next(lane for lane in assembly.lanes if lane.name == "register-1")
        assert lane.turn() == 0.0
    finally:
        assembly.detect.tidy()
        assembly.context.alyx.close()
    assert bench.job(begun).kind is JobKind.ARCHIVE
    assert bench.job(new).stage is Stage.RESOLVE


def outcome_in_alyx(bench: StageBench, session: SessionRow) -> tuple[int, list[Any]]:
    """Return how many sessions Alyx has, and the datasets with where they exist."""
    where = [
        (d["name"], d["hash"], sorted((r["data_repository"], r["exists"]) for r in d["file_records"]))
        for d in bench.datasets(session)
    ]
    return len(list(bench.context.alyx.list_all("/sessions", {"subject": "KS005"}))), sorted(where)


@pytest.mark.parametrize("when", ["before", "after"])
def test_ruling_32_every_change_survives_a_lost_answer(tmp_path: Path, when: str) -> None:
    def run(folder: Path, number: int | None) -> tuple[object, int]:
        """Register and archive one session; lose the answer of one change; return the end and the changes."""
        folder.mkdir()
        bench = StageBench(folder)
        try:
            if number is not None:
                match = {"regexp": "^(POST /(?!auth)|PATCH )", "n": number}
                bench.sandbox.faults.add({"match": match, "when": when, "action": "drop"})
            _, session = bench.write()
            for _ in range(100):
                job = bench.job(session)
                if job.state in {JobState.DONE, JobState.BLOCKED}:
                    break
                if (bench.journal.jobs.next_due(job.stage, job.target) or 0.0) > bench.clock.now():
                    bench.clock.pass_by(5)
                else:
                    bench.step(job.stage)
            assert (job.kind, job.state, job.reason) == (JobKind.ARCHIVE, JobState.DONE, "")
            changes = len(bench.requests("POST", "/")) - len(bench.requests("POST", "/auth"))
            return outcome_in_alyx(bench, session), changes + len(bench.requests("PATCH", "/"))
        finally:
            bench.close()

    undisturbed, changes = run(tmp_path / "undisturbed", None)
    assert changes >= 2 + DATASETS
    for number in range(1, changes + 1):
        assert run(tmp_path / str(number), number)[0] == undisturbed, f"change {number} of {changes}"


def test_ruling_13_a_slow_alyx_gets_three_times_its_slowest_request(
    bench: StageBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = chunks.post_files

    def slow(client: AlyxClient, body: dict[str, object]) -> list[RegisteredFile]:
        bench.clock.pass_by(20.0)
        return real(client, body)

    monkeypatch.setattr(chunks, "post_files", slow)
    bench.write()
    bench.run_until(Stage.REGISTER)
    bench.write("KS005/2026-03-02/002")
    bench.run_until(Stage.SEAL)
    bench.step(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(RESEND_AFTER)
    assert bench.step(Stage.REGISTER).not_before == pytest.approx(bench.clock.now() + 3 * 20.0 - RESEND_AFTER - 20.0)
