"""Rulings 31-32, WIN-02: the daemon may die, or lose an answer, at any request, and the end is the same.

An undisturbed run lists the requests of one session's whole way: to Alyx, to Globus, and for the tokens of both. Then
every one of them is a crash point, in four ways:

* before: the daemon is killed while the request is on its way, and it is never carried out;
* late:   the daemon is killed while a request that changes something is on its way, and it is carried out when the
          next life has already looked;
* after:  the daemon is killed when the request is carried out and its answer is not there yet;
* lost:   the request is carried out and the connection drops; the daemon lives on.

A request is known by its kind and by how many of that kind came before, not by its place in the log: how often the
daemon asks Globus how far a task is depends on how fast that moves. Of these questions the first two are crash points
(the second if the run came to it), the others are like the second.

A directory archive makes no requests of its own; the random kills hit it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from labferry.sandbox.rig import Kind, plan_session
from support.compare import require_carried_once, without_ids
from support.crashes import WAYS, Crashes, Point, World
from support.lab import Lab

DAY = dt.date(2026, 3, 2)
AT_ONCE = 3  # labs that are disturbed at the same time: a daemon mostly waits
TOKENS = {"alyx": "POST /auth-token", "globus": "POST /v2/oauth2/token"}
HOW_FAR = "GET /v0.10/task_list"


def files() -> dict[str, bytes]:
    """Return two tasks of one session, with a weight and water each, in two folders; a request takes two of four."""
    plan = plan_session("KS005", "cortexlab", DAY, 1, Kind.TRAINING, scale=0.1)
    content = {file.path.rpartition("/")[2]: b"".join(file.pieces()) for file in plan.files}
    settings = json.loads(content["_iblrig_taskSettings.raw.json"])
    start = dt.datetime.fromisoformat(settings["SESSION_END_TIME"]) + dt.timedelta(minutes=1)
    end = start + dt.timedelta(minutes=20)
    settings |= {"SESSION_START_TIME": start.isoformat(), "SESSION_END_TIME": end.isoformat(), "SUBJECT_WEIGHT": 21.9}
    return {
        **{f"raw_task_data_00/{name}": data for name, data in content.items() if name.startswith("_iblrig_task")},
        "raw_task_data_01/_iblrig_taskData.raw.jsonable": content["_iblrig_taskData.raw.jsonable"],
        "raw_task_data_01/_iblrig_taskSettings.raw.json": json.dumps(settings).encode(),
        "logs/rig.log": b"nobody asks for it",
    }


def prepare(lab: Lab) -> None:
    lab.write(f"KS005/{DAY}/001", files())


def outcome(lab: Lab) -> World:
    return {**without_ids(lab), "remarks": lab.journal("SELECT code, text FROM remark ORDER BY code, text")}


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    few_files = {"LABFERRY_REGISTRATION__CHUNK": "2"}
    crashes = Crashes(prepare, outcome, "archived", "globus", few_files, optional={HOW_FAR})
    with crashes.labs(tmp_path_factory.mktemp("lab") for _ in range(AT_ONCE)):
        yield crashes


@pytest.fixture(scope="module")
def undisturbed(crashes: Crashes) -> tuple[World, list[Point]]:
    """What is there at the end of a run that nobody disturbs, and the crash points on its way."""
    expected, found = crashes.undisturbed()
    require_carried_once(expected)
    assert [len(expected[name]) for name in ("sessions", "weighings", "water", "tasks")] == [1, 2, 2, 1]
    kinds = [point.kind for point in found]
    assert {*TOKENS.values(), "POST /v0.10/transfer", HOW_FAR} <= set(kinds)
    assert kinds.count("POST /register-file") == 2
    return expected, [point for point in found if point.kind != HOW_FAR or point.number <= 2]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", TOKENS)
@pytest.mark.parametrize("way", WAYS)
def test_ruling_32_every_request_is_a_crash_point(
    crashes: Crashes, undisturbed: tuple[World, list[Point]], way: str, service: str
) -> None:
    expected, found = undisturbed
    chosen = [one for one in found if one.is_to_globus == (service == "globus")]
    assert TOKENS[service] in {one.kind for one in chosen}
    if way == "late":
        chosen = [one for one in chosen if one.changes_something]
    assert crashes.differences(expected, chosen, way, AT_ONCE) == []
