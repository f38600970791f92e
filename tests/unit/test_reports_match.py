"""`match`: file, pattern, dataset type, decision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.match import match
from labferry.errors import LabferryError
from support.world import SESSION, World

TRIALS = "alf/_ibl_trials.table.pqt"
RAW = "raw_behavior_data/_iblrig_taskData.raw.jsonable"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def files(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {file["path"]: file for file in found["files"]}


def test_reg_01_match_lists_file_pattern_type_and_decision(world: World) -> None:
    folder = world.write(RAW, TRIALS, "notes.txt", "raw_video_data/_iblrig_leftCamera.raw.avi", "alf/x.y.unknown")
    os.mkfifo(folder / "alf/a.b.npy")
    found = match(world.context, str(folder))
    assert (found["path"], found["root"], found["session"]) == (str(folder), "s0", SESSION)
    listed = files(found)
    assert list(listed) == sorted(listed)
    raw = listed[RAW]
    assert (raw["decision"], raw["code"], raw["pattern"]) == ("dataset", "", "raw_behavior_data/**/_iblrig_*.*")
    assert (raw["dataset_type"], raw["data_format"]) == ("taskData.raw", "jsonable")
    assert {path: (file["decision"], file["code"]) for path, file in listed.items() if path != RAW} == {
        TRIALS: ("dataset", ""),
        "notes.txt": ("unmatched", "no_pattern"),
        "raw_video_data/_iblrig_leftCamera.raw.avi": ("excluded", "excluded_suffix"),
        "alf/x.y.unknown": ("unmatched", "no_dataset_type"),
        "alf/a.b.npy": ("rejected", "not_regular"),
    }
    assert found["counts"] == {"dataset": 2, "unmatched": 2, "excluded": 1, "rejected": 1}
    assert found["complete"] is True


def test_win_04_what_tells_of_a_session_needs_no_pattern(world: World) -> None:
    world.write("raw_session.flag", "alf/extract_me.flag", "_devices/1_KS005@video.status_pending", "_devices/x.yaml")
    decided = {path: (file["decision"], file["code"]) for path, file in files(match(world.context, SESSION)).items()}
    assert decided.pop("_devices/x.yaml") == ("unmatched", "no_pattern")
    assert set(decided.values()) == {("excluded", "about_session")}


def test_reg_01_match_asks_neither_the_journal_nor_for_completeness(world: World) -> None:
    world.write(RAW)
    assert match(world.context, SESSION)["counts"]["dataset"] == 1
    assert world.journal.sessions.all() == []


def test_match_within_a_session_decides_by_the_path_below_the_session(world: World) -> None:
    world.write(RAW, TRIALS)
    found = match(world.context, str(world.folder_of() / "alf"))
    assert list(files(found)) == [TRIALS]
    assert found["counts"]["dataset"] == 1
    assert list(files(match(world.context, str(world.folder_of() / RAW)))) == [RAW]


def test_match_reads_any_other_folder_as_if_it_were_a_session(world: World) -> None:
    world.write(RAW, session="KS005/not-a-day")
    found = match(world.context, str(world.root / "KS005/not-a-day"))
    assert found["session"] is None
    assert files(found)[RAW]["decision"] == "dataset"


def test_match_where_nothing_is_registered(tmp_path: Path) -> None:
    world = World(tmp_path, roots=[{"name": "s0", "path": str(tmp_path / "s0"), "register": False, "events": "off"}])
    try:
        world.write(RAW)
        (file,) = match(world.context, SESSION)["files"]
    finally:
        world.close()
    assert (file["decision"], file["code"]) == ("excluded", "not_registered")


def test_match_shows_names_that_are_not_utf8(world: World) -> None:
    folder = os.fsencode(world.write()) + b"/alf"
    os.mkdir(folder)
    with open(folder + b"/caf\xe9.x.npy", "wb"):
        pass
    (file,) = match(world.context, SESSION)["files"]
    assert (file["path"], file["code"]) == ("alf/caf\\xe9.x.npy", "not_utf8")
    assert file["path_b64"]


@pytest.mark.parametrize(
    ("path", "code"), [("/etc", "outside_roots"), ("KS999/2019-04-02/001", "no_such_path"), ("link", "not_a_session")]
)
def test_match_refuses_what_it_may_not_or_cannot_look_at(world: World, path: str, code: str) -> None:
    (world.root / "link").symlink_to("/etc")
    with pytest.raises(LabferryError) as caught:
        match(world.context, path)
    assert caught.value.code == code
