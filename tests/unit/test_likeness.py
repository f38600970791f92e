"""Whether a folder is another one under a new name, although not all of it came along (DONE-09)."""

from __future__ import annotations

import pytest

from labferry.detect.likeness import Listed, Version, is_mostly, telling

SETTINGS = b"raw_behavior_data/_iblrig_taskSettings.raw.json"
DATA = b"raw_behavior_data/_iblrig_taskData.raw.jsonable"
VIDEO = b"raw_video_data/_iblrig_leftCamera.raw.mp4"
NOTES = b"notes.txt"
HAD: dict[bytes, Version] = {SETTINGS: (10, 1), DATA: (100, 2), VIDEO: (1000, 3), NOTES: (5, 4)}


def manifest(had: dict[bytes, Version], *, datasets: bool = True) -> list[Listed]:
    return [Listed(path, version, datasets and path != NOTES) for path, version in had.items()]


def without(*paths: bytes) -> dict[bytes, Version]:
    return {path: version for path, version in HAD.items() if path not in paths}


@pytest.mark.parametrize("lost", [(), (NOTES,), (SETTINGS,), (SETTINGS, NOTES)])
def test_done_09_what_has_most_files_and_bytes_of_a_session_is_that_session(lost: tuple[bytes, ...]) -> None:
    assert is_mostly(without(*lost), manifest(HAD))


def test_done_09_what_was_added_since_does_not_hide_it() -> None:
    assert is_mostly({**without(NOTES), b"raw_ephys_data/rec.ap.cbin": (10**9, 9)}, manifest(HAD))


@pytest.mark.parametrize("path", [SETTINGS, NOTES])
@pytest.mark.parametrize("version", [(11, 1), (10, 9)])
def test_done_09_one_file_of_another_version_makes_another_session(path: bytes, version: Version) -> None:
    assert not is_mostly({**HAD, path: version}, manifest(HAD))


@pytest.mark.parametrize("lost", [(VIDEO,), (SETTINGS, DATA, NOTES)])
def test_done_09_a_small_part_by_bytes_or_by_files_is_another_session(lost: tuple[bytes, ...]) -> None:
    assert not is_mostly(without(*lost), manifest(HAD))


def test_done_09_two_sessions_with_the_same_settings_file_are_two() -> None:
    aborted = {SETTINGS: (10, 1)}
    assert is_mostly(aborted, manifest(aborted))
    assert not is_mostly(HAD, manifest(aborted)), "all of the other one, and next to nothing of this one"


def test_done_09_files_that_alyx_has_nothing_of_say_nothing() -> None:
    assert not is_mostly(HAD, manifest(HAD, datasets=False))
    assert not is_mostly({}, [])


def test_the_largest_files_are_looked_for() -> None:
    assert telling(HAD) == [VIDEO, DATA, SETTINGS]
