"""Weighings and water administrations: each exactly once, and none that another program recorded (ruling 11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from labferry.model import JobState, Stage
from support.records import DAY, SUBJECT, new_settings, trial
from support.sessions import (
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
    waters,
    weighings,
    write,
)
from support.stages import StageBench

WEIGHTS = [(f"{DAY}T10:15:30.250000", 23.4), (f"{DAY}T10:45:00", 23.1)]
WATERS = [(f"{DAY}T10:40:00", 0.003), (f"{DAY}T11:30:00", 0.003)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = record_bench(tmp_path)
    yield bench
    bench.close()


def held_weights(bench: StageBench) -> list[tuple[str, float]]:
    return sorted((row["date_time"], row["weight"]) for row in weighings(bench))


def held_waters(bench: StageBench) -> list[tuple[str, float]]:
    return sorted((row["date_time"], row["water_administered"]) for row in waters(bench))


def sealed(bench: StageBench) -> None:
    """Bring the chained session to the point where it is registered next."""
    write(bench, chained())
    bench.run_until(Stage.SEAL)


def until_done(bench: StageBench) -> None:
    """Let time pass until the registration is done."""
    for _ in range(100):
        due = bench.journal.jobs.next_due(Stage.REGISTER)
        if due is None:
            return
        if due > bench.clock.now():
            bench.clock.pass_by(5)
        else:
            move = bench.step(Stage.REGISTER)
            assert move.state is not JobState.BLOCKED, move.reason
    raise AssertionError("the registration does not end")


# --- REG-08, REG-09: what is sent -------------------------------------------------------------------------


def test_reg_08_reg_09_each_task_is_one_weighing_and_one_administration(bench: StageBench) -> None:
    assert register(bench, chained()).state is JobState.DONE
    eid = in_alyx(bench)["id"]
    assert sent(bench, "POST", "/weighings") == [
        {"subject": SUBJECT, "date_time": when, "weight": weight, "user": "ines"} for when, weight in WEIGHTS
    ]
    assert sent(bench, "POST", "/water-administrations") == [
        {
            "subject": SUBJECT,
            "date_time": when,
            "water_administered": volume,
            "water_type": "Water 15% Sucrose",
            "user": "ines",
            "session": eid,
            "adlib": False,
        }
        for when, volume in WATERS
    ]
    assert register(bench, chained()).state is JobState.DONE
    assert (held_weights(bench), held_waters(bench)) == (WEIGHTS, WATERS), "a second generation sends none"
    assert len(bench.requests("GET", "/weighings")) + len(bench.requests("GET", "/water-administrations")) == 4


@pytest.mark.parametrize("weight", [0, None, "heavy"])
def test_reg_08_what_is_no_weight_is_skipped_with_its_reason(bench: StageBench, weight: object) -> None:
    assert register(bench, {**task(new_settings(SUBJECT_WEIGHT=weight)), **WHEEL}).state is JobState.DONE
    assert weighings(bench) == []
    assert "SUBJECT_WEIGHT" in remarks(bench)["weight_skipped"]


def test_reg_09_no_volume_and_no_reward_amount_are_no_trouble(bench: StageBench) -> None:
    never = [{key: value for key, value in trial(n).items() if key != "reward_amount"} for n in range(3)]
    assert register(bench, {**task(new_settings(ALYX_USER=None), never), **WHEEL}).state is JobState.DONE
    assert waters(bench) == []
    assert "none was given" in remarks(bench)["water_skipped"]


def test_reg_08_reg_09_both_can_be_switched_off(tmp_path: Path) -> None:
    switched = {"LABFERRY_REGISTRATION__WEIGHTS": "false", "LABFERRY_REGISTRATION__WATER": "false"}
    with closing(record_bench(tmp_path, **switched)) as bench:
        assert register(bench, chained()).state is JobState.DONE
        assert bench.requests("POST", "/weighings") + bench.requests("POST", "/water-administrations") == []


# --- exactly once, whatever is lost -----------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("dies", [False, True], ids=["lives on", "dies"])
def test_reg_08_reg_09_a_lost_answer_neither_loses_nor_doubles(
    bench: StageBench, when: str, number: int, dies: bool
) -> None:
    sealed(bench)
    match = {"regexp": "^POST /(weighings|water-administrations)", "n": number}
    bench.sandbox.faults.add({"match": match, "when": when, "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    if dies:
        bench.end_life()
        bench.open()
    until_done(bench)
    assert (held_weights(bench), held_waters(bench)) == (WEIGHTS, WATERS)
    assert bench.requests("POST", "/register-file"), "and the files follow"


def test_reg_09_a_crash_between_two_administrations_sends_only_the_second(bench: StageBench) -> None:
    sealed(bench)
    match = {"regexp": "^POST /water-administrations", "n": 2}
    bench.sandbox.faults.add({"match": match, "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.end_life()
    bench.open()
    until_done(bench)
    times = [body["date_time"] for body in sent(bench, "POST", "/water-administrations")]
    assert times == [when for when, _ in WATERS]


def test_ruling_11_an_unanswered_row_is_not_sent_again_before_its_time(bench: StageBench) -> None:
    sealed(bench)
    bench.sandbox.faults.add({"match": "POST /weighings", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(2)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    assert len(bench.requests("POST", "/weighings")) == 1


def test_ruling_11_an_unanswered_row_is_adopted_by_the_time_that_was_sent(bench: StageBench) -> None:
    """A person corrected its value, and the folder's settings changed: it is the same weighing all the same."""
    sealed(bench)
    bench.sandbox.faults.add({"match": "POST /weighings", "when": "after", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE weighing SET weight = 25.0")
    settings = new_settings(SESSION_START_TIME=f"{DAY}T10:16:00", SESSION_END_TIME=f"{DAY}T10:40:00")
    write(bench, {**chained(), **task(settings, collection="raw_task_data_00")})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert held_weights(bench) == [(WEIGHTS[0][0], 25.0), WEIGHTS[1]]


def test_ruling_11_a_row_that_is_on_its_way_when_the_session_changes_is_not_sent_twice(bench: StageBench) -> None:
    sealed(bench)
    bench.sandbox.faults.add({"match": "POST /weighings", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    assert register(bench, chained()).code == "files_in_flight", "the job of the next generation waits as well"
    bench.alyx("POST", "/weighings", bench.requests("POST", "/weighings")[0]["body"])  # it arrives after all
    until_done(bench)
    assert held_weights(bench) == WEIGHTS


def test_ruling_11_a_time_without_fractions_is_the_same_time(bench: StageBench) -> None:
    sealed(bench)
    bench.sandbox.faults.add({"match": "POST /weighings", "when": "after", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE weighing SET date_time = substr(date_time, 1, 19)")
    until_done(bench)
    assert len(held_weights(bench)) == 2


# --- what other programs and people recorded --------------------------------------------------------------


def test_ruling_11_none_is_sent_for_a_session_that_the_rig_made(bench: StageBench) -> None:
    made_by_the_rig(bench)
    posted = len(bench.requests("POST", "/"))
    assert register(bench, chained()).state is JobState.DONE
    new = bench.requests("POST", "/")[posted:]
    assert {one["path"] for one in new} == {"/register-file"}
    assert "1 found, 2 expected" in remarks(bench)["water_skipped"]
    assert "Alyx has 1 of that day" in remarks(bench)["weight_skipped"]


def test_ruling_11_a_session_of_somebody_else_without_any_gets_ours(bench: StageBench) -> None:
    made_by_the_rig(bench, animals=False)
    assert register(bench, chained()).state is JobState.DONE
    assert (held_weights(bench), held_waters(bench)) == (WEIGHTS, WATERS)


def test_ruling_11_our_own_session_gets_its_weighing_beside_another_of_that_day(bench: StageBench) -> None:
    other = {"subject": SUBJECT, "weight": 22.0, "user": "rita", "date_time": f"{DAY}T08:00:00"}
    bench.alyx("POST", "/weighings", other)
    assert register(bench, chained()).state is JobState.DONE
    assert held_weights(bench) == [(f"{DAY}T08:00:00", 22.0), *WEIGHTS]


def test_reg_09_water_that_a_person_gave_is_left_alone_and_reported(bench: StageBench) -> None:
    sealed(bench)
    bench.sandbox.faults.add({"match": "POST /water-administrations", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    by_hand = {"subject": SUBJECT, "water_administered": 1.0, "session": in_alyx(bench)["id"]}
    bench.alyx("POST", "/water-administrations", by_hand)
    until_done(bench)
    assert [row["water_administered"] for row in waters(bench)] == [1.0]
    assert "1 found, 2 expected" in remarks(bench)["water_skipped"]


def test_ruling_11_what_a_person_adds_or_corrects_later_is_not_a_word_worth(bench: StageBench) -> None:
    register(bench, chained())
    by_hand = {"subject": SUBJECT, "water_administered": 1.0, "session": in_alyx(bench)["id"]}
    bench.alyx("POST", "/water-administrations", by_hand)
    (first, *_) = waters(bench)
    bench.alyx("PATCH", first["url"].removeprefix(bench.sandbox.alyx_url), {"water_type": "Water"})
    assert register(bench, chained()).state is JobState.DONE
    assert len(waters(bench)) == 3
    assert "water_skipped" not in remarks(bench)


def test_ruling_11_an_animal_whose_name_differs_in_case_is_another_one(bench: StageBench) -> None:
    learn(bench, subjects=[{"nickname": SUBJECT.lower(), "lab": "mainenlab"}])
    other = {"subject": SUBJECT.lower(), "weight": 22.0, "date_time": f"{DAY}T08:00:00"}
    bench.alyx("POST", "/weighings", other)
    made_by_the_rig(bench, animals=False)
    assert register(bench, chained()).state is JobState.DONE
    assert [row["weight"] for row in weighings(bench) if row["subject"] == SUBJECT] == [23.4, 23.1]


# --- what Alyx refuses ------------------------------------------------------------------------------------


def test_reg_09_an_unknown_water_type_keeps_back_neither_files_nor_weights(bench: StageBench) -> None:
    move = register(bench, chained(REWARD_TYPE="Juice"))
    assert (move.state, move.code) == (JobState.BLOCKED, "unknown_name")
    assert "water_type 'Juice'" in move.reason
    assert "1 more" in move.reason
    assert held_weights(bench) == WEIGHTS
    assert bench.requests("POST", "/register-file")
    learn(bench, water_types=[{"name": "Juice"}])
    (job,) = bench.journal.jobs.unfinished()
    assert bench.journal.jobs.revive(job.id)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert held_waters(bench) == WATERS


def test_reg_08_a_refused_weighing_is_sent_once_for_each_try_of_a_person(tmp_path: Path) -> None:
    with closing(record_bench(tmp_path, LABFERRY_REGISTRATION__CHUNK="1")) as bench:
        sealed(bench)
        refusal = {"status": 400, "action": "status", "body": {"weight": ["No."]}, "when": "before", "times": None}
        bench.sandbox.faults.add({"match": {"regexp": "^POST /weighings"}, **refusal})
        throttled = {"match": "POST /register-file", "when": "before", "action": "status", "status": 429, "times": 3}
        bench.sandbox.faults.add(throttled)
        for _ in range(3):
            assert bench.step(Stage.REGISTER).code == "alyx_throttled"
            bench.clock.pass_by(3600)
        move = bench.step(Stage.REGISTER)
        assert (move.state, move.code) == (JobState.BLOCKED, "alyx_refused")
        assert len(bench.requests("POST", "/weighings")) == 2, "two tasks, one try"


def test_reg_09_water_after_the_animals_death_is_named(bench: StageBench) -> None:
    with bench.sandbox._store.database() as db, db.transaction():
        db.run("UPDATE subject SET death_date = '2024-05-16' WHERE nickname = ?", SUBJECT)
    move = register(bench, chained())
    assert (move.state, move.code) == (JobState.BLOCKED, "after_death")
    assert bench.requests("POST", "/register-file")


@pytest.mark.parametrize("path", ["/weighings", "/water-administrations"])
def test_reg_08_reg_09_a_failure_without_a_word_is_looked_up(bench: StageBench, path: str) -> None:
    """Alyx keeps a row before it computes with it: the row may be there although the request failed."""
    sealed(bench)
    failing = {"action": "status", "status": 500, "body": {"detail": ""}, "times": None}
    bench.sandbox.faults.add({"match": {"regexp": f"^POST {path}"}, "when": "after", **failing})
    until_done(bench)
    assert (held_weights(bench), held_waters(bench)) == (WEIGHTS, WATERS), "adopted, not doubled"
    assert len(bench.requests("POST", path)) == 2


def test_reg_08_a_weighing_that_always_fails_ends_blocked_with_the_files_registered(bench: StageBench) -> None:
    sealed(bench)
    failing = {"action": "status", "status": 500, "body": {"detail": "out of luck"}, "times": None}
    bench.sandbox.faults.add({"match": {"regexp": "^POST /weighings"}, "when": "before", **failing})
    for _ in range(100):
        (job,) = bench.journal.jobs.unfinished()
        if job.state is JobState.BLOCKED:
            break
        if job.not_before > bench.clock.now():
            bench.clock.pass_by(5)
        else:
            bench.step(Stage.REGISTER)
    assert (job.state, job.code) == (JobState.BLOCKED, "alyx_error")
    assert "out of luck" in job.reason
    assert bench.requests("POST", "/register-file")
    assert held_waters(bench) == WATERS
    assert len(bench.requests("POST", "/weighings")) < 10
    bench.sandbox.faults.remove()
    assert bench.journal.jobs.revive(job.id)
    bench.clock.pass_by(60)
    until_done(bench)
    assert held_weights(bench) == WEIGHTS


def test_the_steps_of_both_name_the_task_and_keep_what_was_sent(bench: StageBench) -> None:
    register(bench, chained())
    (job, *_) = bench.journal.jobs.of_session(1)
    steps = {step.name: step for step in bench.journal.steps.of_job(job.id)}
    names = ["weight:raw_task_data_00", "weight:raw_task_data_01", "water:raw_task_data_00", "water:raw_task_data_01"]
    assert [name for name in steps if ":raw_" in name] == names
    assert json.loads(steps[names[0]].request)["date_time"] == WEIGHTS[0][0]
    assert all(steps[name].answered_at is not None for name in names)
