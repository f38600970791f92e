"""Sessions, weighings and water administrations: what our client relies on, and what Alyx does with what it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labferry.alyx.animals import (
    create_water,
    create_weighing,
    find_same,
    waters_of_session,
    weighings_of_day,
)
from labferry.alyx.answers import RefusedError, UnknownNameError
from labferry.alyx.fields import identity
from labferry.alyx.people import People
from labferry.alyx.sessions import (
    create_session,
    delete_session,
    get_session,
    look_for_id,
    ownership,
    session_ids,
    update_session,
    used_for,
)
from labferry.errors import BlockedError, UnexplainedError
from labferry.model import SystemClock
from labferry.sessions.record import create_body, has_arrived, water_body, weighing_body, written
from labferry.sessions.session import Session
from support.records import new_settings, record_of, trial, write_task
from support.tested_alyx import TestedAlyx as Alyx

NOBODY = "00000000-0000-4000-8000-000000000000"


def first_name(alyx: Alyx, path: str) -> str:
    """Return the first name of a vocabulary."""
    rows = alyx.client.list_all(path)
    if not rows:
        pytest.skip(f"this Alyx has nothing in {path}")
    return str(rows[0]["name"])


def posted_record(alyx: Alyx, folder: Path, session: Session, **changes: object) -> dict[str, Any]:
    """Return the body that a session of a version 8 rig becomes."""
    start, end = f"{session.date}T10:15:30.250000", f"{session.date}T11:05:00.500000"
    times = {"SESSION_START_TIME": start, "SESSION_END_TIME": end}
    settings = new_settings(SUBJECT_NAME=session.subject, SESSION_NUMBER=session.number, **times, **changes)
    write_task(folder, settings, [trial(0), trial(1, correct=False)])
    record = record_of(folder, session)
    body = create_body(record, lab=alyx.lab, users=[alyx.user], projects=(), own=ownership("contract-test"))
    return {**body, "location": None}


# --- sessions ---------------------------------------------------------------------------------------------


def test_reg_03_a_rigs_session_is_taken_as_it_is_sent(alyx: Alyx, tmp_path: Path) -> None:
    body = posted_record(alyx, tmp_path, alyx.new_session())
    created = create_session(alyx.client, body)
    assert has_arrived(body, created.fields)
    assert written({}, body, created.fields) == {**body, "lab": alyx.lab}
    assert created.fields["start_time"] == body["start_time"], "microseconds and all"
    assert created.fields == get_session(alyx.client, created.id).fields


def test_reg_03_what_is_not_known_may_be_null(alyx: Alyx) -> None:
    session = alyx.new_session()
    unknown = dict.fromkeys(("end_time", "n_trials", "n_correct_trials", "location"))
    created = create_session(alyx.client, {**alyx.record(session), **unknown, "narrative": "", "task_protocol": ""})
    assert {key: created.fields[key] for key in unknown} == unknown


def test_reg_03_every_unknown_name_is_said_at_once_and_nothing_is_created(alyx: Alyx) -> None:
    session = alyx.new_session()
    wrong = {"location": "no_such_rig", "projects": ["no_such_project"], "procedures": ["no such procedure"]}
    with pytest.raises(UnknownNameError) as refused:
        create_session(alyx.client, {**alyx.record(session), **wrong})
    assert refused.value.fields == {"location", "projects", "procedures"}
    assert refused.value.code == "unknown_name"
    assert all(name in refused.value.message for name in ("no_such_rig", "no_such_project", "no such procedure"))
    assert session_ids(alyx.client, session.subject, session.date, session.number) == []


def test_reg_03_an_unknown_name_in_an_update_changes_nothing(alyx: Alyx) -> None:
    _, created = alyx.registered_session()
    with pytest.raises(UnknownNameError) as refused:
        update_session(alyx.client, created.id, {"location": "no_such_rig", "narrative": "x"})
    assert refused.value.fields == {"location"}
    assert get_session(alyx.client, created.id).fields["narrative"] == ""


def test_reg_03_known_names_are_kept(alyx: Alyx) -> None:
    names = {"procedures": [first_name(alyx, "/procedures")], "location": first_name(alyx, "/locations")}
    created = create_session(alyx.client, {**alyx.record(alyx.new_session()), **names})
    assert {key: created.fields[key] for key in names} == names


def test_ruling_12_json_is_replaced_as_a_whole_and_other_fields_stay(alyx: Alyx) -> None:
    _, created = alyx.registered_session()
    changed = update_session(alyx.client, created.id, {"json": {"a": 1, "b": {"c": [2]}}, "narrative": "typed"})
    assert changed.json == {"a": 1, "b": {"c": [2]}}
    again = update_session(alyx.client, created.id, {"json": {"a": 3}, "n_trials": 5})
    assert (again.json, again.fields["narrative"], again.fields["n_trials"]) == ({"a": 3}, "typed", 5)
    assert update_session(alyx.client, created.id, {}).json == {"a": 3}
    assert again.fields["start_time"] == created.fields["start_time"]


def test_ruling_12_a_text_is_trimmed_and_an_offset_converted(alyx: Alyx) -> None:
    session, created = alyx.registered_session()
    noon = f"{session.date}T12:00:00"
    trimmed = update_session(alyx.client, created.id, {"narrative": "  said \n", "end_time": noon})
    assert trimmed.fields["narrative"] == "said"
    offset = update_session(alyx.client, created.id, {"end_time": f"{noon}+02:00"})
    assert offset.fields["end_time"] != noon, "so we never send one"
    assert "+" not in str(offset.fields["end_time"])


def test_ruling_09_an_empty_session_is_deleted_and_may_be_gone_already(alyx: Alyx) -> None:
    session, created = alyx.registered_session()
    assert used_for(alyx.client, created) == []
    delete_session(alyx.client, created.id)
    assert look_for_id(alyx.client, created.id) is None
    delete_session(alyx.client, created.id)
    assert session_ids(alyx.client, session.subject, session.date, session.number) == []


@pytest.mark.parametrize("thing", ["notes", "tasks", "water administrations", "datasets"])
def test_ruling_09_what_hangs_on_a_session_is_seen(alyx: Alyx, thing: str) -> None:
    session, created = alyx.registered_session()
    if thing == "notes":
        note = {"user": alyx.user, "content_type": "session", "object_id": created.id, "text": "good"}
        alyx.client.post("/notes", note)
    elif thing == "tasks":
        alyx.client.post("/tasks", {"name": "RegisterRaw", "session": created.id, "status": "Waiting"})
    elif thing == "datasets":
        files = {"filenames": ["alf/licks.times.npy"], "hashes": ["a" * 32], "filesizes": [4]}
        alyx.client.post("/register-file", {"path": session.alyx_path, "created_by": alyx.user, **files})
    else:
        alyx.client.post("/water-administrations", {"subject": alyx.subject, "session": created.id})
    assert used_for(alyx.client, get_session(alyx.client, created.id)) == [thing]


def test_ruling_09_a_task_that_alyx_cannot_show_hangs_on_a_session_too(alyx: Alyx) -> None:
    _, created = alyx.registered_session()
    with pytest.raises(RefusedError):  # it has no status, and is there all the same
        alyx.client.post("/tasks", {"name": "RegisterRaw", "session": created.id})
    assert used_for(alyx.client, created) == ["tasks"]


def test_reg_03_a_session_that_is_not_there_has_no_tasks_and_no_datasets_to_list(alyx: Alyx) -> None:
    for path in ("/tasks", "/datasets"):
        with pytest.raises(RefusedError) as refused:
            alyx.client.list_all(path, {"session": NOBODY})
        assert refused.value.code == "session_gone"


# --- users and subjects -----------------------------------------------------------------------------------


def test_reg_10_known_users_are_told_from_unknown_ones(alyx: Alyx) -> None:
    people = People(alyx.client, SystemClock())
    assert people.users([alyx.user, "nobody_at_all"]) == {alyx.user}


def test_reg_10_an_empty_list_of_users_is_whoever_sends_it(alyx: Alyx) -> None:
    created = create_session(alyx.client, {**alyx.record(alyx.new_session()), "users": []})
    assert created.users == (alyx.user,)


def test_reg_10_a_subject_has_its_responsible_user_and_lab(alyx: Alyx) -> None:
    subject = People(alyx.client, SystemClock()).subject(alyx.subject)
    assert (subject.lab, subject.responsible_user, subject.projects) == (alyx.lab, alyx.user, ())


# --- weighings --------------------------------------------------------------------------------------------


def weighing(alyx: Alyx, session: Session, **changes: object) -> dict[str, object]:
    body = {"subject": alyx.subject, "date_time": f"{session.date}T10:15:30.250000", "weight": 23.4, "user": alyx.user}
    return {**body, **changes}


def test_reg_08_a_weighing_is_kept_as_sent_and_found_by_its_time(alyx: Alyx, tmp_path: Path) -> None:
    session = alyx.new_session()
    posted_record(alyx, tmp_path, session)
    body = weighing_body(record_of(tmp_path, session), 0, alyx.user)
    made = create_weighing(alyx.client, body)
    (row,) = weighings_of_day(alyx.client, alyx.subject, session.date.isoformat())
    assert {key: row[key] for key in body} == body
    assert find_same([row], {**body, "weight": 1.0}, ("date_time",)) == made
    other = alyx.new_session()
    assert weighings_of_day(alyx.client, alyx.subject, other.date.isoformat()) == []
    assert weighings_of_day(alyx.client, alyx.subject.upper(), session.date.isoformat()) == []


def test_reg_08_the_same_weighing_twice_is_two(alyx: Alyx) -> None:
    session = alyx.new_session()
    body = weighing(alyx, session)
    assert create_weighing(alyx.client, body) != create_weighing(alyx.client, body)
    assert len(weighings_of_day(alyx.client, alyx.subject, session.date.isoformat())) == 2


def test_reg_08_without_a_user_it_is_whoever_sends_it(alyx: Alyx) -> None:
    session = alyx.new_session()
    body = weighing(alyx, session)
    del body["user"]
    create_weighing(alyx.client, body)
    (row,) = weighings_of_day(alyx.client, alyx.subject, session.date.isoformat())
    assert row["user"] == alyx.user


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user": "nobody_at_all"}, "user 'nobody_at_all'"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"weight": None}, "null"),
        ({"weight": "heavy"}, "valid number"),
        ({"date_time": "yesterday"}, "wrong format"),
        ({"user": ""}, "null"),
    ],
    ids=["user", "negative", "null", "text", "time", "empty user"],
)
def test_reg_08_a_refused_weighing_is_not_there(alyx: Alyx, change: dict[str, object], words: str) -> None:
    session = alyx.new_session()
    with pytest.raises(RefusedError, match=words):
        create_weighing(alyx.client, weighing(alyx, session, **change))
    assert weighings_of_day(alyx.client, alyx.subject, session.date.isoformat()) == []


def test_reg_08_a_weighing_without_a_time_breaks_the_animal_and_the_next_one_is_kept_all_the_same(alyx: Alyx) -> None:
    broken, session = f"{alyx.prefix}_broken", alyx.new_session()
    alyx.new_subject(broken, alyx.lab)
    try:
        for moment in (None, f"{session.date}T10:00:00"):
            with pytest.raises(UnexplainedError):
                create_weighing(alyx.client, weighing(alyx, session, subject=broken, date_time=moment))
        assert len(weighings_of_day(alyx.client, broken, session.date.isoformat())) == 1
        with pytest.raises(BlockedError, match=broken) as blocked:
            People(alyx.client, SystemClock()).subject(broken)
        assert blocked.value.code == "subject_broken"
    finally:  # it could not be deleted otherwise
        for row in alyx.client.list_all("/weighings", {"nickname": broken}):
            alyx.client.delete(f"/weighings/{identity(row)}")


# --- water administrations --------------------------------------------------------------------------------


def water(alyx: Alyx, eid: str, on: Session, **changes: object) -> dict[str, object]:
    return {
        "subject": alyx.subject,
        "date_time": f"{on.date}T11:05:00.500000",
        "water_administered": 1.234,
        "water_type": "Water",
        "user": alyx.user,
        "session": eid,
        "adlib": False,
        **changes,
    }


def test_reg_09_water_is_kept_as_sent_and_found_by_session_time_and_type(alyx: Alyx, tmp_path: Path) -> None:
    session, created = alyx.registered_session()
    posted_record(alyx, tmp_path, session, REWARD_TYPE="Water")
    body = water_body(record_of(tmp_path, session), 0, alyx.user, created.id)
    made = create_water(alyx.client, body)
    (row,) = waters_of_session(alyx.client, created.id)
    assert {key: row[key] for key in body} == body
    assert find_same([row], {**body, "water_administered": 9.0}, ("date_time", "water_type")) == made
    assert find_same([row], {**body, "water_type": "Milk"}, ("date_time", "water_type")) is None
    _, other = alyx.registered_session()
    assert waters_of_session(alyx.client, other.id) == []
    assert get_session(alyx.client, created.id).fields["wateradmin_session_related"]


def test_reg_09_the_same_water_twice_is_two(alyx: Alyx) -> None:
    session, created = alyx.registered_session()
    body = water(alyx, created.id, session)
    assert create_water(alyx.client, body) != create_water(alyx.client, body)
    assert len(waters_of_session(alyx.client, created.id)) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"water_type": "no such water"}, "water_type 'no such water'"),
        ({"user": "nobody_at_all"}, "user 'nobody_at_all'"),
        ({"session": NOBODY}, f"session '{NOBODY}'"),
        ({"water_administered": -1}, "greater than or equal to 0"),
    ],
    ids=["type", "user", "session", "negative"],
)
def test_reg_09_refused_water_is_not_there(alyx: Alyx, change: dict[str, object], words: str) -> None:
    session, created = alyx.registered_session()
    with pytest.raises(RefusedError, match=words):
        create_water(alyx.client, water(alyx, created.id, session, **change))
    assert waters_of_session(alyx.client, created.id) == []


def test_reg_09_water_after_the_animals_death_is_refused_with_a_500(alyx: Alyx) -> None:
    session, created = alyx.registered_session()
    mortal = f"{alyx.prefix}_mortal"
    alyx.new_subject(mortal, alyx.lab)
    alyx.client.patch(f"/subjects/{mortal}", {"death_date": "2020-12-31"})
    with pytest.raises(RefusedError) as refused:
        create_water(alyx.client, water(alyx, created.id, session, subject=mortal))
    assert (refused.value.code, refused.value.status) == ("after_death", 500)
    create_weighing(alyx.client, weighing(alyx, session, subject=mortal))


def test_reg_09_a_page_of_water_is_not_all_water(alyx: Alyx) -> None:
    session, created = alyx.registered_session()
    for minute in range(3):
        create_water(alyx.client, water(alyx, created.id, session, date_time=f"{session.date}T11:{minute:02d}:00"))
    pages = alyx.client.pages("/water-administrations", {"django": f"session,{created.id}"})
    assert [len(page) for page in pages] == [3]
