"""The record of a session in Alyx: what is posted, what is patched later, what keeps it from being posted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.dependencies import Health
from labferry.errors import UnexplainedError
from labferry.model import JobState, Stage
from support.records import DAY, DESCRIPTION, NUMBER, SETTINGS, SUBJECT, new_settings, old_settings, trial
from support.sessions import (
    LAB,
    LOCATION,
    PASSIVE,
    PATH,
    WHEEL,
    chained,
    in_alyx,
    learn,
    made_by_the_rig,
    record_bench,
    register,
    remarks,
    sent,
    task,
    write,
)
from support.stages import StageBench
from support.trees import SHARED, needs_shared


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = record_bench(tmp_path)
    yield bench
    bench.close()


NEW_BODY = {
    "subject": SUBJECT,
    "lab": LAB,
    "users": ["ines"],
    "location": LOCATION,
    "projects": ["practice"],
    "procedures": [],
    "type": "Experiment",
    "task_protocol": "_iblrig_tasks_trainingChoiceWorld8.24.4",
    "number": NUMBER,
    "start_time": f"{DAY}T10:15:30.250000",
    "end_time": f"{DAY}T11:05:00.500000",
    "n_trials": 3,
    "n_correct_trials": 2,
    "narrative": "",
    "json": {
        "IS_MOCK": False,
        "IBLRIG_VERSION": "8.24.4",
        "TASK_VERSION": "1.2.6",
        "POOP_COUNT": 4,
        "SESSION_DELAY_START": 12,
        "labferry": {"server_name": "sandbox"},
    },
}
OLD_BODY = {
    **NEW_BODY,
    "task_protocol": "_iblrig_tasks_biasedChoiceWorld7.1.2",
    "end_time": f"{DAY}T10:18:30.250000",  # of the last trial: older rigs do not write it
    "json": {"IS_MOCK": False, "IBLRIG_VERSION": "7.1.2", "labferry": {"server_name": "sandbox"}},
}


# --- REG-03: created, once, as the rig wrote it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "body"), [(old_settings(), OLD_BODY), (new_settings(), NEW_BODY)], ids=["version 7", "version 8"]
)
def test_reg_03_the_posted_body_field_by_field(
    bench: StageBench, settings: Mapping[str, object], body: Mapping[str, object]
) -> None:
    assert register(bench, {**task(settings), **WHEEL}).state is JobState.DONE
    assert sent(bench, "POST", "/sessions") == [body]
    held = in_alyx(bench)
    assert {key: held[key] for key in body if key != "users"} == {k: v for k, v in body.items() if k != "users"}


def test_reg_03_the_second_run_patches_what_is_ours_and_doubles_nothing(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    before = in_alyx(bench)
    assert register(bench, task()).state is JobState.DONE
    assert sent(bench, "PATCH", "/sessions") == [], "nothing changed"
    longer = task(new_settings(SESSION_END_TIME=f"{DAY}T11:20:00", POOP_COUNT=6), [*(trial(n) for n in range(4))])
    assert register(bench, longer).state is JobState.DONE
    (patch,) = sent(bench, "PATCH", "/sessions")
    keys = {**before["json"], "POOP_COUNT": 6}
    assert patch == {"end_time": f"{DAY}T11:20:00", "n_trials": 4, "n_correct_trials": 4, "json": keys}
    assert in_alyx(bench)["id"] == before["id"]
    assert len(sent(bench, "POST", "/sessions")) == 1


@pytest.mark.parametrize(
    ("change", "code", "both"),
    [
        ({"SUBJECT_NAME": "KS005"}, "subject_mismatch", ("ZFM-0042", "KS005")),
        ({"SESSION_NUMBER": 4}, "number_mismatch", ("003", "004")),
        ({"SESSION_START_TIME": "2024-05-18T10:15:30"}, "date_mismatch", ("2024-05-17", "2024-05-18")),
    ],
)
def test_reg_03_settings_of_another_session_are_blocked_before_anything_is_sent(
    bench: StageBench, change: Mapping[str, object], code: str, both: tuple[str, str]
) -> None:
    move = register(bench, {**task(new_settings(**change)), **WHEEL})
    assert (move.state, move.code) == (JobState.BLOCKED, code)
    assert all(value in move.reason for value in both)
    assert "labferry retry" in move.hint
    assert [r for r in bench.requests("POST", "/") if r["path"] != "/auth-token"] == []


def test_reg_03_a_rig_that_alyx_does_not_know_does_not_cost_the_session(bench: StageBench) -> None:
    settings = new_settings(RIG_NAME="_iblrig_new_rig")
    assert register(bench, {**task(settings), **WHEEL}).state is JobState.DONE
    assert in_alyx(bench)["location"] is None
    assert "_iblrig_new_rig" in remarks(bench)["unknown_location"]
    assert [one["status"] for one in bench.requests("POST", "/sessions")] == [400, 201]
    learn(bench, locations=[{"name": "_iblrig_new_rig", "lab": LAB}])
    assert register(bench, task(settings)).state is JobState.DONE
    assert sent(bench, "PATCH", "/sessions") == [{"location": "_iblrig_new_rig"}], "in the next generation it is known"
    assert remarks(bench) == {}


@pytest.mark.parametrize("what", ["projects", "procedures"])
def test_reg_03_an_unknown_project_or_procedure_is_one_blocked_message(bench: StageBench, what: str) -> None:
    write(bench, {**task(), **WHEEL, DESCRIPTION: f"{what}: [not_in_alyx]\n".encode()})
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "unknown_name")
    assert f"{what} 'not_in_alyx'" in move.reason
    assert sent(bench, "POST", "/sessions") == []
    learn(bench, **{what: [{"name": "not_in_alyx"}]})
    (job,) = bench.journal.jobs.unfinished()
    assert bench.journal.jobs.revive(job.id)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert in_alyx(bench)[what] == ["not_in_alyx"]


def test_reg_03_a_session_that_alyx_lost_is_made_again_on_a_persons_word(bench: StageBench) -> None:
    write(bench, {**task(), **WHEEL})
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "status", "status": 429})
    assert bench.step(Stage.REGISTER).code == "alyx_throttled"
    bench.context.alyx.delete(f"/sessions/{in_alyx(bench)['id']}")
    bench.clock.pass_by(3600)
    lost = bench.step(Stage.REGISTER)
    assert (lost.state, lost.code) == (JobState.BLOCKED, "session_gone")
    (job,) = bench.journal.jobs.unfinished()
    assert bench.journal.jobs.revive(job.id)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(sent(bench, "POST", "/sessions")) == 2
    assert len(bench.datasets(bench.context.session_of(job))) > 0


@pytest.mark.parametrize("change", [{"start_time": "2024-05-18T10:15:30"}, {"number": 4}], ids=["date", "number"])
def test_reg_03_a_session_that_a_person_renamed_in_alyx_is_not_created_again(
    bench: StageBench, change: dict[str, object]
) -> None:
    register(bench, {**task(), **WHEEL})
    eid = in_alyx(bench)["id"]
    bench.alyx("PATCH", f"/sessions/{eid}", change)
    move = register(bench, task())
    assert (move.state, move.code) == (JobState.BLOCKED, "session_differs")
    assert PATH in move.reason
    assert str(next(iter(change.values())))[:10] in move.reason
    assert len(sent(bench, "POST", "/sessions")) == 1


@needs_shared
@pytest.mark.parametrize("name", ["session_biased_ge5", "session_training_ge5"])
def test_reg_03_a_real_session_of_version_5_is_registered(tmp_path: Path, name: str) -> None:
    folder = SHARED / "data/ibl/raw" / name
    settings = json.loads((folder / "raw_behavior_data" / SETTINGS).read_text())
    subject, number = settings["SUBJECT_NAME"], int(settings["SESSION_NUMBER"])
    day = settings["SESSION_DATETIME"][:10]
    with closing(StageBench(tmp_path, subjects=((subject, "cortexlab"),))) as bench:
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        bench.write(f"{subject}/{day}/{number:03d}", files)
        assert bench.run_until(Stage.REGISTER).state is JobState.DONE
        (body,) = sent(bench, "POST", "/sessions")
        assert body["start_time"] == datetime.fromisoformat(settings["SESSION_DATETIME"]).isoformat()
        assert body["task_protocol"].startswith(settings["PYBPOD_PROTOCOL"])
        trials = (folder / "raw_behavior_data/_iblrig_taskData.raw.jsonable").read_text().splitlines()
        assert body["n_trials"] == len(trials)


# --- REG-04, REG-05 ---------------------------------------------------------------------------------------


def test_reg_04_projects_procedures_and_chained_tasks_come_from_the_description(bench: StageBench) -> None:
    assert register(bench, chained()).state is JobState.DONE
    (body,) = sent(bench, "POST", "/sessions")
    assert (body["projects"], body["procedures"]) == (["ibl_cortexlab"], ["Behavior training/tasks"])
    protocol = "_iblrig_tasks_trainingChoiceWorld8.24.4/_iblrig_tasks_biasedChoiceWorld8.24.4"
    assert body["task_protocol"] == protocol
    assert (body["start_time"], body["end_time"]) == (f"{DAY}T10:15:30.250000", f"{DAY}T11:30:00")
    assert (body["n_trials"], body["n_correct_trials"]) == (6, 4)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "done"),
        ("tasks: null\n", "done"),
        ("version: 9.9.9\nprojects: practice\n", "done"),
        ("sync: {nidq: {collection: raw_ephys_data}, bpod: {collection: raw_behavior_data}}\n", "done"),
        ("- a\n- list\n", "bad_description"),
        ("tasks: [unclosed\n", "bad_description"),
    ],
)
def test_reg_04_every_description_has_an_outcome(bench: StageBench, text: str, outcome: str) -> None:
    move = register(bench, {**task(), **WHEEL, DESCRIPTION: text.encode()})
    assert (move.code or str(move.state)) == outcome
    assert len(sent(bench, "POST", "/sessions")) == (outcome == "done")
    if outcome == "done":
        assert in_alyx(bench)["n_trials"] == 3, "the settings on disk are read all the same"


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (f"{DAY}T10:15:30.1234567", f"{DAY}T10:15:30.123456"),
        (f"{DAY}T10:15:30+01:00", f"{DAY}T10:15:30"),
        (f"{DAY}T10:15:30Z", f"{DAY}T11:15:30"),
    ],
)
def test_reg_05_times_of_every_form_arrive_as_wall_time(tmp_path: Path, start: str, kept: str) -> None:
    with closing(record_bench(tmp_path, LABFERRY_ALYX__TIMEZONE="Europe/Lisbon")) as bench:
        settings = new_settings(SESSION_START_TIME=start, SESSION_END_TIME=f"{DAY}T12:00:00")
        assert register(bench, {**task(settings), **WHEEL}).state is JobState.DONE
        assert in_alyx(bench)["start_time"] == kept


def test_reg_05_missing_trials_block_and_nothing_is_sent(bench: StageBench) -> None:
    move = register(bench, {**task(trials=[trial(0), trial(2)]), **WHEEL})
    assert (move.state, move.code) == (JobState.BLOCKED, "corrupt_trials")
    assert sent(bench, "POST", "/sessions") == []


# --- REG-06: a session without a task ---------------------------------------------------------------------

PASSIVE_FILES = {DESCRIPTION: PASSIVE.encode(), **WHEEL}


def test_reg_06_a_passive_session_waits_until_it_is_on_alyx(bench: StageBench) -> None:
    move = register(bench, PASSIVE_FILES)
    assert (move.state, move.code) == (JobState.WAITING, "no_eid")
    assert PATH in move.reason
    assert sent(bench, "POST", "/sessions") == []
    eid = made_by_the_rig(bench, animals=False, n_trials=7, n_correct_trials=5)
    bench.clock.pass_by(3600)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    held = in_alyx(bench)
    assert held["id"] == eid
    assert (held["n_trials"], held["n_correct_trials"]) == (7, 5), "left untouched"
    assert held["procedures"] == ["Ephys recording with acute probe(s)"]
    assert all("n_trials" not in patch for patch in sent(bench, "PATCH", "/sessions"))


def test_reg_06_what_is_missing_in_alyx_is_listed(bench: StageBench) -> None:
    eid = made_by_the_rig(bench, animals=False, location=None)
    move = register(bench, PASSIVE_FILES)
    assert (move.state, move.code) == (JobState.WAITING, "session_incomplete")
    assert move.reason.endswith("know: location")
    assert bench.requests("POST", "/register-file") == []
    bench.alyx("PATCH", f"/sessions/{eid}", {"location": LOCATION})
    bench.clock.pass_by(3600)
    assert bench.step(Stage.REGISTER).state is JobState.DONE


# --- REG-07, REG-10 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["élan".encode(), "élan".encode("cp1252")], ids=["utf-8", "cp1252"])
def test_reg_07_the_narrative_is_sent_and_an_empty_one_keeps_it(bench: StageBench, text: bytes) -> None:
    register(bench, {**task(), **WHEEL, "narrative.txt": text})
    assert in_alyx(bench)["narrative"] == "élan"
    assert register(bench, {"narrative.txt": b""}).state is JobState.DONE
    assert in_alyx(bench)["narrative"] == "élan"


def test_reg_10_the_user_of_a_version_8_rig_is_the_sessions(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    assert in_alyx(bench)["users"] == ["ines", "lab_server"], "and whoever registers files, by Alyx' own doing"
    assert sent(bench, "POST", "/sessions")[0]["users"] == ["ines"]


def test_reg_10_an_unknown_user_gives_way_to_the_responsible_one_with_a_remark(bench: StageBench) -> None:
    register(bench, {**task(new_settings(ALYX_USER="nobody_known")), **WHEEL})
    assert sent(bench, "POST", "/sessions")[0]["users"] == ["rita"]
    assert sent(bench, "POST", "/weighings")[0]["user"] == "lab_server"
    assert "nobody_known" in remarks(bench)["unknown_recorder"]
    register(bench, {"alf/_ibl_wheel.timestamps.npy": b"more"})
    assert "nobody_known" in remarks(bench)["unknown_recorder"], "it is still so"
    learn(bench, users=[{"username": "nobody_known"}])
    bench.alyx("PATCH", f"/sessions/{in_alyx(bench)['id']}", {"users": ["nobody_known"]})
    register(bench, {"alf/_ibl_trials.intervals.npy": b"more"})
    assert "unknown_recorder" not in remarks(bench)


def test_reg_10_with_a_token_alone_alyx_knows_who_sends_it(bench: StageBench, tmp_path: Path) -> None:
    """With a token from a file the daemon need not know the name of its own user."""
    credentials = {"username": "lab_server", "password": bench.sandbox.password_file.read_text().strip()}
    (tmp_path / "token").write_text(str(bench.alyx("POST", "/auth-token", credentials)["token"]))
    bench.end_life()
    bench.sandbox.config.write_text(
        bench.sandbox.config.read_text().replace('username = "lab_server"', "").replace("password_file", "#")
    )
    bench.environ["LABFERRY_ALYX__TOKEN_FILE"] = str(tmp_path / "token")
    bench.open()
    assert register(bench, {**task(new_settings(ALYX_USER=None)), **WHEEL}).state is JobState.DONE
    assert "user" not in sent(bench, "POST", "/weighings")[0]
    assert "user" not in sent(bench, "POST", "/water-administrations")[0]
    assert sent(bench, "POST", "/sessions")[0]["users"] == ["rita"]


def test_reg_10_the_list_of_users_is_remembered_and_a_new_user_is_found(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    bench.write("KS005/2026-03-02/001", {**WHEEL})
    assert len(bench.requests("GET", "/users")) == 1
    learn(bench, users=[{"username": "new_one"}])
    bench.clock.pass_by(6)
    assert bench.context.people.users(["new_one"]) == {"new_one"}
    assert len(bench.requests("GET", "/users")) == 2


def test_reg_15_a_subject_that_moves_to_another_lab_is_seen_within_minutes(bench: StageBench) -> None:
    people = bench.context.people
    assert people.subject(SUBJECT).lab == LAB
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE subject SET lab = 'cortexlab' WHERE nickname = ?", SUBJECT)
    bench.clock.pass_by(601)
    assert people.subject(SUBJECT).lab == "cortexlab"


def test_reg_15_ruling_14_a_configured_lab_does_not_hide_two_subjects_of_one_name(bench: StageBench) -> None:
    bench.end_life()
    configured = bench.sandbox.config.read_text().replace('layout = "ibl"', 'layout = "ibl"\nlab = "cortexlab"')
    bench.sandbox.config.write_text(configured)
    bench.open()
    bench.write("DUP_001/2026-03-02/001", WHEEL)
    move = bench.step(Stage.RESOLVE)
    assert (move.state, move.code) == (JobState.BLOCKED, "ambiguous_subject")
    assert "cortexlab, mainenlab" in move.reason


def test_reg_15_a_subject_that_moved_is_asked_for_before_a_person_is(bench: StageBench) -> None:
    learn(bench, labs=[{"name": "thirdlab"}], subjects=[{"nickname": "mover", "lab": "thirdlab"}])
    assert bench.context.people.subject("mover").lab == "thirdlab", "a lab without a repository here"
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE subject SET lab = 'cortexlab' WHERE nickname = 'mover'")
    _, session = bench.write("mover/2026-03-02/001", WHEEL)
    assert bench.step(Stage.RESOLVE).state is JobState.QUEUED
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert (row.lab, row.repository) == ("cortexlab", "cortexlab_SR")


def test_reg_15_a_subject_that_alyx_fails_on_is_blocked_and_keeps_nobody_else_back(bench: StageBench) -> None:
    with pytest.raises(UnexplainedError):
        bench.alyx("POST", "/weighings", {"subject": SUBJECT, "weight": 20.0, "date_time": None})
    move = register(bench, {**task(), **WHEEL})
    assert (move.state, move.code) == (JobState.BLOCKED, "subject_broken")
    assert SUBJECT in move.reason
    assert "without a time" in move.hint
    bench.write("KS005/2026-03-02/001", WHEEL)
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert all(one.state is not Health.DOWN for one in bench.context.dependencies.snapshot())


def test_reg_15_an_alyx_that_fails_on_everything_is_down(bench: StageBench) -> None:
    failing = {"when": "before", "action": "status", "status": 500, "body": {"detail": ""}, "times": None}
    bench.sandbox.faults.add({"match": {"regexp": "^GET"}, **failing})
    move = register(bench, {**task(), **WHEEL})
    assert (move.state, move.code) == (JobState.WAITING, "alyx_down")


# --- ruling 12: what a person typed stays -----------------------------------------------------------------


def test_ruling_12_what_a_person_typed_stays(bench: StageBench) -> None:
    typed = {
        "narrative": "woke up in between",
        "procedures": ["Imaging"],
        "n_trials": 2,
        "task_protocol": "corrected",
        "json": {"IBLRIG_VERSION": "corrected", "mine": [1]},
    }
    register(bench, {**task(), **WHEEL})
    eid = in_alyx(bench)["id"]
    held = in_alyx(bench)["json"]
    bench.alyx("PATCH", f"/sessions/{eid}", {**typed, "json": {**held, **typed["json"]}})  # type: ignore[dict-item]
    changed = new_settings(IBLRIG_VERSION="8.25.0", POOP_COUNT=9, SESSION_END_TIME=f"{DAY}T11:30:00")
    assert register(bench, {**task(changed, [*(trial(n) for n in range(5))]), "narrative.txt": b"x"}).code == ""
    found = in_alyx(bench)
    assert {key: found[key] for key in typed if key != "json"} == {k: v for k, v in typed.items() if k != "json"}
    assert found["json"] == {**held, "IBLRIG_VERSION": "corrected", "mine": [1], "POOP_COUNT": 9}, "key by key"
    assert found["end_time"] == f"{DAY}T11:30:00", "nobody typed there"
    assert found["n_correct_trials"] == 5


def test_ruling_12_a_session_of_somebody_else_only_gets_what_it_lacks(bench: StageBench) -> None:
    made_by_the_rig(bench, animals=False, start_time=f"{DAY}T10:00:00", narrative="theirs")
    assert register(bench, {**chained(), "narrative.txt": b"ours"}).state is JobState.DONE
    (patch,) = sent(bench, "PATCH", "/sessions")
    assert "start_time" not in patch
    assert "narrative" not in patch
    assert "users" not in patch
    assert patch["end_time"] == f"{DAY}T11:30:00"
    assert patch["json"]["IBLRIG_VERSION"] == "8.24.4"
    assert "labferry" not in patch["json"], "whose session it is stays"


def test_ruling_12_side_effects_of_alyx_are_recorded_and_never_undone(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    eid = in_alyx(bench)["id"]
    bench.alyx("PATCH", f"/sessions/{eid}", {"users": ["ines", "lab_server", "rita"]})
    other = {"subject": SUBJECT, "number": 1, "start_time": f"{DAY}T08:00:00"}
    parent = bench.alyx("POST", "/sessions", other)
    bench.alyx("PATCH", f"/sessions/{eid}", {"parent_session": parent["url"]})
    patches = len(sent(bench, "PATCH", "/sessions"))
    assert register(bench, task()).state is JobState.DONE
    assert len(sent(bench, "PATCH", "/sessions")) == patches
    found = bench.alyx("GET", f"/sessions/{eid}")
    assert (found["users"], found["parent_session"]) == (["ines", "lab_server", "rita"], parent["url"])
    assert "users rita" in remarks(bench)["added_in_alyx"]
    assert parent["id"] in remarks(bench)["added_in_alyx"]


def test_ruling_12_a_second_generation_knows_what_a_lost_patch_wrote(bench: StageBench) -> None:
    """The answer to the PATCH is lost, and the session changes before anybody looks: ours is still known as ours."""
    register(bench, {**task(), **WHEEL})
    write(bench, task(new_settings(POOP_COUNT=5)))
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "PATCH /sessions", "when": "after", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    assert register(bench, task(new_settings(POOP_COUNT=6))).state is JobState.DONE
    assert in_alyx(bench)["json"]["POOP_COUNT"] == 6


def test_ruling_12_a_patch_that_may_be_on_its_way_is_waited_for(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    write(bench, task(new_settings(POOP_COUNT=5)))
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "PATCH /sessions", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    bench.clock.pass_by(30)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert in_alyx(bench)["json"]["POOP_COUNT"] == 5


def test_ruling_12_a_creation_whose_answer_was_lost_is_ours_in_the_next_generation(bench: StageBench) -> None:
    write(bench, {**task(), **WHEEL})
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /sessions", "when": "after", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    assert register(bench, task(new_settings(POOP_COUNT=6))).state is JobState.DONE
    assert in_alyx(bench)["json"]["POOP_COUNT"] == 6
    assert len(sent(bench, "POST", "/weighings")) == 1, "it counts as created here"


def test_ruling_12_another_day_than_the_folders_is_blocked(tmp_path: Path) -> None:
    late = f"{DAY}T23:59:00"
    with closing(record_bench(tmp_path, LABFERRY_ALYX__TIMEZONE="Asia/Tokyo")) as bench:
        move = register(bench, {**task(new_settings(SESSION_START_TIME=f"{late}Z")), **WHEEL})
        assert (move.state, move.code) == (JobState.BLOCKED, "date_mismatch"), "in Tokyo it was the day after"
        assert sent(bench, "POST", "/sessions") == []
        assert register(bench, task(new_settings(SESSION_START_TIME=f"{late}-05:00"))).state is JobState.DONE
        assert in_alyx(bench)["start_time"] == late, "the wall time beside an offset counts"


def test_ruling_12_a_time_that_alyx_gives_back_in_another_form_is_still_ours(bench: StageBench) -> None:
    register(bench, {**task(), **WHEEL})
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE session SET end_time = substr(end_time, 1, 19) || '+01:00'")
    assert register(bench, task(new_settings(SESSION_END_TIME=f"{DAY}T11:30:00"))).state is JobState.DONE
    assert in_alyx(bench)["end_time"] == f"{DAY}T11:30:00"


# --- the budget of requests -------------------------------------------------------------------------------


def test_an_unchanged_session_costs_no_post_and_no_patch(bench: StageBench) -> None:
    register(bench, chained())
    before = changes(bench)
    assert register(bench, chained()).state is JobState.DONE
    assert changes(bench) == before


def test_a_new_session_costs_three_requests_its_chunks_and_two_for_each_row_of_the_animal(bench: StageBench) -> None:
    bench.write("KS005/2026-03-02/001", {**WHEEL})  # what is cached is asked for here
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    bench.context.people.subject(SUBJECT)
    bench.context.people.users(["ines"])
    before = len(bench.requests("GET", "/")) + len(changes(bench))
    assert register(bench, {**task(), **WHEEL}).state is JobState.DONE
    rows, chunks = 2, 1
    assert len(bench.requests("GET", "/")) + len(changes(bench)) - before <= 3 + chunks + 2 * rows


def changes(bench: StageBench) -> list[Any]:
    """Return all requests so far that change something."""
    return [(m, r["path"], r["body"]) for m in ("POST", "PATCH", "DELETE") for r in bench.requests(m, "/")]


def test_the_record_is_read_once_for_a_job_however_often_it_is_interrupted(tmp_path: Path) -> None:
    with closing(record_bench(tmp_path, LABFERRY_REGISTRATION__CHUNK="1")) as bench:
        write(bench, chained())
        bench.run_until(Stage.SEAL)
        for _ in range(3):
            throttled = {"match": "POST /register-file", "when": "before", "action": "status", "status": 429}
            bench.sandbox.faults.add(throttled)
            assert bench.step(Stage.REGISTER).code == "alyx_throttled"
            bench.clock.pass_by(3600)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        assert len(bench.requests("GET", "/weighings")) == 1
        assert len(bench.requests("GET", "/sessions?")) == 2, "before the creation and after it"


def test_the_name_of_an_unknown_user_is_asked_for_rarely(bench: StageBench) -> None:
    for _ in range(5):
        bench.context.people.users(["nobody"])
    assert len(bench.requests("GET", "/users")) == 1
