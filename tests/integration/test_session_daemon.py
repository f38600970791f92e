"""What a rig wrote, through the real daemon: its record in Alyx, and the command that starts what comes afterwards."""

from __future__ import annotations

import datetime as dt
import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from labferry.sandbox.rig import Kind, RigSession, plan_session, write_session
from labferry.sandbox.rig_session import PROJECT
from support.lab import Lab
from support.wait import wait_until

GRACE = 10.0  # seconds that a stop may take


def settings_of(session: RigSession) -> list[dict[str, Any]]:
    """Return the task settings that the rig writes, in the order of time."""
    texts = [b"".join(file.pieces()) for file in session.files if file.path.endswith("taskSettings.raw.json")]
    return sorted(map(json.loads, texts), key=lambda one: str(one["SESSION_START_TIME"]))


@pytest.mark.parametrize("kind", [Kind.TRAINING, Kind.BIASED, Kind.EPHYS])
def test_reg_03_reg_08_reg_09_alyx_holds_what_the_rig_wrote(lab: Lab, kind: Kind) -> None:
    session = plan_session("KS005", "cortexlab", dt.date(2026, 3, 2), 1, kind, scale=0.2)
    write_session(lab.root, session, rate=None)
    lab.start()
    lab.wait_for("archived")
    state = lab.state()
    (held,) = state["sessions"]
    first, *_ = tasks = settings_of(session)
    assert held["start_time"] == first["SESSION_START_TIME"]
    assert held["end_time"] == tasks[-1]["SESSION_END_TIME"]
    assert held["task_protocol"] == "/".join(one["PYBPOD_PROTOCOL"] + one["IBLRIG_VERSION"] for one in tasks)
    assert (held["n_trials"], held["n_correct_trials"]) == (first["NTRIALS"], first["NTRIALS_CORRECT"])
    assert (held["location"], held["projects"]) == (first["RIG_NAME"], [PROJECT])
    assert "rig_user" in held["users"]
    assert [w["weight"] for w in state["weighings"]] == [first["SUBJECT_WEIGHT"]]
    (water,) = state["water_administrations"]
    assert water["water_administered"] == pytest.approx(first["TOTAL_WATER_DELIVERED"] / 1000)
    assert (water["water_type"], water["session"]) == (first["REWARD_TYPE"], held["id"])
    assert lab.show(session.relative)["remarks"] == []


def test_ruling_09_a_stop_ends_the_command_and_the_next_life_runs_it_again(lab: Lab, tmp_path: Path) -> None:
    runs, hook = tmp_path / "runs", tmp_path / "hook.sh"
    hook.write_text(f'#!/bin/sh\necho $$ "$@" >> {runs}\ntest -e {tmp_path}/quick || sleep 60\n')
    hook.chmod(stat.S_IRWXU)
    lab.environment["LABFERRY_REGISTRATION__ON_REGISTERED"] = json.dumps([str(hook), "{path}", "{eid}"])
    folder = lab.write("KS005/2026-03-02/001")
    lab.start_ready()
    wait_until(runs.exists, what="the command to run")
    began = time.monotonic()
    assert lab.stop() == 0
    assert time.monotonic() - began < GRACE
    (line,) = runs.read_text().splitlines()
    process, path, eid = line.split()
    assert (path, eid) == (str(folder), lab.state()["sessions"][0]["id"])
    wait_until(lambda: not Path(f"/proc/{process}/cwd").exists(), what="the command to end")
    (tmp_path / "quick").touch()
    lab.start()
    lab.wait_for("archived")
    assert len(runs.read_text().splitlines()) == 2
    assert len(lab.posts("/register-file")) == 1, "the files were not sent again"


@pytest.mark.parametrize("ends", ["while nobody is there", "before the eyes of the next life"])
def test_ruling_09_the_command_runs_once_although_the_daemon_is_killed_meanwhile(
    lab: Lab, tmp_path: Path, ends: str
) -> None:
    runs, hook = tmp_path / "runs", tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\necho $$ >> {runs}\nuntil test -e {tmp_path}/enough; do sleep 0.05; done\n")
    hook.chmod(stat.S_IRWXU)
    lab.environment["LABFERRY_REGISTRATION__ON_REGISTERED"] = json.dumps([str(hook)])
    folder = lab.write("KS005/2026-03-02/001")
    lab.start_ready()
    wait_until(lambda: runs.exists() and runs.read_text(), what="the command to run")
    lab.kill()
    if ends == "while nobody is there":
        (tmp_path / "enough").touch()
        wait_until(lambda: not Path(f"/proc/{runs.read_text().strip()}/cwd").exists(), what="the command to end")
    lab.start_ready()
    if ends != "while nobody is there":
        lab.wait_for_code(folder, "hook_running")
        (tmp_path / "enough").touch()
    lab.wait_for("archived")
    assert len(runs.read_text().splitlines()) == 1
