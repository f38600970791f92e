"""Completion with the real daemon: its own clock, real events, the sandbox's Alyx and a directory archive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.lab import Lab
from support.recordings import MANY_BYTES, STEM, VIDEO, describe, device, meta, put, settings

DAY = "KS005/2026-03-02"
CAMERA = f"{VIDEO}/_iblrig_leftCamera.timestamps.ssv"


def record(lab: Lab, number: int, *, flag: bool = True) -> Path:
    """Write a session with a task and no cameras yet."""
    session = f"{DAY}/{number:03d}"
    folder = lab.write(session, {}, flag=flag)
    describe(folder)
    settings(folder, session=session)
    return folder


@pytest.mark.slow
def test_done_02_done_05_done_08_each_session_is_taken_when_the_last_that_it_waited_for_has_come(lab: Lab) -> None:
    lab.environment["LABFERRY_DETECTION__QUIET_WITHOUT_SIGNAL"] = "1s"
    lab.start_ready()
    late, slow, copied, flagless = (record(lab, number, flag=number != 4) for number in (1, 2, 3, 4))
    for folder in (slow, copied):
        put(folder, CAMERA)
    put(slow, f"{STEM}.meta", meta())
    os.truncate(put(slow, f"{STEM}.bin"), 2 * MANY_BYTES)
    device(copied, "video", "pending")

    assert lab.wait_for_code(late, "no_video")["verdict"] == "waiting_collection"
    assert f"{2 * MANY_BYTES} bytes" in lab.wait_for_code(slow, "waiting_size")["message"]
    assert "video (pending)" in lab.wait_for_code(copied, "waiting_device")["message"]
    assert lab.wait_for_code(flagless, "no_video")["verdict"] == "waiting_collection"
    lab.kill()  # in the middle of all four
    lab.start_ready()
    for folder, code in (
        (late, "no_video"),
        (slow, "waiting_size"),
        (copied, "waiting_device"),
        (flagless, "no_video"),
    ):
        assert lab.wait_for_code(folder, code)["attention"] is False
    assert lab.count("archived") == 0

    put(late, CAMERA)
    os.truncate(slow / f"{STEM}.bin", MANY_BYTES)
    status = copied / "_devices/2024-03-01_1_KS005@video.status_pending"
    status.rename(status.with_suffix(".status_complete"))
    put(flagless, CAMERA)
    lab.wait_for("archived", 4, timeout=60)
    assert [one["state"] for one in (lab.show(f"{DAY}/{number:03d}") for number in range(1, 5))] == ["archived"] * 4
    assert lab.show(f"{DAY}/004")["signal"] is None
