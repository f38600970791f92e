"""The record of a session and the bodies made from it (REG-03, REG-05, REG-06, REG-08, REG-09, REG-10)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from labferry.errors import BlockedError
from labferry.sandbox.rig_session import plan_session
from labferry.sessions.record import (
    create_body,
    not_typed_in,
    session_users,
    user_of,
    wanted_fields,
    water_body,
    weighing_body,
)
from labferry.sessions.session import Session
from support.records import (
    DAY,
    NUMBER,
    SETTINGS,
    SUBJECT,
    TRIALS,
    codes,
    describe,
    new_settings,
    old_settings,
    record_of,
    trial,
    write_task,
)
from support.trees import SHARED, needs_shared

CHAINED = """
tasks:
- _iblrig_tasks_trainingChoiceWorld: {collection: raw_task_data_00}
- _iblrig_tasks_passiveChoiceWorld: {collection: raw_task_data_01}
procedures: [Behavior training/tasks]
projects: [ibl_mainenlab]
"""
OWN = {"labferry": {"server_name": "lab-server-1"}}


# --- REG-03: the bodies, and whose session it is ----------------------------------------------------------


def test_reg_03_the_body_of_a_version_8_session(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED.replace("- _iblrig_tasks_passiveChoiceWorld: {collection: raw_task_data_01}\n", ""))
    trials = [trial(0), trial(1, correct=False), trial(2, end=180.0)]
    write_task(tmp_path, new_settings(), trials, "raw_task_data_00")
    (tmp_path / "narrative.txt").write_text("calm\n")
    body = create_body(record_of(tmp_path), lab="mainenlab", users=["ines"], projects=["subject_project"], own=OWN)
    assert body == {
        "subject": "ZFM-0042",
        "users": ["ines"],
        "location": "_iblrig_mainenlab_behavior_2",
        "procedures": ["Behavior training/tasks"],
        "lab": "mainenlab",
        "projects": ["ibl_mainenlab"],
        "type": "Experiment",
        "task_protocol": "_iblrig_tasks_trainingChoiceWorld8.24.4",
        "number": 3,
        "start_time": "2024-05-17T10:15:30.250000",
        "end_time": "2024-05-17T11:05:00.500000",
        "n_correct_trials": 2,
        "n_trials": 3,
        "narrative": "calm",
        "json": {
            "IS_MOCK": False,
            "IBLRIG_VERSION": "8.24.4",
            "TASK_VERSION": "1.2.6",
            "POOP_COUNT": 4,
            "SESSION_DELAY_START": 12,
            "labferry": {"server_name": "lab-server-1"},
        },
    }
    json.dumps(body, allow_nan=False)


def test_reg_03_the_body_of_a_version_7_session(tmp_path: Path) -> None:
    write_task(tmp_path, old_settings("7.1.2"), [trial(1), trial(2, correct=False), trial(3, end=180.0)])
    body = create_body(record_of(tmp_path), lab="mainenlab", users=["ines"], projects=["subject_project"], own={})
    assert body == {
        "subject": "ZFM-0042",
        "users": ["ines"],
        "location": "_iblrig_mainenlab_behavior_2",
        "procedures": [],
        "lab": "mainenlab",
        "projects": ["subject_project"],
        "type": "Experiment",
        "task_protocol": "_iblrig_tasks_biasedChoiceWorld7.1.2",
        "number": 3,
        "start_time": "2024-05-17T10:15:30.250000",
        "end_time": "2024-05-17T10:18:30.250000",
        "n_correct_trials": 2,
        "n_trials": 3,
        "narrative": "",
        "json": {"IS_MOCK": False, "IBLRIG_VERSION": "7.1.2"},
    }


@needs_shared
def test_reg_03_a_real_session_becomes_a_record() -> None:
    session = Session("ibl", b"_iblrig_test_mouse/2019-07-01/002", "_iblrig_test_mouse", date(2019, 7, 1), 2)
    record = record_of(SHARED / "data" / "ibl" / "raw" / "session_biased_ge5", session)
    assert record.task_protocol == "_iblrig_tasks_biasedChoiceWorld5.0.0"
    assert (record.n_trials, record.n_correct_trials) == (8, 4)
    assert record.end_time == datetime(2019, 7, 1, 12, 19, 45, 65542)
    assert [weight.weight for weight in record.weights] == [123.0]
    assert [(water.volume, water.water_type) for water in record.waters] == [(0.006, "Water 10% Sucrose")]
    assert (record.users, codes(record)) == ((), ["test_user", "no_video"])


@pytest.mark.parametrize("kind", ["training", "biased", "ephys", "passive"])
def test_reg_03_what_the_sandbox_rig_writes_becomes_a_record(tmp_path: Path, kind: str) -> None:
    planned = plan_session("ZFM-0042", "mainenlab", DAY, NUMBER, kind, scale=0.1)
    for file in planned.files:
        target = tmp_path / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(file.pieces()))
    record = record_of(tmp_path)
    assert (record.users, record.passive, record.described) == (("rig_user",), False, True)
    assert (record.n_trials is None) == (kind == "passive")
    assert len(record.weights) == 1
    assert len(record.waters) == (0 if kind == "passive" else 1)
    assert set(codes(record)) <= {"weight_skipped"}


@pytest.mark.parametrize(
    ("changes", "code", "values"),
    [
        ({"SUBJECT_NAME": "ZFM-0043"}, "subject_mismatch", ("ZFM-0042", "ZFM-0043")),
        ({"SUBJECT_NAME": "zfm-0042"}, "subject_mismatch", ("ZFM-0042", "zfm-0042")),
        ({"SESSION_NUMBER": 4}, "number_mismatch", ("003", "004")),
        ({"SESSION_START_TIME": "2024-05-18T10:00:00", "SESSION_END_TIME": None}, "date_mismatch", ("-17", "-18")),
        ({"SESSION_START_TIME": "2024-05-16T23:59:59Z", "SESSION_END_TIME": None}, "date_mismatch", ("-17", "-16")),
    ],
)
def test_reg_03_settings_of_another_session_are_blocked_with_both_values(
    tmp_path: Path, changes: dict[str, object], code: str, values: tuple[str, str]
) -> None:
    write_task(tmp_path, new_settings(**changes))
    with pytest.raises(BlockedError) as error:
        record_of(tmp_path, timezone=UTC)
    assert error.value.code == code
    for value in (*values, SETTINGS):
        assert value in error.value.message


def test_reg_03_the_folder_of_a_day_that_older_settings_name_otherwise_is_blocked(tmp_path: Path) -> None:
    write_task(tmp_path, old_settings(SESSION_DATE="2024-05-16"))
    with pytest.raises(BlockedError) as error:
        record_of(tmp_path)
    assert error.value.code == "date_mismatch"


def test_reg_03_every_task_must_be_of_the_session(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    write_task(tmp_path, new_settings(SUBJECT_NAME="other"), collection="raw_task_data_01")
    with pytest.raises(BlockedError, match="raw_task_data_01") as error:
        record_of(tmp_path)
    assert error.value.code == "subject_mismatch"


def test_reg_03_an_unpadded_number_is_the_same_number(tmp_path: Path) -> None:
    write_task(tmp_path, old_settings(SESSION_NUMBER="3"))
    assert record_of(tmp_path).number == 3


def test_reg_03_two_settings_files_the_plain_one_counts(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings())
    other = tmp_path / "raw_behavior_data" / "_iblrig_taskSettings.raw.0f7a.json"
    other.write_text("not JSON")
    assert record_of(tmp_path).task_protocol == "_iblrig_tasks_trainingChoiceWorld8.24.4"
    other.rename(other.with_name("_iblrig_taskSettings.raw.0a.json"))
    (tmp_path / "raw_behavior_data" / SETTINGS).rename(other.with_name("_iblrig_taskSettings.raw.0b.json"))
    with pytest.raises(BlockedError, match="several files") as error:
        record_of(tmp_path)
    assert error.value.code == "corrupt_settings"


# --- REG-05: tasks in the order of time, counts and ends --------------------------------------------------


def test_reg_05_chained_tasks_are_sorted_by_time_not_by_folder(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    later = new_settings(SESSION_START_TIME=f"{DAY}T12:00:00", SESSION_END_TIME=f"{DAY}T13:00:00", POOP_COUNT=3)
    write_task(tmp_path, later, [trial(0), trial(1)], "raw_task_data_00")
    first = new_settings(PYBPOD_PROTOCOL="_iblrig_tasks_passiveChoiceWorld", ALYX_USER="joao")
    write_task(tmp_path, first, None, "raw_task_data_01")
    record = record_of(tmp_path)
    protocols = "_iblrig_tasks_passiveChoiceWorld8.24.4/_iblrig_tasks_trainingChoiceWorld8.24.4"
    assert record.task_protocol == protocols
    assert (record.start_time, record.end_time) == (
        datetime(2024, 5, 17, 10, 15, 30, 250000),
        datetime(2024, 5, 17, 13),
    )
    assert record.users == ("joao", "ines")
    assert (record.n_trials, record.n_correct_trials) == (2, 2)
    assert (record.json["POOP_COUNT"], record.json["SESSION_DELAY_START"]) == (7, 24)


def test_reg_05_trials_of_chained_tasks_are_added_up(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), [trial(0), trial(1, correct=False)], "raw_task_data_00")
    later = new_settings(SESSION_START_TIME=f"{DAY}T12:00:00", SESSION_END_TIME=None)
    write_task(tmp_path, later, [trial(1), trial(2), trial(3, end=90.0)], "raw_task_data_01")
    record = record_of(tmp_path)
    assert (record.n_trials, record.n_correct_trials) == (5, 4)
    assert record.end_time == datetime(2024, 5, 17, 12, 1, 30)


def test_reg_05_a_last_task_without_an_end_leaves_the_session_open(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), [trial(0)], "raw_task_data_00")
    later = new_settings(SESSION_START_TIME=f"{DAY}T12:00:00", SESSION_END_TIME=None)
    write_task(tmp_path, later, None, "raw_task_data_01")
    assert record_of(tmp_path).end_time is None


def test_reg_05_the_end_of_a_crashed_task_is_its_last_sensible_trial(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(SESSION_END_TIME=None), [trial(0), trial(1, end=120.5), trial(2, end=1e7)])
    record = record_of(tmp_path)
    assert record.end_time == datetime(2024, 5, 17, 10, 17, 30, 750000)
    assert codes(record) == ["odd_trials"]


def test_reg_05_missing_trials_block_the_session(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), [trial(0), trial(1), trial(3)])
    with pytest.raises(BlockedError, match=f"raw_behavior_data/{TRIALS}") as error:
        record_of(tmp_path)
    assert error.value.code == "corrupt_trials"


def test_reg_05_habituation_has_no_correct_trials(tmp_path: Path) -> None:
    protocol = "_iblrig_tasks_habituationChoiceWorld"
    write_task(tmp_path, new_settings(PYBPOD_PROTOCOL=protocol), [trial(0), trial(1)])
    record = record_of(tmp_path)
    assert (record.n_trials, record.n_correct_trials) == (2, 0)


def test_reg_05_an_empty_trial_file_counts_nothing(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), [])
    record = record_of(tmp_path)
    assert (record.n_trials, record.n_correct_trials, record.waters) == (None, None, ())


def test_reg_05_a_protocol_without_outcomes_sends_no_number_of_correct_trials(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), [{"trial_num": 0, "behavior_data": trial(0)["behavior_data"]}])
    record = record_of(tmp_path)
    assert (record.n_trials, record.n_correct_trials) == (1, None)
    assert "odd_trials" in codes(record)


def test_reg_05_a_described_task_without_settings_is_blocked_by_name(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    with pytest.raises(BlockedError, match="raw_task_data_01") as error:
        record_of(tmp_path)
    assert error.value.code == "no_settings"


def test_reg_05_behaviour_without_settings_or_description_is_blocked(tmp_path: Path) -> None:
    (tmp_path / "raw_behavior_data").mkdir()
    (tmp_path / "raw_behavior_data" / TRIALS).touch()
    with pytest.raises(BlockedError, match="raw_behavior_data") as error:
        record_of(tmp_path)
    assert error.value.code == "no_settings"


def test_reg_05_tasks_that_differ_where_they_should_not_get_a_remark(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    later = new_settings(SESSION_START_TIME=f"{DAY}T10:30:00", RIG_NAME="other_rig", IBLRIG_VERSION="8.25.0")
    write_task(tmp_path, later, collection="raw_task_data_01")
    record = record_of(tmp_path)
    assert record.location == "_iblrig_mainenlab_behavior_2"
    assert codes(record) == ["odd_settings", "odd_settings"]


def test_reg_05_more_protocols_than_alyx_takes_are_blocked(tmp_path: Path) -> None:
    names = [f"raw_task_data_{index:02d}" for index in range(6)]
    describe(tmp_path, "tasks:\n" + "".join(f"- t: {{collection: {name}}}\n" for name in names))
    for name in names:
        write_task(tmp_path, new_settings(PYBPOD_PROTOCOL="p" * 250), collection=name)
    with pytest.raises(BlockedError, match="1023") as error:
        record_of(tmp_path)
    assert error.value.code == "corrupt_settings"


# --- REG-06: sessions without a task ----------------------------------------------------------------------


def passive_session(folder: Path) -> None:
    describe(folder, "projects: [ibl_mainenlab]\nprocedures: [Imaging]\ndevices: {}\n")
    (folder / "raw_ephys_data").mkdir()
    (folder / "raw_ephys_data" / "_spikeglx_ephysData_g0.imec0.ap.bin").touch()


def test_reg_06_a_session_without_a_task_leaves_the_trials_alone(tmp_path: Path) -> None:
    passive_session(tmp_path)
    record = record_of(tmp_path)
    assert (record.passive, record.described) == (True, True)
    assert wanted_fields(record, users=[], projects=["subject_project"]) == {
        "projects": ["ibl_mainenlab"],
        "procedures": ["Imaging"],
    }
    assert (record.weights, record.waters, record.remarks) == ((), (), ())


def test_reg_06_what_a_person_must_type_in_is_named() -> None:
    theirs: dict[str, object] = {"location": None, "start_time": "2024-05-17T10:00:00", "lab": "mainenlab", "users": []}
    assert not_typed_in(theirs) == ("location", "users")
    assert not_typed_in({**theirs, "location": "rig", "users": ["ines"]}) == ()


def test_reg_06_a_session_of_no_rig_is_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "alf").mkdir()
    (tmp_path / "alf" / "spikes.times.npy").touch()
    record = record_of(tmp_path)
    assert (record.passive, record.described, codes(record)) == (True, False, ["no_behaviour"])
    body = create_body(record, lab="mainenlab", users=[], projects=[], own={})
    assert (body["start_time"], body["task_protocol"], body["json"]) == ("2024-05-17T00:00:00", "", {})


def test_ruling_26_flags_alone_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "raw_session.flag").touch()
    (tmp_path / "raw_behavior_data").mkdir()
    with pytest.raises(BlockedError) as error:
        record_of(tmp_path)
    assert error.value.code == "no_files"


def test_ruling_26_logs_alone_are_only_logs(tmp_path: Path) -> None:
    for name in ("logs/rig.log", "_devices/x.yaml", "_ibl_experiment.description.yaml", "raw_session.flag"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(BlockedError, match="logs") as error:
        record_of(tmp_path)
    assert error.value.code == "only_logs"


def test_ruling_26_missing_videos_get_a_remark(tmp_path: Path) -> None:
    describe(tmp_path, "devices: {cameras: {left: {collection: raw_video_data}}}\n")
    write_task(tmp_path, new_settings())
    assert codes(record_of(tmp_path)) == ["no_video"]
    (tmp_path / "raw_video_data").mkdir()
    (tmp_path / "raw_video_data" / "_iblrig_leftCamera.raw.mp4").touch()
    assert codes(record_of(tmp_path)) == []


def test_ruling_26_the_test_user_is_nobody(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(ALYX_USER="_iblrig_test_user"))
    record = record_of(tmp_path)
    assert (record.users, codes(record)) == ((), ["test_user"])
    assert record.weights[0].user is None


# --- REG-07: the narrative --------------------------------------------------------------------------------


def test_reg_07_an_empty_narrative_is_not_wanted(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings())
    (tmp_path / "narrative.txt").touch()
    assert "narrative" not in wanted_fields(record_of(tmp_path), users=[], projects=[])


# --- REG-08: weights --------------------------------------------------------------------------------------


def test_reg_08_one_weighing_per_task_with_the_time_of_its_settings(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    later = new_settings(SESSION_START_TIME=f"{DAY}T12:00:00", SESSION_END_TIME=None, SUBJECT_WEIGHT=24)
    write_task(tmp_path, later, collection="raw_task_data_01")
    record = record_of(tmp_path)
    assert [weighing_body(record, index, "ines") for index in range(len(record.weights))] == [
        {"subject": SUBJECT, "date_time": "2024-05-17T10:15:30.250000", "weight": 23.4, "user": "ines"},
        {"subject": SUBJECT, "date_time": "2024-05-17T12:00:00", "weight": 24.0, "user": "ines"},
    ]
    assert record_of(tmp_path).weights == record.weights


@pytest.mark.parametrize("weight", [0, None, "23 g", -1, True, []])
def test_reg_08_a_weight_that_is_none_is_skipped_with_its_reason(tmp_path: Path, weight: object) -> None:
    write_task(tmp_path, new_settings(SUBJECT_WEIGHT=weight))
    record = record_of(tmp_path)
    assert (record.weights, codes(record)) == ((), ["weight_skipped"])
    assert "SUBJECT_WEIGHT" in record.remarks[0].text


def test_reg_08_two_weighings_never_share_a_time(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    write_task(tmp_path, new_settings(SUBJECT_WEIGHT=25), collection="raw_task_data_01")
    record = record_of(tmp_path)
    assert [weight.weight for weight in record.weights] == [23.4]
    assert codes(record) == ["weight_skipped"]


# --- REG-09: water ----------------------------------------------------------------------------------------


def test_reg_09_one_administration_per_task_with_the_time_of_its_end(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    write_task(tmp_path, new_settings(), [trial(0), trial(1), trial(2, correct=False)], "raw_task_data_00")
    later = new_settings(SESSION_START_TIME=f"{DAY}T12:00:00", SESSION_END_TIME=None, REWARD_TYPE=None)
    write_task(tmp_path, later, [trial(0, water_delivered=1234.56)], "raw_task_data_01")
    record = record_of(tmp_path)
    assert [water_body(record, index, "ines", "eid") for index in range(len(record.waters))] == [
        {
            "subject": SUBJECT,
            "date_time": "2024-05-17T11:05:00.500000",
            "water_administered": 0.003,
            "water_type": "Water 15% Sucrose",
            "user": "ines",
            "session": "eid",
            "adlib": False,
        },
        {
            "subject": SUBJECT,
            "date_time": "2024-05-17T12:01:00",
            "water_administered": 1.235,
            "water_type": "Water",
            "user": "ines",
            "session": "eid",
            "adlib": False,
        },
    ]


@pytest.mark.parametrize("changes", [{"water_delivered": 0}, {"reward_amount": 0}, {"reward_amount": None}])
def test_reg_09_no_volume_is_no_administration(tmp_path: Path, changes: dict[str, object]) -> None:
    write_task(tmp_path, new_settings(ALYX_USER=None), [trial(0, **changes)])
    record = record_of(tmp_path)
    assert (record.waters, codes(record)) == ((), ["water_skipped"])


def test_reg_09_without_reward_amount_the_rigs_own_sum_is_taken(tmp_path: Path) -> None:
    one = trial(1, water_delivered=3.0)
    del one["reward_amount"]
    write_task(tmp_path, old_settings(PYBPOD_CREATOR=None), [one])
    record = record_of(tmp_path)
    assert [(water.volume, water.user) for water in record.waters] == [(0.003, None)]


@pytest.mark.parametrize(
    ("version", "volume"),
    [("7.1.2", 0.0015), ("8.24.4", 0.003)],
)
def test_reg_09_older_rigs_write_rewards_beside_wrong_answers_too(tmp_path: Path, version: str, volume: float) -> None:
    settings = old_settings(version) if version[0] == "7" else new_settings()
    write_task(tmp_path, settings, [trial(1), trial(2, correct=False, reward_amount=1.5)])
    assert [water.volume for water in record_of(tmp_path).waters] == [volume]


def test_reg_09_two_administrations_never_share_time_and_type(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    for collection in ("raw_task_data_00", "raw_task_data_01"):
        write_task(tmp_path, new_settings(SUBJECT_WEIGHT=None), [trial(0)], collection)
    record = record_of(tmp_path)
    assert len(record.waters) == 1
    assert codes(record).count("water_skipped") == 1


# --- REG-10: users ----------------------------------------------------------------------------------------


def test_reg_10_known_users_are_the_sessions_users() -> None:
    assert session_users(["ines", "joao"], {"joao", "ines"}, "boss") == (("ines", "joao"), ())


def test_reg_10_an_unknown_user_is_named_and_the_others_stay() -> None:
    users = session_users(["ines", "nobody"], {"ines", "boss"}, "boss")
    assert users.names == ("ines",)
    assert [remark.code for remark in users.remarks] == ["unknown_recorder"]
    assert "nobody" in users.remarks[0].text


@pytest.mark.parametrize("recorders", [["nobody"], []])
def test_reg_10_without_a_known_user_the_responsible_one_stands_in(recorders: list[str]) -> None:
    users = session_users(recorders, {"boss"}, "boss")
    assert (users.names, [remark.code for remark in users.remarks]) == (("boss",), ["unknown_recorder"])
    assert session_users(recorders, set(), None).names == ()


def test_reg_10_the_user_of_a_version_8_rig_is_kept(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), [trial(0)])
    record = record_of(tmp_path)
    assert (record.users, record.weights[0].user, record.waters[0].user) == (("ines",), "ines", "ines")


def test_reg_10_weighings_by_users_that_alyx_does_not_know_are_ours() -> None:
    assert user_of("ines", ("ines",), "lab_server") == "ines"
    assert user_of("nobody", ("ines",), "lab_server") == "lab_server"
    assert user_of(None, (), "lab_server") == "lab_server"


# --- the rest ---------------------------------------------------------------------------------------------


def test_a_second_reading_gives_the_same_record(tmp_path: Path) -> None:
    describe(tmp_path, CHAINED)
    for index, collection in enumerate(("raw_task_data_00", "raw_task_data_01")):
        settings = new_settings(SESSION_START_TIME=f"{DAY}T1{index}:00:00", SESSION_END_TIME=None)
        write_task(tmp_path, settings, [trial(number, end=10.0 * number) for number in range(5)], collection)
    record = record_of(tmp_path)
    assert len(record.weights) == len(record.waters) == 2
    assert record_of(tmp_path) == record
