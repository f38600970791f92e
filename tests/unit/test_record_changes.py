"""Three-way updates: what a person typed into Alyx stays (ruling 12)."""

from __future__ import annotations

import pytest

from labferry.sessions.record import changes, has_arrived, patch_body, written


def test_ruling_12_what_alyx_lacks_is_filled_in() -> None:
    wanted = {"n_trials": 400, "narrative": "calm", "users": ["ines"], "json": {"POOP_COUNT": 4}}
    theirs = {"n_trials": None, "narrative": "", "users": [], "json": None}
    assert changes({}, wanted, theirs) == wanted


def test_ruling_12_what_we_wrote_last_is_ours_to_change() -> None:
    ours = {"n_trials": 400, "json": {"POOP_COUNT": 4}}
    theirs = {"n_trials": 400, "json": {"POOP_COUNT": 4, "note": "by hand"}}
    changed = changes(ours, {"n_trials": 401, "json": {"POOP_COUNT": 5}}, theirs)
    assert changed == {"n_trials": 401, "json": {"POOP_COUNT": 5}}
    assert patch_body(changed, theirs) == {"n_trials": 401, "json": {"POOP_COUNT": 5, "note": "by hand"}}


@pytest.mark.parametrize("ours", [{}, {"n_trials": 400, "projects": ["a"], "json": {"POOP_COUNT": 4}}])
def test_ruling_12_what_a_person_typed_stays(ours: dict[str, object]) -> None:
    theirs = {"n_trials": 12, "projects": ["by_hand"], "json": {"POOP_COUNT": 99}}
    wanted = {"n_trials": 401, "projects": ["b"], "json": {"POOP_COUNT": 5}}
    assert changes(ours, wanted, theirs) == {}


def test_ruling_12_json_is_compared_key_by_key() -> None:
    theirs = {"json": {"POOP_COUNT": 99, "IS_MOCK": False, "json": 1}}
    wanted = {"json": {"POOP_COUNT": 5, "IS_MOCK": False, "TASK_VERSION": "1.0", "json": 2}}
    assert changes({}, wanted, theirs) == {"json": {"TASK_VERSION": "1.0"}}


@pytest.mark.parametrize("value", ["by hand", ["by hand"], 7])
def test_ruling_12_a_json_that_is_no_object_is_a_persons(value: object) -> None:
    assert changes({}, {"json": {"POOP_COUNT": 5}}, {"json": value}) == {}


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_ruling_12_nothing_is_ever_cleared(nothing: object) -> None:
    ours = {"narrative": "calm", "json": {"POOP_COUNT": 4}}
    assert changes(ours, {"narrative": nothing, "json": {"POOP_COUNT": nothing}}, ours) == {}


def test_ruling_12_a_zero_is_a_value() -> None:
    assert changes({}, {"n_trials": 5}, {"n_trials": 0}) == {}
    assert changes({}, {"n_trials": 0}, {"n_trials": None}) == {"n_trials": 0}
    assert changes({}, {"json": {"IS_MOCK": True}}, {"json": {"IS_MOCK": False}}) == {}


def test_ruling_12_the_order_of_names_is_no_difference() -> None:
    assert changes({}, {"users": ["a", "b"]}, {"users": ["b", "a"]}) == {}
    assert changes({"users": ["a", "b"]}, {"users": ["c"]}, {"users": ["b", "a"]}) == {"users": ["c"]}


def test_ruling_12_users_that_the_server_added_are_not_undone() -> None:
    assert changes({"users": ["ines"]}, {"users": ["ines"]}, {"users": ["ines", "lab_server"]}) == {}


def test_ruling_12_what_arrived_is_ours_from_then_on() -> None:
    changed = {"n_trials": 401, "json": {"POOP_COUNT": 5}}
    theirs = {"n_trials": 401, "narrative": "by hand", "json": {"POOP_COUNT": 5, "note": "by hand"}}
    assert written({}, changed, theirs) == changed


def test_ruling_12_after_a_lost_answer_what_did_not_arrive_is_still_the_earlier_value() -> None:
    ours = {"n_trials": 400, "json": {"POOP_COUNT": 4}}
    wanted = {"n_trials": 401, "json": {"POOP_COUNT": 5}}
    assert written(ours, wanted, ours) == ours
    assert changes(written(ours, wanted, ours), wanted, ours) == wanted  # and so it is sent again


def test_ruling_12_what_was_sent_has_arrived_when_all_of_it_is_there() -> None:
    changed = {"n_trials": 401, "json": {"POOP_COUNT": 5}}
    there = {"n_trials": 401, "narrative": "by hand", "json": {"POOP_COUNT": 5, "note": "by hand"}}
    assert has_arrived(changed, there)
    assert not has_arrived(changed, {**there, "n_trials": 400})
    assert not has_arrived(changed, {**there, "json": {"note": "by hand"}})
    assert not has_arrived(changed, {**there, "json": None})


def test_ruling_12_a_time_in_another_form_is_no_difference() -> None:
    ours, theirs = {"end_time": "2024-05-17T10:15:30.250000"}, {"end_time": "2024-05-17T10:15:30+01:00"}
    assert changes({}, ours, theirs) == {}
    assert has_arrived(ours, theirs)
    later = {"end_time": "2024-05-17T10:20:00"}
    assert changes(ours, later, theirs) == later
