"""Detection with the real daemon: its own clock and events, real disks under it, the sandbox's Alyx behind it.

The same promises are proved step by step, with a clock turned by hand, in `test_detecting.py`, `test_completion.py`
and `test_moved.py`; here nothing is turned by hand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import jumping
from support.compare import archive_of, names_in_alyx
from support.disks import mounted_below, seen_through_fuse
from support.lab import FLAG, SMALL, Lab
from support.wait import wait_until

FIRST = "KS005/2026-03-02/001"
SECOND = "ZM_1150/2026-03-02/001"
THIRD = "KS014/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
QUIET = 0.6  # seconds, where a test needs some of it
PACE = 0.05  # seconds between two writes
DAY = 86_400.0


def completions(lab: Lab, session: str) -> list[float]:
    """Return when a session was complete, epoch seconds of the daemon's clock."""
    rows = lab.journal(
        "SELECT event.at FROM event JOIN session ON session.id = event.session_id"
        " WHERE session.path = ? AND event.action = 'complete' ORDER BY event.id",
        session.encode(),
    )
    return [at for (at,) in rows]


def wait_for_completion(lab: Lab, session: str) -> None:
    wait_until(lambda: completions(lab, session), timeout=20, what=lambda: f"{session} to be complete\n{lab.log}")


def root(lab: Lab) -> dict[str, Any]:
    """Return what status says of the one root."""
    (one,) = lab.status()["roots"]
    found: dict[str, Any] = one
    return found


# --- files that come ------------------------------------------------------------------------------------------


def put(folder: Path) -> None:
    """Write the files of a session into a folder anywhere, its flag last."""
    for name, content in SMALL.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / FLAG).touch()


def test_done_01_done_03_what_grows_or_is_unfinished_is_waited_for_and_what_is_moved_in_is_taken_once(lab: Lab) -> None:
    lab.environment["LABFERRY_DETECTION__QUIET"] = str(QUIET)
    lab.start_ready()
    growing = lab.write(FIRST) / WHEEL
    copied = lab.write(SECOND, flag=False)
    unfinished = copied / "alf" / "._ibl_wheel.timestamps.npy.AbC123"  # as rsync names it
    unfinished.write_bytes(b"time")
    (copied / FLAG).touch()
    put(lab.directory / "incoming" / THIRD)
    (lab.directory / "incoming" / "KS014").rename(lab.root / "KS014")  # a whole subject with a day and a session in it
    writes: list[float] = []
    while not completions(lab, THIRD) or writes[-1] - writes[0] < 2 * QUIET:
        writes.append(time.time())
        with growing.open("ab") as stream:
            stream.write(b" and more")
        lab.let_work(PACE)
    found = lab.explain(copied)
    assert (found["verdict"], found["code"], found["attention"]) == ("settling", "temporary_files", False)
    assert completions(lab, SECOND) == []
    unfinished.write_bytes(b"timestamps")
    unfinished.rename(copied / "alf" / "_ibl_wheel.timestamps.npy")
    lab.wait_for("archived", 3)
    early = [at for at in completions(lab, FIRST) if any(at - QUIET < one <= at for one in writes)]
    assert early == [], "complete although it was written to less than the quiet period before"
    assert archive_of(lab, FIRST) == {**SMALL, WHEEL: SMALL[WHEEL] + b" and more" * len(writes)}
    assert archive_of(lab, THIRD) == SMALL
    assert names_in_alyx(lab, "ZM_1150") == sorted([*SMALL, "alf/_ibl_wheel.timestamps.npy"])
    assert [one for one in lab.requests() if "AbC123" in str(one)] == []
    assert [len(completions(lab, session)) for session in (SECOND, THIRD)] == [1, 1]
    assert len(lab.posts("/sessions")) == 3


def test_done_04_a_mount_that_tells_of_no_changes_is_scanned_and_says_so(lab: Lab) -> None:
    far = lab.directory / "far"
    put(far / FIRST)
    with seen_through_fuse(far, lab.root):
        lab.start_ready()
        lab.wait_for("archived")
        said = root(lab)
        assert (said["mode"], said["watches"]) == ("scan-only", 0)
        assert "does not report changes: found by scanning only" in said["problem"]
        assert [one["code"] for one in lab.status()["health"]] == ["root_problem"]
        put(far / THIRD)  # on the other machine, as it were
        lab.wait_for("archived", 2)
        assert archive_of(lab, THIRD) == SMALL
        lab.kill()


# --- clocks and kills -----------------------------------------------------------------------------------------


@pytest.fixture
def clock(shared_lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """Let the daemon have a wall clock of its own; return the file that sets it."""
    file, program = tmp_path / "clock", shared_lab.program
    jumping.set_offset(file, 0.0)
    shared_lab.program = (os.path.abspath(jumping.__file__), str(file))
    yield file
    shared_lab.program = program


def test_done_07_done_08_jumping_clocks_odd_file_times_and_a_kill_change_no_decision(clock: Path, lab: Lab) -> None:
    lab.environment["LABFERRY_DETECTION__QUIET"] = "1h"
    sessions = {FIRST: 0.0, SECOND: 4e9, THIRD: time.time()}
    lab.start_ready()
    for session, modified in sessions.items():
        folder = lab.write(session, flag=False)
        for name in SMALL:
            os.utime(folder / name, (modified, modified))
        (folder / FLAG).touch()
    seen = "SELECT count(*) FROM session WHERE signal IS NOT NULL"
    wait_until(lambda: lab.journal(seen) == [(len(sessions),)], what="the flags to be seen")
    for session in sessions:
        (lab.root / session / FLAG).unlink()
    lab.kill()  # in the middle of the quiet period

    lab.environment["LABFERRY_DETECTION__QUIET"] = str(QUIET)
    lab.start_ready()
    began = time.monotonic()  # the first look of this life may be a little earlier
    for offset in (-3600.0, 2 * DAY, -3600.0):
        jumping.set_offset(clock, offset)
        lab.let_work(PACE)
    for session in sessions:
        wait_for_completion(lab, session)
        assert time.monotonic() - began >= QUIET / 2
    lab.wait_for("archived", len(sessions))
    assert [len(completions(lab, session)) for session in sessions] == [1, 1, 1]


# --- folders that go ------------------------------------------------------------------------------------------


def test_done_09_a_session_renamed_after_or_during_registration_is_told_of_and_not_registered_twice(lab: Lab) -> None:
    old = lab.write(FIRST)
    lab.start_ready()
    lab.wait_for("archived")
    held = lab.add_fault(match="POST /register-file", when="before", action="hold")
    other = lab.write(SECOND)
    lab.wait_for_fault(held)
    for folder in (old, other):
        folder.rename(folder.with_name("002"))
    lab.clear_faults()
    for folder in (old, other):
        found = lab.wait_for_code(folder.with_name("002"), "moved")
        assert (found["verdict"], found["attention"]) == ("moved", True)
        assert f"{folder.relative_to(lab.root)}" in found["message"]
        assert str(folder.with_name("002")) in lab.wait_for_code(folder, "moved")["message"]
    said = lab.command("explain", str(old))
    assert said.returncode == 3
    assert "002" in said.stdout
    assert len(lab.posts("/sessions")) == 2
    assert {one["number"] for one in lab.state()["sessions"]} == {1}
    assert lab.command("retry", str(old.with_name("002"))).returncode == 0, "a person's word makes it another session"
    wait_until(lambda: lab.explain(old.with_name("002"))["verdict"] == "ok_archived", what="the new name in Alyx")
    assert len(lab.posts("/sessions")) == 3


def test_a_disk_that_is_taken_away_freezes_its_root_and_nothing_has_vanished(lab: Lab) -> None:
    disk = lab.directory / "disk"
    disk.mkdir()
    with mounted_below(lab.root, "--bind", str(disk)):
        lab.write(FIRST)
        lab.start_ready()
        lab.wait_for("archived")
        held = lab.add_fault(match="POST /register-file", when="before", action="hold")
        lab.write(SECOND)
        lab.wait_for_fault(held)  # in the middle of its registration
    lab.clear_faults()
    for restarted in (False, True):
        if restarted:
            lab.kill()
            lab.start_ready()  # in front of the empty folder
        wait_until(lambda: root(lab)["frozen"], what="the root to be frozen")
        assert "is the disk mounted" in root(lab)["problem"]
        assert lab.explain(lab.root / THIRD)["verdict"] == "root_frozen"
        lab.ask("/v1/rescan", "POST", {})
        lab.let_work(PACE)
        assert (root(lab)["frozen"], lab.count("vanished"), lab.status()["jobs"]["blocked"]) == (True, 0, 0)
    assert lab.command("explain", str(lab.root / SECOND)).returncode == 3
    with mounted_below(lab.root, "--bind", str(disk)):
        lab.write(THIRD)
        lab.wait_for_code(lab.root / THIRD, "ok_archived")
        assert (root(lab)["frozen"], root(lab)["problem"]) == (False, None)
        assert lab.journal("SELECT count(*) FROM event WHERE action = 'vanished'") == [(0,)]
        assert lab.explain(lab.root / SECOND)["attention"] is False
        assert len(lab.posts("/sessions")) == 3
        lab.kill()
