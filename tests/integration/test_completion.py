"""When a session of a rig is complete: the detect lane over real files, with a clock turned by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labferry.engine.history.releasing import release
from labferry.model import JobKind, JobState, SessionState
from support.detection import QUIET, SCAN, Watch
from support.past import FILES, Past
from support.recordings import (
    MANY_BYTES,
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
from support.trees import SHARED, needs_shared
from support.wait import wait_until

FLAG = "raw_session.flag"
LONG_QUIET = 600.0  # without a signal
QUEUED_ONCE = [(JobKind.REGISTER, JobState.QUEUED, 1)]
SESSION = "KS005/2024-03-01/001"


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def record(watch: Watch, *, flag: bool = True, video: bool = True, ended: bool = True) -> Path:
    """Write a session with a description, one task and cameras."""
    folder = watch.root / SESSION
    describe(folder)
    settings(folder, ended=ended)
    if video:
        put(folder, f"{VIDEO}/_iblrig_leftCamera.raw.mp4")
    if flag:
        put(folder, FLAG, b"")
    return folder


def waits(watch: Watch) -> tuple[str | None, str | None]:
    """Return code and sentence of what the session waits for; it is not complete."""
    row = watch.session()
    assert row.state is SessionState.SETTLING
    assert watch.jobs() == []
    return row.wait_code, row.wait_why


def pass_an_hour(watch: Watch) -> None:
    watch.turns(3600, step=60)


# --- with a flag ------------------------------------------------------------------------------------------


def test_done_05_a_flag_before_the_cameras_waits_for_them_by_name(watch: Watch) -> None:
    folder = record(watch, video=False)
    pass_an_hour(watch)
    assert waits(watch) == ("no_video", "raw_video_data missing")
    put(folder, f"{VIDEO}/_iblrig_leftCamera.raw.mp4")
    watch.turns(QUIET - 5)
    assert watch.session().state is SessionState.SETTLING, "the quiet period begins when the last folder comes"
    watch.turns(SCAN + 20)
    assert watch.jobs() == QUEUED_ONCE


def test_done_05_missing_folders_are_one_wait_however_many_follow_each_other(watch: Watch) -> None:
    folder = watch.root / SESSION
    describe(folder)
    put(folder, FLAG, b"")
    watch.turns(SCAN + 5)
    began = watch.session().wait_since
    assert waits(watch)[0] == "no_behaviour"
    watch.turns(7200, step=30)
    settings(folder)
    watch.turns(2 * SCAN)
    assert waits(watch) == ("no_video", "raw_video_data missing")
    assert watch.session().wait_since == began


def test_done_05_a_device_that_is_still_copied_holds_it(watch: Watch) -> None:
    folder = record(watch)
    device(folder, "behavior", "complete")
    device(folder, "video", "pending")
    pass_an_hour(watch)
    assert waits(watch) == ("waiting_device", "not copied yet: video (pending)")
    status = folder / "_devices/2024-03-01_1_KS005@video.status_pending"
    status.rename(status.with_suffix(".status_complete"))
    watch.turns(SCAN + 5)
    assert watch.jobs() == QUEUED_ONCE, "nothing else changed: it was quiet all the time"


def test_done_05_a_device_whose_computer_is_late_holds_it(watch: Watch) -> None:
    folder = record(watch)
    device(folder, "behavior", "final")
    device(folder, "video")
    pass_an_hour(watch)
    assert waits(watch) == ("waiting_device", "not copied yet: video (not begun)")


def test_ruling_04_status_files_are_no_change_of_the_session(watch: Watch) -> None:
    folder = record(watch)
    device(folder, "video", "complete")
    watch.turns(QUIET - 10)
    status = folder / "_devices/2024-03-01_1_KS005@video.status_complete"
    status.rename(status.with_suffix(".status_final"))
    watch.turns(20 + SCAN)
    assert watch.jobs() == QUEUED_ONCE


def test_ruling_04_a_flag_that_is_deleted_at_once_counts_when_the_rest_has_come(watch: Watch) -> None:
    folder = record(watch, video=False)
    watch.turns(SCAN + 5)
    (folder / FLAG).unlink()
    pass_an_hour(watch)
    assert waits(watch)[0] == "no_video"
    put(folder, f"{VIDEO}/_iblrig_leftCamera.raw.mp4")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_a_flag_without_data_waits_for_the_data(watch: Watch) -> None:
    folder = watch.root / SESSION
    put(folder, FLAG, b"")
    pass_an_hour(watch)
    assert waits(watch)[0] == "signal_before_data"
    describe(folder)
    settings(folder)
    watch.turns(2 * SCAN)
    assert waits(watch)[0] == "no_video"


def test_a_description_that_cannot_be_read_is_left_to_registration(watch: Watch) -> None:
    put(record(watch, video=False), "_ibl_experiment.description.yaml", b"tasks: [")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_win_01_what_events_tell_is_a_job_five_seconds_after_the_quiet_period_at_the_latest(tmp_path: Path) -> None:
    watch = Watch(tmp_path, detection={"scan_every": "1h"})  # no scan but the first, unless an event asks for one
    watch.turn(60)
    record(watch)
    began = watch.clock.monotonic()

    def found() -> bool:
        watch.turn(0)  # no time passes but that of the kernel and of watchdog
        return watch.journal.sessions.at("s0", SESSION.encode()) is not None

    wait_until(found, what="an event to ask for a scan")
    while watch.session().state is SessionState.SETTLING:
        watch.turn(0.5)
        assert watch.clock.monotonic() - began <= QUIET + 5
    assert watch.clock.monotonic() - began >= QUIET
    assert watch.jobs() == QUEUED_ONCE


def test_win_01_what_only_scans_tell_is_a_job_after_quiet_one_scan_and_a_second(tmp_path: Path) -> None:
    watch = Watch(tmp_path, events="off")
    record(watch)
    began = watch.clock.monotonic()
    watch.turn(0)
    while watch.journal.sessions.at("s0", SESSION.encode()) is None or watch.session().state is SessionState.SETTLING:
        watch.turn(0.5)
        assert watch.clock.monotonic() - began <= QUIET + SCAN + 1
    assert watch.jobs() == QUEUED_ONCE


# --- without a flag ---------------------------------------------------------------------------------------


def test_without_a_flag_a_session_that_ended_cleanly_and_is_all_there_is_complete_after_the_long_quiet(
    watch: Watch,
) -> None:
    record(watch, flag=False)
    watch.turns(LONG_QUIET - 10)
    assert waits(watch)[0] == "settling"
    watch.turns(20 + SCAN)
    assert watch.jobs() == QUEUED_ONCE


def test_without_a_flag_the_end_of_the_task_is_waited_for(watch: Watch) -> None:
    folder = record(watch, flag=False, ended=False)
    pass_an_hour(watch)
    code, why = waits(watch)
    assert code == "waiting_signal"
    assert f"SESSION_END_TIME is not set in {TASK}/" in (why or "")
    settings(folder)
    watch.turns(3600 + LONG_QUIET + SCAN, step=60)  # looks have become rare
    assert watch.jobs() == QUEUED_ONCE


def test_without_a_flag_missing_folders_and_devices_are_told_before_the_flag(watch: Watch) -> None:
    folder = record(watch, flag=False, video=False)
    pass_an_hour(watch)
    assert waits(watch) == ("no_video", "raw_video_data missing")
    device(folder, "video", "pending")
    watch.turns(2 * 3600, step=60)
    assert waits(watch)[0] == "waiting_device"


def test_done_08_without_a_flag_a_restart_decides_the_same_later(watch: Watch) -> None:
    record(watch, flag=False)
    watch.turns(LONG_QUIET - 10)
    watch.restart()
    watch.turns(LONG_QUIET - 10)
    assert waits(watch)[0] == "settling"
    watch.turns(20 + SCAN)
    assert watch.jobs() == QUEUED_ONCE


def test_done_08_a_restart_remembers_since_when_it_waits(watch: Watch) -> None:
    record(watch, video=False)
    watch.turns(SCAN + 5)
    before = watch.session()
    watch.turns(7200, step=30)
    watch.restart()
    watch.turns(SCAN + 5)
    assert (watch.session().wait_code, watch.session().wait_since) == ("no_video", before.wait_since)


def test_transfer_me_flag_is_no_signal(watch: Watch) -> None:
    folder = watch.make(flag=False)
    put(folder, "transfer_me.flag", b"")
    pass_an_hour(watch)
    assert waits(watch)[0] == "waiting_signal"
    assert watch.session().signal is None


# --- SpikeGLX ---------------------------------------------------------------------------------------------


def test_done_02_a_file_that_was_made_large_beforehand_is_not_complete_while_it_stands_still(watch: Watch) -> None:
    folder = record(watch)
    put(folder, f"{STEM}.meta", meta(None))
    recording = put(folder, f"{STEM}.bin", b"")
    os.truncate(recording, 2 * MANY_BYTES)
    pass_an_hour(watch)
    code, why = waits(watch)
    assert code == "waiting_size"
    assert why == f"{STEM}.meta names no fileSizeBytes: the recording was not ended"
    put(folder, f"{STEM}.meta", meta())
    watch.turns(2 * SCAN)
    assert waits(watch)[1] == f"{STEM}.bin has {2 * MANY_BYTES} bytes, its .meta file says {MANY_BYTES}"
    os.truncate(recording, MANY_BYTES)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_done_02_a_recording_that_is_missing_is_waited_for(watch: Watch) -> None:
    folder = record(watch)
    put(folder, f"{STEM}.meta", meta())
    pass_an_hour(watch)
    assert waits(watch) == ("waiting_size", f"{STEM}.bin is missing ({MANY_BYTES} bytes)")


def test_done_02_a_compressed_recording_counts_by_its_own_sizes(watch: Watch) -> None:
    folder = record(watch)
    put(folder, f"{STEM}.meta", meta())
    put(folder, f"{STEM}.cbin", b"5" * 400)
    pass_an_hour(watch)
    assert waits(watch)[1] == f"{STEM}.ch is missing or not whole: the compression was not ended"
    put(folder, f"{STEM}.ch", header(500))
    watch.turns(2 * SCAN)
    assert waits(watch)[1] == f"{STEM}.cbin has 400 bytes, its .ch file says 500"
    put(folder, f"{STEM}.cbin", b"5" * 500)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


@needs_shared
@pytest.mark.parametrize(("name", "size"), [("imec1.ap", 19_045_367_880), ("nidq", 98_945_268)])
def test_done_02_with_the_meta_files_that_spikeglx_wrote(watch: Watch, name: str, size: int) -> None:
    folder = record(watch)
    run = f"{PROBE}/sample3B_g0_t0.{name}"
    put(folder, f"{run}.meta", (SHARED / f"data/spikeglx/sample3B_g0_t0.{name}.meta").read_bytes())
    recording = put(folder, f"{run}.bin", b"")
    os.truncate(recording, size - 1)  # a file with a hole: no byte of it is written, or read
    watch.turns(SCAN + QUIET + 10)
    assert waits(watch) == ("waiting_size", f"{run}.bin has {size - 1} bytes, its .meta file says {size}")
    os.truncate(recording, size)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_done_02_what_is_complete_and_changes_waits_for_its_compression_but_for_no_device(watch: Watch) -> None:
    folder = record(watch)
    put(folder, f"{STEM}.meta", meta())
    put(folder, f"{STEM}.bin", b"5" * MANY_BYTES)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE
    (folder / VIDEO / "_iblrig_leftCamera.raw.mp4").unlink()
    (folder / f"{STEM}.bin").unlink()
    put(folder, f"{STEM}.cbin", b"5" * 500)
    watch.journal.sessions.unsettle(watch.session().id, "changed")
    watch.turns(SCAN + QUIET + 10)
    assert watch.session().wait_code == "waiting_size"
    put(folder, f"{STEM}.ch", header(500))
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs()[-1] == (JobKind.REGISTER, JobState.QUEUED, 2)


@pytest.mark.parametrize("left", [(".meta", ".ch"), (".meta",), (".ch",)], ids=" and ".join)
def test_ruling_01_raw_data_that_is_deleted_after_it_was_archived_does_not_hold_what_comes_later(
    watch: Watch, left: tuple[str, ...]
) -> None:
    folder = record(watch)
    parts = {".meta": meta(), ".ch": header(500), ".cbin": b"5" * 500}
    for ending, content in parts.items():
        put(folder, STEM + ending, content)
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE
    for ending in parts.keys() - set(left):
        (folder / (STEM + ending)).unlink()
    put(folder, "alf/probe00/spikes.times.npy")
    watch.journal.sessions.unsettle(watch.session().id, "added")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs()[-1] == (JobKind.REGISTER, JobState.QUEUED, 2)


def test_ruling_02_a_session_of_old_that_is_released_waits_for_nothing_of_it(tmp_path: Path) -> None:
    past = Past(tmp_path)
    try:
        folder = past.write("KS005/2026-03-02/001", FILES)
        describe(folder, tasks=("raw_task_data_00",))
        device(folder, "video", "pending")
        put(folder, f"{STEM}.meta", meta(None))
        past.adopt()
        assert past.standing() == ("backlog", "history_unknown")
        release(past.context, [past.row()])
        past.work()
        row = past.row()
        assert row.complete_at is not None, (row.wait_code, row.wait_why)
    finally:
        past.close()


# --- the rules of `completion` ----------------------------------------------------------------------------


def test_completion_flag_asks_for_the_flag_and_the_devices(tmp_path: Path) -> None:
    watch = Watch(tmp_path, completion="flag")
    folder = record(watch, flag=False)
    put(folder, f"{STEM}.meta", meta(None))
    pass_an_hour(watch)
    assert waits(watch)[0] == "waiting_signal"
    (folder / VIDEO / "_iblrig_leftCamera.raw.mp4").unlink()
    put(folder, FLAG, b"")
    watch.turns(SCAN + QUIET + 10)
    assert watch.jobs() == QUEUED_ONCE


def test_completion_spikeglx_asks_for_whole_recordings(tmp_path: Path) -> None:
    watch = Watch(tmp_path, completion="spikeglx")
    folder = record(watch, flag=False, video=False, ended=False)
    pass_an_hour(watch)
    assert waits(watch) == ("waiting_size", "no SpikeGLX recording (.meta file) yet")
    put(folder, f"{STEM}.meta", meta(12))
    put(folder, f"{STEM}.bin", b"5" * 12)
    watch.turns(3600 + LONG_QUIET + SCAN, step=60)
    assert watch.jobs() == QUEUED_ONCE


def test_completion_quiet_asks_for_nothing_but_quiet(tmp_path: Path) -> None:
    watch = Watch(tmp_path, completion="quiet")
    folder = record(watch, flag=False, video=False, ended=False)
    device(folder, "video", "pending")
    put(folder, f"{STEM}.meta", meta(None))
    watch.turns(LONG_QUIET - 10)
    assert waits(watch)[0] == "settling"
    watch.turns(20 + SCAN)
    assert watch.jobs() == QUEUED_ONCE


# --- since when -------------------------------------------------------------------------------------------


def test_ruling_05_a_copy_that_goes_on_is_one_wait_whatever_its_files_are_called(watch: Watch) -> None:
    folder = watch.make()
    watch.turns(SCAN + 5)
    began = watch.session().wait_since
    for number in range(4):
        part = put(folder, f"alf/.a{number}.b.npy.AbC12{number}")
        watch.turns(SCAN + 5)
        assert watch.session().wait_code == "temporary_files"
        part.rename(folder / "alf" / f"a{number}.b.npy")
        watch.turns(SCAN + 5)
        assert watch.session().wait_code == "settling"
    assert watch.session().wait_since == began
