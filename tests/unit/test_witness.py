"""What a session's own files say about its end: real files, looked at as the detector does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labferry.detect import witness as witness_module
from labferry.detect.evidence import Evidence, Finding, Wanted, judge
from labferry.detect.witness import Witness
from support.recordings import (
    DESCRIPTION,
    PROBE,
    STEM,
    TASK,
    VIDEO,
    describe,
    device,
    header,
    meta,
    put,
    settings,
)


def evidence(folder: Path, completion: str = "auto") -> Evidence:
    return Witness(completion).look(os.fsencode(folder))[1]


def finding(folder: Path, completion: str = "auto") -> Finding:
    return judge(evidence(folder, completion), completion)


def finished(folder: Path) -> Path:
    """Write a session that says itself that it is finished."""
    describe(folder)
    settings(folder)
    put(folder, f"{VIDEO}/_iblrig_leftCamera.raw.mp4")
    device(folder, "behavior", "complete")
    device(folder, "video", "final")
    put(folder, f"{STEM}.meta", meta())
    put(folder, f"{STEM}.cbin", b"5" * 500)
    put(folder, f"{STEM}.ch", header(500))
    return folder


def test_done_05_a_session_that_is_all_there_says_so(tmp_path: Path) -> None:
    assert finding(finished(tmp_path)) == Finding()


def test_done_05_the_folder_of_the_cameras_is_missing(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / VIDEO / "_iblrig_leftCamera.raw.mp4").unlink()
    assert finding(tmp_path) == Finding("no_video", "raw_video_data missing", "")


def test_done_05_of_several_missing_folders_that_of_a_task_tells_most(tmp_path: Path) -> None:
    describe(tmp_path, tasks=("raw_task_data_00", "raw_task_data_01"))
    found = finding(tmp_path)
    assert (found.code, found.why) == ("no_behaviour", "raw_task_data_00, raw_task_data_01, raw_video_data missing")


@pytest.mark.parametrize(
    ("asked_for", "there", "missing"),
    [
        ("raw_imaging_data_*", "raw_imaging_data_00/x.tif", False),
        ("raw_imaging_data_*", "raw_imaging_data_00/deep/down/x.tif", False),
        ("raw_imaging_data_*", "raw_imaging_data/x.tif", True),
        ("raw_imaging_data_[01]*", "raw_imaging_data_21/x.tif", True),
        ("raw_ephys_data/probe00", "raw_ephys_data/probe01/x.bin", True),
        ("raw_ephys_data/probe00", "raw_ephys_data/x.bin", True),
        ("raw_ephys_data", "raw_ephys_data/probe01/x.bin", False),
        ("raw_ephys_data", "raw_ephys_data", True),
        ("Raw_video_data", "raw_video_data/x.mp4", True),
    ],
)
def test_done_05_folders_are_asked_for_by_name_or_by_pattern(
    tmp_path: Path, asked_for: str, there: str, missing: bool
) -> None:
    describe(tmp_path, tasks=(), cameras=asked_for)
    put(tmp_path, there)
    assert [one.collection for one in evidence(tmp_path).missing] == ([asked_for] if missing else [])


def test_done_05_what_the_description_of_one_device_names_must_come_too(tmp_path: Path) -> None:
    describe(tmp_path, cameras="")
    settings(tmp_path)
    device(tmp_path, "video", "complete")
    describe(tmp_path, tasks=(), path="_devices/2024-03-01_1_KS005@video.yaml")
    assert evidence(tmp_path).missing == (Wanted(VIDEO, "no_video"),)


def test_done_05_a_device_whose_copy_goes_on_is_named(tmp_path: Path) -> None:
    finished(tmp_path)
    device(tmp_path, "ephys", "pending")
    assert finding(tmp_path) == Finding("waiting_device", "not copied yet: ephys (pending)", "")


def test_done_05_a_device_whose_computer_is_late_is_named(tmp_path: Path) -> None:
    device(finished(tmp_path), "widefield")
    assert finding(tmp_path).why == "not copied yet: widefield (not begun)"


def test_done_05_a_status_without_a_description_and_one_beside_another_count_too(tmp_path: Path) -> None:
    put(tmp_path, "_devices/2024-03-01_1_KS005@video.status_pending")
    device(tmp_path, "ephys", "complete")
    put(tmp_path, "_devices/2024-03-01_1_KS005@ephys.status_pending")
    assert evidence(tmp_path).late_devices == ("ephys (pending)", "video (pending)")


@pytest.mark.parametrize("completion", ["flag", "auto"])
def test_done_05_devices_count_wherever_the_flag_does(tmp_path: Path, completion: str) -> None:
    device(tmp_path, "video", "pending")
    assert finding(tmp_path, completion).code == "waiting_device"
    assert finding(tmp_path, "quiet") == Finding()


def test_done_05_where_only_the_flag_counts_nothing_is_asked_of_the_description(tmp_path: Path) -> None:
    describe(tmp_path)
    put(tmp_path, f"{STEM}.meta", meta())
    assert finding(tmp_path, "flag") == Finding(not_ended="nothing else ends a session below this root")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: settings(folder, ended=False), "SESSION_END_TIME is not set in"),
        (lambda folder: put(folder, f"{TASK}/_iblrig_taskSettings.raw.json", b"{"), "is not JSON"),
        (lambda folder: put(folder, f"{TASK}/_iblrig_taskSettings.raw.json", b"[]"), "an object is expected"),
        (lambda folder: put(folder, f"{TASK}/_iblrig_taskSettings.raw.json", b""), "is empty"),
        (
            lambda folder: (folder / TASK / "_iblrig_taskSettings.raw.json").rename(folder / TASK / "x"),
            "no task settings",
        ),
        (lambda folder: (folder / DESCRIPTION).unlink(), "no experiment description"),
        (lambda folder: put(folder, DESCRIPTION, b"tasks: ["), "is not YAML"),
        (lambda folder: put(folder, DESCRIPTION, b"#" * 300_000), "larger than"),
        (lambda folder: describe(folder, tasks=()), "names no task that could end"),
        (lambda folder: put(folder, DESCRIPTION, b"tasks:\n- choiceWorld: null\n"), "names no folder"),
    ],
)
def test_without_a_flag_it_is_said_why_the_end_is_not_known(
    tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(finished(tmp_path))
    found = finding(tmp_path)
    assert found.code == "", "with a flag it is complete: what cannot be read, registration says"
    assert why in found.not_ended


def test_every_task_must_have_ended(tmp_path: Path) -> None:
    describe(tmp_path, tasks=("raw_task_data_00", "raw_task_data_01"), cameras="")
    settings(tmp_path, collection="raw_task_data_00")
    settings(tmp_path, collection="raw_task_data_01", ended=False)
    assert finding(tmp_path).not_ended.endswith("raw_task_data_01/_iblrig_taskSettings.raw.json")


def test_done_02_a_recording_that_is_not_whole_is_named(tmp_path: Path) -> None:
    put(finished(tmp_path), f"{STEM}.cbin", b"5" * 499)
    found = finding(tmp_path)
    assert found.code == "waiting_size"
    assert f"{PROBE}/" in found.why
    assert "499 bytes" in found.why


def test_done_02_spikeglx_needs_a_recording_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "run_g0_t0.imec0.ap.bin", b"5" * 12)
    assert finding(tmp_path, "spikeglx").why == "run_g0_t0.imec0.ap.meta is missing"
    put(tmp_path, "run_g0_t0.imec0.ap.meta", meta(12))
    assert finding(tmp_path, "spikeglx") == Finding()
    assert finding(tmp_path / "none", "spikeglx").why == "no SpikeGLX recording (.meta file) yet"


def test_what_was_complete_before_waits_for_a_compression_and_for_nothing_else(tmp_path: Path) -> None:
    describe(tmp_path)
    device(tmp_path, "video", "pending")
    assert judge(evidence(tmp_path), "auto", again=True) == Finding()
    put(tmp_path, f"{STEM}.meta", meta())
    put(tmp_path, f"{STEM}.cbin", b"half")
    assert judge(evidence(tmp_path), "auto", again=True).code == "waiting_size"


def test_a_file_is_read_once_as_long_as_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    class Counting(witness_module.SessionFolder):
        def read(self, path: bytes, limit: int, code: str) -> bytes | None:
            read.append(path)
            return super().read(path, limit, code)

    monkeypatch.setattr(witness_module, "SessionFolder", Counting)
    witness = Witness("auto")
    folder = os.fsencode(finished(tmp_path))
    first = witness.look(folder)
    once = sorted(read)
    assert len(once) == len(set(once)) == 6  # two devices, the description, the settings, .meta and .ch
    assert witness.look(folder) == first
    assert sorted(read) == once
    settings(tmp_path, ended=False)
    assert witness.look(folder)[1].not_ended
    assert sorted(read) == sorted([*once, f"{TASK}/_iblrig_taskSettings.raw.json".encode()])


def test_a_folder_full_of_devices_is_not_read_without_end(tmp_path: Path) -> None:
    for number in range(witness_module.MOST_STUBS + 1):
        describe(tmp_path, tasks=(), cameras=f"raw_{number:03d}", path=f"_devices/x@{number:03d}.yaml")
    assert len(evidence(tmp_path).missing) == witness_module.MOST_STUBS


def test_links_and_pipes_in_the_place_of_what_is_read_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    folder = tmp_path / "session"
    describe(folder)
    (folder / DESCRIPTION).rename(elsewhere)
    (folder / DESCRIPTION).symlink_to(elsewhere)
    os.mkfifo(folder / "_ibl_experiment.description_x.yaml")
    assert evidence(folder) == Evidence()


def test_done_02_a_meta_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    put(tmp_path, f"{STEM}.bin", b"5")
    with open(put(tmp_path, f"{STEM}.meta"), "r+b") as stream:
        stream.truncate(2**30)
    assert "larger than" in finding(tmp_path).why
