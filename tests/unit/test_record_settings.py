"""Task settings of every rig generation, and the times in them (REG-03, REG-05, ruling 12)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from labferry.errors import BlockedError
from labferry.sessions.record import TaskSettings, parse_settings
from labferry.sessions.record.moments import local_moment, same_moment
from support.records import DAY, NUMBER, SETTINGS, SUBJECT, new_settings, old_settings
from support.trees import SHARED, needs_shared


def parse(values: object) -> TaskSettings:
    return parse_settings(json.dumps(values).encode(), SETTINGS, UTC)


@pytest.mark.parametrize("version", ["4.0.0", "5.0.0", "6.4.2", "7.1.2"])
def test_reg_03_settings_before_version_8(version: str) -> None:
    settings = parse(old_settings(version))
    assert (settings.subject, settings.date, settings.number) == (SUBJECT, DAY, NUMBER)
    assert (settings.start, settings.end) == (datetime(2024, 5, 17, 10, 15, 30, 250000), None)
    assert settings.task_protocol == f"_iblrig_tasks_biasedChoiceWorld{version}"
    assert (settings.user, settings.location) == ("ines", "_iblrig_mainenlab_behavior_2")
    assert (settings.weight, settings.reward_type) == (23.4, "Water 10% Sucrose")
    assert (settings.is_mock, settings.is_passive, settings.generation) == (False, False, int(version[0]))
    assert settings.droppings is None  # `true` says that they shall be counted, not that there was one
    assert settings.remarks == ()


def test_reg_03_settings_of_version_8() -> None:
    settings = parse(new_settings(PROJECT_EXTRACTION_VERSION="0.3.0"))
    assert (settings.subject, settings.date, settings.number) == (SUBJECT, DAY, NUMBER)
    assert settings.start == datetime(2024, 5, 17, 10, 15, 30, 250000)
    assert settings.end == datetime(2024, 5, 17, 11, 5, 0, 500000)
    assert settings.task_protocol == "_iblrig_tasks_trainingChoiceWorld8.24.4"
    assert (settings.user, settings.location) == ("ines", "_iblrig_mainenlab_behavior_2")
    assert (settings.droppings, settings.delay) == (4, 12.0)
    assert (settings.task_version, settings.extraction_version) == ("1.2.6", "0.3.0")
    assert settings.remarks == ()


@needs_shared
@pytest.mark.parametrize(("name", "number"), [("session_training_ge5", 1), ("session_biased_ge5", 2)])
def test_reg_03_real_settings_of_a_rig(name: str, number: int) -> None:
    path = SHARED / "data" / "ibl" / "raw" / name / "raw_behavior_data" / SETTINGS
    settings = parse_settings(path.read_bytes(), SETTINGS)
    assert (settings.subject, settings.date, settings.number) == ("_iblrig_test_mouse", date(2019, 7, 1), number)
    assert (settings.version, settings.user, settings.weight) == ("5.0.0", "_iblrig_test_user", 123.0)
    assert settings.location == "_iblrig_mainenlab_ephys_0"
    assert settings.remarks == ()


def test_reg_03_the_version_field_wins_over_the_tag() -> None:
    assert parse(old_settings("7.0.0", IBLRIG_VERSION="7.1.0")).version == "7.1.0"
    assert parse(old_settings("7.0.0", IBLRIG_VERSION=None)).version == "7.0.0"


def test_reg_03_a_rig_without_a_version_is_read_by_what_it_wrote() -> None:
    new, old = parse(new_settings(IBLRIG_VERSION="")), parse(old_settings(""))
    assert (new.version, new.user, new.task_protocol) == ("", "ines", "_iblrig_tasks_trainingChoiceWorld")
    assert (old.version, old.user, old.task_protocol) == ("", "ines", "_iblrig_tasks_biasedChoiceWorld")
    assert parse(new_settings(IBLRIG_VERSION="dirty")).remarks[0].code == "odd_settings"


def test_reg_03_an_older_start_field_is_taken_where_the_newer_is_missing() -> None:
    settings = old_settings("8.0.0", ALYX_USER="ines")
    assert parse(settings).start == datetime(2024, 5, 17, 10, 15, 30, 250000)
    both = new_settings(SESSION_DATETIME=f"{DAY}T01:00:00", SESSION_DATE="1999-01-01")
    assert parse(both).start.hour == 10  # what older software left in a newer file says nothing
    assert parse(both).date == DAY


@pytest.mark.parametrize("creator", [None, [], "", [None, "x"], ["", "x"]])
def test_reg_10_settings_without_a_creator_have_no_user(creator: object) -> None:
    assert parse(old_settings(PYBPOD_CREATOR=creator)).user is None


@pytest.mark.parametrize("creator", ["ines", ["ines"], ["ines", ""], ["ines", None, "local"]])
def test_reg_10_the_creator_is_its_first_part(creator: object) -> None:
    assert parse(old_settings(PYBPOD_CREATOR=creator)).user == "ines"


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        ("2024-05-17T10:15:30", datetime(2024, 5, 17, 10, 15, 30)),
        ("2024-05-17 10:15:30.5", datetime(2024, 5, 17, 10, 15, 30, 500000)),
        ("2024-05-17T10:15:30,25", datetime(2024, 5, 17, 10, 15, 30, 250000)),
        ("2024-05-17T10:15:30.1234567", datetime(2024, 5, 17, 10, 15, 30, 123456)),
        ("2024-05-17T10:15:30.123456789012", datetime(2024, 5, 17, 10, 15, 30, 123456)),
        ("2024-05-17T10:15:30.1234567+01:00", datetime(2024, 5, 17, 10, 15, 30, 123456)),
        ("2024-05-17T23:15:30-0500", datetime(2024, 5, 17, 23, 15, 30)),
        ("2024-05-17T10:15:30+00:00", datetime(2024, 5, 17, 10, 15, 30)),
        ("2024-05-17T10:15", datetime(2024, 5, 17, 10, 15)),
        ("2024-05-17T10:15:30Z", datetime(2024, 5, 17, 11, 15, 30)),
        ("2024-05-17T10:15:30.1234567Z", datetime(2024, 5, 17, 11, 15, 30, 123456)),
        (" 2024-01-17T23:30:00Z ", datetime(2024, 1, 17, 23, 30)),
    ],
)
def test_reg_05_offsets_are_dropped_and_z_is_converted(text: str, wall: datetime) -> None:
    assert local_moment(text, ZoneInfo("Europe/Lisbon")) == wall
    assert local_moment(text, ZoneInfo("Europe/Lisbon")).tzinfo is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-05-17",
        "2024-13-17T10:00:00",
        "2024-05-17T25:00:00",
        "2024-05-17T10:00:60",
        "17/05/2024 10:00",
        "2024-05-17T10:00:00 PST",
        "9999-12-31T23:59:59Z",
        "2024-05-17T10:15:30." + "1" * 80,
        "\uff12\uff10\uff12\uff14-05-17T10:00:00",
    ],
)
def test_reg_05_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        local_moment(text, timezone(timedelta(hours=14)))


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ("2024-05-17T10:15:30.250000", True),
        ("2024-05-17T10:15:30", True),
        ("2024-05-17 10:15:30Z", True),
        ("2024-05-17T10:15:30.25+02:00", True),
        ("2024-05-17T10:15:31.250000", False),
        ("2024-05-16T10:15:30.250000", False),
        ("2024-05-17", False),
        ("soon", False),
        (None, False),
    ],
)
def test_ruling_11_a_time_is_known_again_in_whatever_form(other: object, is_same: bool) -> None:
    assert same_moment("2024-05-17T10:15:30.250000", other) is is_same
    assert same_moment(other, "2024-05-17T10:15:30.250000") is is_same


def test_reg_05_an_end_before_the_start_is_not_used() -> None:
    settings = parse(new_settings(SESSION_END_TIME=f"{DAY}T09:00:00"))
    assert settings.end is None
    assert [remark.code for remark in settings.remarks] == ["odd_settings"]


@pytest.mark.parametrize("end", [None, "", "soon", 17, "2024-05-17"])
def test_reg_05_an_end_that_cannot_be_read_is_none(end: object) -> None:
    assert parse(new_settings(SESSION_END_TIME=end)).end is None


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "not JSON"),
        (b'{"SUBJECT_NAME": "a"', "not JSON"),
        (b"\0" * 4096, "not JSON"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b'"text"', "text"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b'{"a": "\xe9"}', "not JSON"),
        (b"[" * 200_000, "nested"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON"),
    ],
)
def test_reg_05_what_is_no_settings_file_is_corrupt(content: bytes, word: str) -> None:
    with pytest.raises(BlockedError) as error:
        parse_settings(content, SETTINGS)
    assert error.value.code == "corrupt_settings"
    assert word in error.value.message
    assert len(error.value.message) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("SUBJECT_NAME", None),
        ("SUBJECT_NAME", ""),
        ("SUBJECT_NAME", 17),
        ("SUBJECT_NAME", "x" * 300),
        ("SUBJECT_NAME", "a\x00b"),
        ("SUBJECT_NAME", "\ud800"),
        ("SESSION_NUMBER", None),
        ("SESSION_NUMBER", "first"),
        ("SESSION_NUMBER", True),
        ("SESSION_NUMBER", 1.5),
        ("SESSION_NUMBER", float("nan")),
        ("SESSION_NUMBER", float("inf")),
        ("SESSION_NUMBER", [3]),
        ("SESSION_START_TIME", None),
        ("SESSION_START_TIME", "yesterday"),
        ("SESSION_START_TIME", 1715940930),
        ("SESSION_START_TIME", {}),
    ],
)
def test_reg_05_a_session_that_cannot_be_told_is_corrupt_and_the_field_named(field: str, value: object) -> None:
    with pytest.raises(BlockedError, match=field) as error:
        parse(new_settings(**{field: value}))
    assert error.value.code == "corrupt_settings"
    assert error.value.message.isprintable()


@pytest.mark.parametrize("field", ["REWARD_TYPE", "TASK_VERSION", "PYBPOD_PROTOCOL", "RIG_NAME", "ALYX_USER"])
@pytest.mark.parametrize("value", [17, ["a"], {"a": 1}, "x" * 256, "a\nb", "\ud800", float("nan"), 10**400])
def test_other_odd_fields_are_left_out_with_a_remark(field: str, value: object) -> None:
    settings = parse(new_settings(**{field: value}))
    assert [remark.code for remark in settings.remarks] == ["odd_settings"]
    assert field in settings.remarks[0].text
    assert len(settings.remarks[0].text) < 200


@pytest.mark.parametrize("weight", [0, 0.0, -3, None, "", "23.4", "heavy", [], {}, True, float("nan"), float("inf")])
def test_reg_08_what_is_no_weight_is_none_with_a_reason(weight: object) -> None:
    settings = parse(new_settings(SUBJECT_WEIGHT=weight))
    assert settings.weight is None
    assert "SUBJECT_WEIGHT" in settings.no_weight


@pytest.mark.parametrize("count", [True, False, "4", None, -1, float("nan"), []])
def test_what_is_no_count_of_droppings_is_none(count: object) -> None:
    assert parse(new_settings(POOP_COUNT=count)).droppings is None


def test_passive_and_habituation_protocols_are_known() -> None:
    assert parse(new_settings(PYBPOD_PROTOCOL="_iblrig_tasks_passiveChoiceWorld")).is_passive
    assert parse(new_settings(PYBPOD_PROTOCOL="_iblrig_tasks_habituationChoiceWorld")).is_habituation
