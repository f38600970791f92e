"""WIN-02: killed at any moment, again and again, the daemon loses and doubles nothing of several sessions.

The crash matrix kills at every request. Here the kills are blind: they also hit scans, hashing, copying and commits.
Globus moves nothing before half of them are over, so that they hit every part of a transfer.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.sandbox.rig import RigSession, plan_session, write_session
from support.compare import require_carried_once, without_ids
from support.lab import Lab

KILLS = 12
SHORTEST, LONGEST = 0.05, 0.6  # seconds from the answer of a fresh daemon to its death
SLOWED_BY = {"PATCH|/v0.10/": 0.04, "": 0.01}  # seconds per request: else all is done before the third kill
SUBJECTS = {"KS005": "cortexlab", "ZM_1150": "mainenlab", "KS014": "cortexlab", "ZFM-01935": "mainenlab"}


@pytest.fixture(scope="module", params=["directory", "globus"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory: Path = tmp_path_factory.mktemp("lab")
    with Lab(directory, archive=request.param) as lab:
        yield lab


def sessions() -> list[RigSession]:
    return [plan_session(subject, name, dt.date(2026, 3, 2), 1, scale=0.3) for subject, name in SUBJECTS.items()]


def begin(lab: Lab) -> None:
    """Put sessions with a file of an old rig's name each into an empty lab, and let the daemon rename them (REG-14)."""
    lab.forget_everything()
    root = {"name": "rig", "path": str(lab.root), "archive": ["server"], "writable": True}
    lab.environment |= {
        "LABFERRY_REGISTRATION__CHUNK": "10",
        "LABFERRY_REGISTRATION__COMPAT_RENAMES": "true",
        "LABFERRY_ROOTS": json.dumps([root]),
    }
    for session in sessions():
        write_session(lab.root, session, rate=None)
        code = lab.root / session.relative / "raw_behavior_data" / "_iblrig_taskCodeFiles.raw.zip"
        code.parent.mkdir(exist_ok=True)
        code.write_bytes(b"code of " + session.subject.encode())


def hinder(lab: Lab, *, moving: bool) -> None:
    """Slow everything down, and let Globus accept tasks only, or also carry them out."""
    lab.clear_faults()
    for which, seconds in SLOWED_BY.items():
        lab.add_fault(match={"regexp": which}, when="before", action="delay", seconds=seconds, times=None)
    if not moving:
        lab.add_fault(match="", when="before", action="task", becomes="PAUSED", times=None)


def end(lab: Lab) -> dict[str, Any]:
    """Let it come to its end, and return what is there then; who travelled with whom is nobody's business."""
    lab.wait_for("archived", len(SUBJECTS), timeout=60)
    assert lab.stop() == 0
    lab.require_calm()
    found = without_ids(lab)
    if found["tasks"]:
        require_carried_once(found)
    return {key: value for key, value in found.items() if key != "tasks"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_win_02_killed_at_random_moments_the_end_is_that_of_an_undisturbed_run(lab: Lab) -> None:
    begin(lab)
    lab.start()
    expected = end(lab)
    assert len(expected["sessions"]) == len(SUBJECTS)
    assert expected["archive"]

    begin(lab)
    dice = random.Random(20260302)
    lives = []
    for number in range(KILLS):
        if number in {0, KILLS // 2}:
            hinder(lab, moving=number > 0)
        lab.start_ready()
        lab.let_work(dice.uniform(SHORTEST, LONGEST))
        lab.kill()
        lives.append(lab.journal("SELECT max(id) FROM event")[0][0])
    assert len(set(lives)) > KILLS / 2, f"the kills hit nothing: {lives}"
    lab.clear_faults()
    lab.start()
    found = end(lab)
    assert [key for key in expected if found[key] != expected[key]] == []
    assert [name for name in found["archive"] if ".part" in name] == []
    state = lab.state()
    names = [dataset["name"] for dataset in state["datasets"]]
    assert names.count("_iblrig_codeFiles.raw.zip") == len(SUBJECTS)
    assert [file for file in lab.root.rglob("*CodeFiles*") if file.name != "_iblrig_codeFiles.raw.zip"] == []
    rows = [(d["session"], d["collection"], d["name"], d["revision"]) for d in state["datasets"]]
    records = [(r["dataset"], r["data_repository"]) for d in state["datasets"] for r in d["file_records"]]
    assert len(set(rows)) == len(rows)
    assert len(set(records)) == len(records)
