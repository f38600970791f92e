"""Bad luck around the daemon: Alyx that refuses or is away, full disks. Named, survived, healed without help."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from support.disks import fill, small_disk
from support.lab import SMALL, Lab, archived_files
from support.wait import wait_until

FIRST = "KS005/2026-03-02/001"
SECOND = "ZM_1150/2026-03-02/001"
THIRD = "KS014/2026-03-02/001"


def logins(lab: Lab) -> int:
    return sum(r["path"] == "/auth-token" for r in lab.requests())


def condition(lab: Lab, code: str) -> dict[str, Any] | None:
    """Return a health condition, None when it does not hold."""
    return next((one for one in lab.status()["health"] if one["code"] == code), None)


def require_each_once(lab: Lab, *sessions: str) -> None:
    """Require that these sessions are in Alyx and in the archive once, whole, and nothing else is."""
    state = lab.state()
    assert sorted(s["subject"] for s in state["sessions"]) == sorted(s.split("/")[0] for s in sessions)
    assert len(state["datasets"]) == len(SMALL) * len(sessions)
    assert len({(d["session"], d["collection"], d["name"]) for d in state["datasets"]}) == len(state["datasets"])
    kept = archived_files(lab)
    assert sorted(kept) == sorted(
        f"{'mainenlab' if session.startswith('Z') else 'cortexlab'}/Subjects/{session}/{name}"
        for session in sessions
        for name in SMALL
    )
    assert sorted(kept.values()) == sorted([*SMALL.values()] * len(sessions))


# --- Alyx -----------------------------------------------------------------------------------------------------


def test_win_06_a_wrong_password_is_named_asks_seldom_and_heals_with_the_file(lab: Lab) -> None:
    password = Path(lab.up["password_file"])
    right = password.read_text()
    password.write_text("wrong\n")
    try:
        first = lab.write(FIRST)
        lab.write(SECOND)
        lab.start_ready()
        found = lab.wait_for_code(first, "alyx_login")
        assert found["verdict"] == "waiting_dependency"
        assert "lab_server" in found["message"]
        assert "password" in found["hint"]
        assert "work resumes by itself" in found["hint"]
        assert lab.status()["dependencies"]["alyx"]["state"] == "needs_login"
        said = condition(lab, "dependency_login")
        assert said is not None
        assert "does not accept the password of user 'lab_server'" in said["text"]
        status = lab.command("status")
        assert status.returncode == 3
        assert "lab_server" in status.stdout
        password.write_text("")  # an editor at work
        wait_until(lambda: "is empty" in lab.status()["dependencies"]["alyx"]["detail"], 10, "the file to be read")
        assert logins(lab) == 1
        assert right.strip() not in lab.log
    finally:
        password.write_text(right)
    lab.wait_for("archived", 2)
    assert logins(lab) == 2
    assert len(lab.logged("dependency_down")) == len(lab.logged("dependency_up")) == 1
    assert lab.status()["jobs"]["blocked"] == 0
    require_each_once(lab, FIRST, SECOND)


def test_win_03_alyx_down_at_the_start_heals_by_itself(lab: Lab) -> None:
    lab.stop_sandbox()
    try:
        first = lab.write(FIRST)
        lab.write(SECOND)
        lab.start_ready()
        found = lab.wait_for_code(first, "alyx_down")
        assert found["verdict"] == "waiting_dependency"
        assert "cannot be reached" in found["message"]
        assert "work resumes by itself" in found["hint"]
        assert found["next"]["what"] == "alyx is asked again"
        said = condition(lab, "dependency_down")
        assert said is not None
        assert lab.up["alyx_url"] in said["text"]
        assert lab.status()["attention"] == 0
    finally:
        lab.restart_sandbox()
    lab.wait_for("archived", 2)
    assert condition(lab, "dependency_down") is None
    assert len(lab.logged("dependency_down", dependency="alyx")) == 1
    assert len(lab.logged("dependency_up", dependency="alyx")) == 1
    require_each_once(lab, FIRST, SECOND)


def test_win_03_alyx_gone_in_the_middle_of_a_session_heals_by_itself(lab: Lab) -> None:
    lab.environment["LABFERRY_REGISTRATION__CHUNK"] = "1"
    lab.write(SECOND)
    lab.start_ready()
    lab.wait_for("archived")
    rule = lab.add_fault(match={"text": "POST /register-file", "n": 2}, when="after", action="hold", then="drop")
    first = lab.write(FIRST)
    lab.wait_for_fault(rule)
    lab.stop_sandbox(signal.SIGKILL)
    try:
        third = lab.write(THIRD)
        lab.wait_for_code(third, "alyx_down")
        lab.wait_for_code(first, "alyx_down")
    finally:
        lab.restart_sandbox()
    lab.wait_for("archived", 3)
    assert len(lab.logged("dependency_down", dependency="alyx")) == 1
    assert len(lab.logged("dependency_up", dependency="alyx")) == 1
    require_each_once(lab, FIRST, SECOND, THIRD)


# --- disks ----------------------------------------------------------------------------------------------------


def test_win_06_a_full_archive_waits_for_room_while_what_fits_goes_on(lab: Lab) -> None:
    content = os.urandom(600_000)
    with small_disk(lab.archive, "1m") as archive:
        for name in ("cortexlab", "mainenlab"):
            (archive / name / "Subjects").mkdir(parents=True)
        ballast = fill(archive, leave=64 * 1024)
        first = lab.write(FIRST, {"alf/spikes.times.npy": content})
        lab.start_ready()
        found = lab.wait_for_code(first, "target_full")
        assert found["verdict"] == "waiting_dependency"
        assert "bytes are missing" in found["message"]
        assert str(archive) in found["message"]
        assert "Make room in the archive" in found["hint"]
        assert lab.show(FIRST)["state"] == "registered"
        said = condition(lab, "dependency_down")
        assert said is not None
        assert "archive:server" in said["text"]
        lab.write(SECOND)  # small enough
        lab.wait_for("archived")
        assert lab.show(FIRST)["state"] == "registered"
        assert [name for name in archived_files(lab) if ".part" in name] == []
        ballast.unlink()
        lab.wait_for("archived", 2)
        assert archived_files(lab)[f"cortexlab/Subjects/{FIRST}/alf/spikes.times.npy"] == content
        lab.kill()


def require_no_start(lab: Lab, why: str) -> None:
    """Require that a daemon says what is full, and ends so that systemd tries again."""
    refused = lab.command("run")
    assert refused.returncode == 75
    assert f"{lab.state_dir / 'journal.sqlite'} {why}" in refused.stderr
    assert "Make room on the file system of `state_dir`" in refused.stderr


def test_a_full_state_directory_is_said_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab, small_disk(lab.state_dir, "24m") as disk:
        lab.write(FIRST)
        ballast = fill(disk)
        require_no_start(lab, "cannot be opened")
        ballast.unlink()
        lab.start_ready()
        lab.wait_for("archived")
        ballast = fill(disk)
        found_by_nobody = lab.write(SECOND)
        wait_until(lambda: condition(lab, "journal_trouble"), 20, "the full disk to be noticed")
        said = condition(lab, "journal_trouble")
        assert said is not None
        assert str(disk / "journal.sqlite") in said["text"]
        status = lab.command("status")
        assert status.returncode == 3
        assert "cannot be written" in status.stdout
        assert lab.explain(found_by_nobody)["verdict"] == "settling"
        assert lab.explain(lab.root / FIRST)["verdict"] == "ok_archived"
        ballast.unlink()
        lab.wait_for("archived", 2)
        assert condition(lab, "journal_trouble") is None
        require_each_once(lab, FIRST, SECOND)

        ballast = fill(disk)
        lab.write(THIRD)
        wait_until(lambda: condition(lab, "journal_trouble"), 20, "the full disk to be noticed")
        assert lab.stop() == 0
        more = fill(disk, name="more")  # the stop may have given room back
        require_no_start(lab, "cannot be")
        ballast.unlink()
        more.unlink()
        lab.start_ready()
        lab.wait_for("archived", 3)
        require_each_once(lab, FIRST, SECOND, THIRD)
        lab.require_calm()
        lab.kill()
