"""WIN-02, REG-08, REG-09: the daemon may die, or lose an answer, at any request about a session and its animal.

A session of two tasks, with a weight and water each. Every request of its registration is a crash point, in the four
ways of the crash matrix; in the end Alyx holds each weighing and each administration once, and one session.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from labferry.sandbox.rig import Kind, plan_session
from support.crashes import WAYS, Crashes, World
from support.lab import Lab

DAY, NUMBER = dt.date(2026, 3, 2), 1
PATH = f"KS005/{DAY}/{NUMBER:03d}"
AT_ONCE = 3  # labs: a daemon mostly waits
LOOKED_FOR = ("POST /sessions", "POST /weighings", "POST /water-administrations")


def files() -> dict[str, bytes]:
    """Return the behaviour of two tasks of one rig session, without anything else."""
    plan = plan_session("KS005", "cortexlab", DAY, NUMBER, Kind.TRAINING, scale=0.1)
    content = {file.path: b"".join(file.pieces()) for file in plan.files if file.path.startswith("raw_behavior_data/")}
    chosen = {name.partition("/")[2]: data for name, data in content.items() if "_iblrig_task" in name}
    second = json.loads(chosen["_iblrig_taskSettings.raw.json"])
    start = dt.datetime.fromisoformat(second["SESSION_END_TIME"]) + dt.timedelta(minutes=1)
    second |= {"SESSION_START_TIME": start.isoformat(), "SUBJECT_WEIGHT": 21.9}
    second |= {"SESSION_END_TIME": (start + dt.timedelta(minutes=20)).isoformat()}
    return {
        **{f"raw_task_data_00/{name}": data for name, data in chosen.items()},
        **{f"raw_task_data_01/{name}": data for name, data in chosen.items()},
        "raw_task_data_01/_iblrig_taskSettings.raw.json": json.dumps(second).encode(),
    }


def outcome(lab: Lab) -> World:
    """Return the records that Alyx holds, without ids."""
    state = lab.state()
    eids = {session["id"]: session["number"] for session in state["sessions"]}
    hidden = {"id", "auto_datetime"}
    return {
        "sessions": [{k: v for k, v in session.items() if k not in hidden} for session in state["sessions"]],
        "weighings": sorted((w["subject"], w["date_time"], w["weight"], w["user"]) for w in state["weighings"]),
        "water": sorted(
            (w["date_time"], w["water_type"], w["water_administered"], w["user"], eids[w["session"]])
            for w in state["water_administrations"]
        ),
        "datasets": sorted((d["collection"], d["name"], d["hash"], len(d["file_records"])) for d in state["datasets"]),
        "remarks": lab.journal("SELECT code, text FROM remark ORDER BY code, text"),
    }


def prepare(lab: Lab) -> None:
    lab.write(PATH, files())


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    crashes = Crashes(prepare, outcome, last="archived")
    with crashes.labs(tmp_path_factory.mktemp("lab") for _ in range(AT_ONCE)):
        yield crashes


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_reg_08_reg_09_win_02_every_request_about_the_animal_is_a_crash_point(crashes: Crashes, way: str) -> None:
    expected, found = crashes.undisturbed()
    assert (len(expected["sessions"]), len(expected["weighings"]), len(expected["water"])) == (1, 2, 2)
    assert len({weight for _, _, weight, _ in expected["weighings"]}) == 2
    kinds = [point.kind for point in found]
    assert [kinds.count(kind) for kind in LOOKED_FOR] == [1, 2, 2]
    upto = max(i for i, kind in enumerate(kinds) if kind == "POST /register-file")  # the rest is about the archive
    chosen = [point for point in found[: upto + 1] if way != "late" or point.kind in LOOKED_FOR]
    assert crashes.differences(expected, chosen, way, AT_ONCE) == []
