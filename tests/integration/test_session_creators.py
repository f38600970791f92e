"""Ruling 9: beside another program that creates sessions too, and the command that starts what comes afterwards."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from labferry.engine.registering import hook
from labferry.engine.registering.errand import Errand
from labferry.engine.worker import StoppedEarly
from labferry.journal.jobs import Move
from labferry.model import JobState, Stage
from support.records import SUBJECT
from support.sessions import (
    PATH,
    WHEEL,
    chained,
    in_alyx,
    made_by_the_rig,
    record_bench,
    register,
    remarks,
    task,
    weighings,
    write,
)
from support.stages import StageBench
from support.wait import wait_until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = record_bench(tmp_path)
    yield bench
    bench.close()


def at_the_moment_of_creation(bench: StageBench, meanwhile: Callable[[], object]) -> Move:
    """Register the chained session; while its POST is on its way, let somebody else do something."""
    write(bench, chained())
    bench.run_until(Stage.SEAL)
    rule = bench.sandbox.faults.add({"match": "POST /sessions", "when": "before", "action": "hold"})
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(bench.step, Stage.REGISTER)
        assert bench.sandbox.faults.wait(rule.id, 1, 20.0)
        meanwhile()
        bench.sandbox.faults.release()
        return ours.result(20.0)


def sessions(bench: StageBench) -> list[str]:
    """Return the ids of the animal's sessions in Alyx."""
    return [row["id"] for row in bench.alyx("GET", f"/sessions?subject={SUBJECT}")["results"]]


# --- another creator --------------------------------------------------------------------------------------


def test_ruling_09_without_creating_the_daemon_waits_for_another_program(tmp_path: Path) -> None:
    with closing(record_bench(tmp_path, LABFERRY_REGISTRATION__CREATE_SESSIONS="false")) as bench:
        move = register(bench, chained())
        assert (move.state, move.code) == (JobState.WAITING, "session_not_on_alyx")
        assert move.not_before - bench.clock.now() >= 60, "asked seldom"
        assert bench.requests("POST", "/register-file") == []
        eid = made_by_the_rig(bench)
        bench.clock.pass_by(600)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        assert sessions(bench) == [eid]


def test_ruling_09_a_concurrent_creator_leaves_one_session_and_a_remark(bench: StageBench) -> None:
    theirs: list[str] = []
    move = at_the_moment_of_creation(bench, lambda: theirs.append(made_by_the_rig(bench)))
    assert move.state is JobState.DONE
    assert sessions(bench) == theirs
    assert theirs[0] in remarks(bench)["concurrent_creator"]
    assert bench.datasets(bench.journal.sessions.get(1))  # type: ignore[arg-type]
    assert len(weighings(bench)) == 1, "the session is not one that we created: its weighing is the rig's"
    assert register(bench, chained()).state is JobState.DONE
    assert "concurrent_creator" in remarks(bench), "for as long as the session is theirs"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("dies", [False, True], ids=["lives on", "dies"])
def test_ruling_09_the_withdrawal_survives_a_lost_answer(bench: StageBench, when: str, dies: bool) -> None:
    theirs: list[str] = []
    bench.sandbox.faults.add({"match": "DELETE /sessions", "when": when, "action": "drop"})
    move = at_the_moment_of_creation(bench, lambda: theirs.append(made_by_the_rig(bench)))
    assert move.code == "answer_lost"
    if dies:
        bench.end_life()
        bench.open()
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert sessions(bench) == theirs
    assert "concurrent_creator" in remarks(bench)
    assert len(weighings(bench)) == 1


def test_ruling_09_a_creation_whose_answer_was_lost_is_withdrawn_as_well(bench: StageBench) -> None:
    theirs: list[str] = []
    bench.sandbox.faults.add({"match": "POST /sessions", "when": "after", "action": "drop"})
    assert at_the_moment_of_creation(bench, lambda: theirs.append(made_by_the_rig(bench))).code == "answer_lost"
    assert len(sessions(bench)) == 2
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert sessions(bench) == theirs


@pytest.mark.parametrize("thing", ["note", "task", "water", "dataset"])
def test_ruling_09_a_session_that_somebody_uses_is_not_deleted(bench: StageBench, thing: str) -> None:
    move = register(bench, WHEEL) if thing == "dataset" else at_the_moment_of_creation(bench, lambda: None)
    assert move.state is JobState.DONE
    ours = in_alyx(bench)["id"]
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("DELETE FROM water_administration")
        if thing != "dataset":
            db.run("DELETE FROM dataset")
    if thing == "note":
        note = {"user": "ines", "content_type": "session", "object_id": ours, "text": "good"}
        bench.alyx("POST", "/notes", note)
    elif thing == "task":
        bench.alyx("POST", "/tasks", {"name": "RegisterRaw", "session": ours, "status": "Waiting"})
    elif thing == "water":
        bench.alyx("POST", "/water-administrations", {"subject": SUBJECT, "session": ours, "water_administered": 1})
    theirs = made_by_the_rig(bench, animals=False)
    blocked = register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"})
    assert (blocked.state, blocked.code) == (JobState.BLOCKED, "duplicate_session")
    assert ours in blocked.reason
    assert theirs in blocked.reason
    assert bench.requests("DELETE", "/sessions") == []


def test_ruling_09_two_foreign_sessions_are_left_to_a_person(bench: StageBench) -> None:
    both = {made_by_the_rig(bench), made_by_the_rig(bench, animals=False)}
    move = register(bench, chained())
    assert (move.state, move.code) == (JobState.BLOCKED, "duplicate_session")
    assert all(eid in move.reason for eid in both)
    assert bench.requests("DELETE", "/sessions") == []


def test_ruling_09_a_creation_of_an_older_generation_is_waited_for(bench: StageBench) -> None:
    """The session changed while its creation was on its way: the next generation must not create it a second time."""
    write(bench, chained())
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /sessions", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    assert register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"}).code == "files_in_flight"
    assert len(bench.requests("POST", "/sessions")) == 1
    bench.alyx("POST", "/sessions", bench.requests("POST", "/sessions")[0]["body"])  # it arrives after all
    bench.clock.pass_by(30)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(sessions(bench)) == 1
    row = bench.journal.sessions.get(1)
    assert row is not None
    assert row.created_here


def test_ruling_09_a_foreign_session_is_not_trusted_while_ours_may_be_on_its_way(bench: StageBench) -> None:
    write(bench, chained())
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /sessions", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    theirs = made_by_the_rig(bench)
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    bench.alyx("POST", "/sessions", bench.requests("POST", "/sessions")[0]["body"])  # now there are two
    bench.clock.pass_by(30)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert sessions(bench) == [theirs]


def test_ruling_09_a_creation_that_fails_without_a_word_is_looked_for(bench: StageBench) -> None:
    """A 500 says nothing about what Alyx did before it failed."""
    write(bench, chained())
    bench.run_until(Stage.SEAL)
    failing = {"when": "after", "action": "status", "status": 500, "body": {"detail": "out of luck"}}
    bench.sandbox.faults.add({"match": "POST /sessions", **failing})
    assert bench.step(Stage.REGISTER).code == "alyx_error"
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(sessions(bench)) == 1
    assert len(weighings(bench)) == 2, "it counts as created here"


def test_ruling_11_a_session_that_was_deleted_and_made_again_by_the_rig_is_not_ours(bench: StageBench) -> None:
    register(bench, {**WHEEL})
    bench.context.alyx.delete(f"/sessions/{in_alyx(bench)['id']}")
    eid = made_by_the_rig(bench)
    assert register(bench, chained()).state is JobState.DONE
    row = bench.journal.sessions.get(1)
    assert row is not None
    assert (row.eid, row.created_here) == (eid, 0)
    assert len(weighings(bench)) == 1


# --- the command afterwards -------------------------------------------------------------------------------


def script(directory: Path, text: str) -> Path:
    """Write a command for the operator."""
    file = directory / "hook.sh"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(stat.S_IRWXU)
    return file


def hooked(directory: Path, text: str, *words: str, **environ: str) -> StageBench:
    """Return a bench that runs a script after registration; it may write into `$0.out`."""
    command = [str(script(directory, text)), *words]
    spelled = "[" + ", ".join(f'"{word}"' for word in command) + "]"
    return record_bench(directory / "lab", LABFERRY_REGISTRATION__ON_REGISTERED=spelled, **environ)


def said(directory: Path) -> list[str]:
    """Return the lines that the script wrote so far."""
    file = directory / "hook.sh.out"
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put into the daemon's environment what no child must see."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/labferry.service")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LABFERRY_ALYX__PASSWORD_FILE", "/etc/labferry/password")


def test_ruling_09_the_command_runs_once_with_path_and_eid(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, 'echo "$*" >> "$0.out"', "{path}", "--eid={eid}", "{path}/{eid}")) as bench:
        assert register(bench, {**task(), **WHEEL}).state is JobState.DONE
        eid = in_alyx(bench)["id"]
        folder = f"{bench.sandbox.places.watch_root}/{PATH}"
        assert said(tmp_path) == [f"{folder} --eid={eid} {folder}/{eid}"]
        assert register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"}).state is JobState.DONE
        assert len(said(tmp_path)) == 1, "not for another generation"


def test_ruling_09_the_command_does_not_run_for_a_session_that_is_not_registered(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, 'echo ran >> "$0.out"')) as bench:
        assert register(bench, chained(REWARD_TYPE="Juice")).state is JobState.BLOCKED
        assert said(tmp_path) == []


def test_ruling_09_the_command_runs_again_if_it_was_killed_with_the_daemon(tmp_path: Path) -> None:
    told = 'echo "$LABFERRY_EID $LABFERRY_RUN" >> "$0.out"'
    with closing(hooked(tmp_path, told)) as bench:
        register(bench, {**task(), **WHEEL})
        eid = in_alyx(bench)["id"]
        begin_a_run(bench)
        assert register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"}).state is JobState.DONE
        assert said(tmp_path) == [f"{eid} 1", f"{eid} 2"], "the same session, and not for the first time"


def begin_a_run(bench: StageBench) -> None:
    """Make the journal what it is while the command runs."""
    (job, *_) = bench.journal.jobs.of_session(1)
    (step,) = [one for one in bench.journal.steps.of_job(job.id) if one.name == hook.HOOK_STEP]
    bench.journal.steps.send(job.id, step.name, json.loads(step.request))


def test_ruling_09_a_command_of_an_earlier_life_gets_its_time_and_no_more(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, 'echo ran >> "$0.out"')) as bench, ThreadPoolExecutor(1) as pool:
        register(bench, {**task(), **WHEEL})
        begin_a_run(bench)
        errand = Errand(f"{bench.context.config.state_dir}/{hook.HOOK_STEP}", "1")
        with errand.alone() as lock, (tmp_path / "earlier").open("wb") as output:
            assert lock is not None
            words = [b"/bin/sh", b"-c", b"echo here; sleep 10"]
            earlier = pool.submit(errand.run, lock, words, {"PATH": os.environ["PATH"]}, output, lambda: True)
            wait_until((tmp_path / "earlier").read_text, what="the command of an earlier life to run")
        move = register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"})
        assert (move.state, move.code) == (JobState.WAITING, "hook_running")
        bench.clock.pass_by(hook.AT_MOST)
        move = bench.step(Stage.REGISTER)
        assert (move.state, move.code) == (JobState.QUEUED, "hook_failed")
        assert "had not ended" in move.reason
        assert earlier.result(20.0) == -signal.SIGKILL
        bench.clock.pass_by(900)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        assert said(tmp_path) == ["ran", "ran"]


@pytest.mark.parametrize(("end", "runs"), [("0", 1), ("3", 2)])
def test_ruling_09_the_end_of_a_run_is_known_although_the_daemon_was_not_there(
    tmp_path: Path, end: str, runs: int
) -> None:
    with closing(hooked(tmp_path, 'echo ran >> "$0.out"')) as bench:
        register(bench, {**task(), **WHEEL})
        begin_a_run(bench)
        Path(bench.context.config.state_dir, hook.HOOK_STEP, "1.end").write_text(f"{end}\n")
        move = register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"})
        if end != "0":
            assert (move.code, f"ended with {end}" in move.reason) == ("hook_failed", True)
            bench.clock.pass_by(900)
            move = bench.step(Stage.REGISTER)
        assert move.state is JobState.DONE
        assert len(said(tmp_path)) == runs


@pytest.mark.usefixtures("told")
def test_ruling_09_the_command_learns_no_secret_and_speaks_not_for_the_daemon(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, 'env > "$0.out"; pwd >> "$0.out"', LABFERRY_ALYX__TIMEOUT="20s")) as bench:
        assert register(bench, {**task(), **WHEEL}).state is JobState.DONE
        names = {line.partition("=")[0] for line in said(tmp_path)}
        assert "PATH" in names
        told = {name for name in names if name.startswith(("LABFERRY", "CREDENTIALS", "NOTIFY"))}
        assert told == {"LABFERRY_EID", "LABFERRY_RUN"}
        assert said(tmp_path)[-1] == "/"


def test_ruling_09_a_path_that_is_no_text_reaches_the_command_as_it_is(tmp_path: Path) -> None:
    eid = "11111111-2222-4333-8444-555555555555"
    words = hook._words(["run", "--at={path}", "{eid}{path}"], b"/mnt/\xff{eid}/KS005", eid)
    assert words == [b"run", b"--at=/mnt/\xff{eid}/KS005", eid.encode() + b"/mnt/\xff{eid}/KS005"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo no disk >&2; exit 3", "ended with 3: no disk"),
        ("kill -9 $$", "ended with 137"),
        (None, "Permission denied"),
    ],
)
def test_ruling_09_a_command_that_fails_is_tried_again_and_then_named(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    with closing(hooked(tmp_path, text or "exit 0", LABFERRY_WORKER__MAX_ATTEMPTS="3")) as bench:
        if text is None:
            (tmp_path / "hook.sh").chmod(stat.S_IRUSR)
            (tmp_path / "hook.sh").write_text("")
        write(bench, {**task(), **WHEEL})
        moves = [bench.run_until(Stage.REGISTER)]
        while moves[-1].state is not JobState.BLOCKED:
            bench.clock.pass_by(900)
            moves.append(bench.step(Stage.REGISTER))
        assert {move.code for move in moves} == {"hook_failed"}
        assert len(moves) == 3
        assert reason in moves[-1].reason
        assert "on_registered" in moves[-1].hint
        assert len(bench.requests("POST", "/register-file")) == 1
        (tmp_path / "hook.sh").write_text("#!/bin/sh\n")
        (tmp_path / "hook.sh").chmod(stat.S_IRWXU)
        (job,) = bench.journal.jobs.unfinished()
        assert bench.journal.jobs.revive(job.id)
        assert bench.step(Stage.REGISTER).state is JobState.DONE


def test_ruling_09_what_a_command_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, "sleep 30 & echo $! > $0.out")) as bench:
        assert register(bench, {**task(), **WHEEL}).state is JobState.DONE
        os.kill(int(said(tmp_path)[0]), 9)


def test_ruling_09_a_command_without_end_is_killed_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "AT_MOST", 0.0)
    with closing(hooked(tmp_path, "sleep 30")) as bench:
        move = register(bench, {**task(), **WHEEL})
        assert (move.state, move.code) == (JobState.QUEUED, "hook_failed")
        assert "had not ended" in move.reason


def test_ruling_09_the_stop_of_the_daemon_does_not_wait_for_the_command(tmp_path: Path) -> None:
    with closing(hooked(tmp_path, 'sleep 30 & echo $$ $! > "$0.out"; wait')) as bench, ThreadPoolExecutor(1) as pool:
        write(bench, {**task(), **WHEEL})
        bench.run_until(Stage.SEAL)
        job = bench.journal.jobs.claim(Stage.REGISTER)
        assert job is not None
        registering = pool.submit(bench.runs[Stage.REGISTER], job, lambda _what, _seconds: None)
        wait_until(lambda: said(tmp_path) or registering.done(), what="the command to run")
        bench.context.wakeup.stop()
        with pytest.raises(StoppedEarly):
            registering.result(20.0)
        for process in said(tmp_path)[0].split():
            wait_until(lambda pid=process: not Path(f"/proc/{pid}/cwd").exists(), what="its processes to end")
