"""Sessions with tasks, for `StageBench`: their files, the Alyx that knows their names, and what it holds of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labferry.journal.jobs import Move
from labferry.journal.rows import SessionRow
from labferry.model import Stage
from labferry.sandbox.seed import plant
from support.records import DAY, DESCRIPTION, NUMBER, SETTINGS, SUBJECT, TRIALS, jsonable, new_settings, trial
from support.stages import StageBench

PATH = f"{SUBJECT}/{DAY}/{NUMBER:03d}"
LAB = "mainenlab"
LOCATION = "_iblrig_mainenlab_behavior_2"
WHEEL: Mapping[str, bytes] = {"alf/_ibl_wheel.position.npy": b"positions", "raw_session.flag": b""}
THREE_TRIALS = (trial(0), trial(1, correct=False), trial(2, end=180.0))  # 3 µl of water
PATIENT = {  # as with a real Alyx; the sandbox's own configuration is impatient
    "LABFERRY_REGISTRATION__RESEND_AFTER": "30s",
    "LABFERRY_REGISTRATION__RESEND_LOOK_EVERY": "15s",
}
CHAINED = """\
tasks:
- _iblrig_tasks_trainingChoiceWorld: {collection: raw_task_data_00}
- _iblrig_tasks_biasedChoiceWorld: {collection: raw_task_data_01}
procedures: [Behavior training/tasks]
projects: [ibl_cortexlab]
"""
PASSIVE = """\
devices: {neuropixel: {probe00: {collection: raw_ephys_data/probe00}}}
procedures: [Ephys recording with acute probe(s)]
projects: [ibl_cortexlab]
tasks: []
"""


def record_bench(directory: Path, **environ: str) -> StageBench:
    """Return a bench whose Alyx knows the animal, the user and the rig of `support.records`."""
    bench = StageBench(directory, **{**PATIENT, **environ})
    learn(
        bench,
        users=[{"username": "ines", "labs": [LAB]}, {"username": "rita", "labs": [LAB]}],
        locations=[{"name": LOCATION, "lab": LAB}],
        subjects=[{"nickname": SUBJECT, "lab": LAB, "responsible_user": "rita", "projects": ["practice"]}],
    )
    return bench


def learn(bench: StageBench, **facts: object) -> None:
    """Put facts into the sandbox's Alyx."""
    with bench.sandbox._store.database() as db:
        plant(db, facts)


def task(
    settings: Mapping[str, object] | None = None,
    trials: Iterable[Mapping[str, object]] = THREE_TRIALS,
    collection: str = "raw_behavior_data",
) -> dict[str, bytes]:
    """Return the files of one task."""
    return {
        f"{collection}/{SETTINGS}": json.dumps(settings or new_settings()).encode(),
        f"{collection}/{TRIALS}": jsonable(trials),
    }


def chained(**changes: object) -> dict[str, bytes]:
    """Return the files of a session of two tasks, with a weight and water each."""
    first = new_settings(SESSION_END_TIME=f"{DAY}T10:40:00", **changes)
    second = new_settings(
        SESSION_START_TIME=f"{DAY}T10:45:00",
        SESSION_END_TIME=f"{DAY}T11:30:00",
        PYBPOD_PROTOCOL="_iblrig_tasks_biasedChoiceWorld",
        SUBJECT_WEIGHT=23.1,
        **changes,
    )
    return {
        DESCRIPTION: CHAINED.encode(),
        **task(first, THREE_TRIALS, "raw_task_data_00"),
        **task(second, THREE_TRIALS, "raw_task_data_01"),
        **WHEEL,
    }


def write(bench: StageBench, files: Mapping[str, bytes]) -> SessionRow:
    """Write the session, and make it complete; if it was there, as its next generation."""
    known = bench.journal.sessions.at("rig", PATH.encode())
    if known is not None:
        bench.journal.sessions.unsettle(known.id, "looked at again")
    return bench.write(PATH, files)[1]


def register(bench: StageBench, files: Mapping[str, bytes]) -> Move:
    """Write the session and take it through its registration, as far as it goes."""
    write(bench, files)
    return bench.run_until(Stage.REGISTER)


def in_alyx(bench: StageBench) -> dict[str, Any]:
    """Return the only session of the animal in Alyx."""
    (row,) = bench.alyx("GET", f"/sessions?subject={SUBJECT}")["results"]
    session: dict[str, Any] = bench.alyx("GET", f"/sessions/{row['id']}")
    return session


def weighings(bench: StageBench) -> list[dict[str, Any]]:
    """Return the animal's weighings in Alyx."""
    found: list[dict[str, Any]] = bench.alyx("GET", f"/weighings?nickname={SUBJECT}")["results"]
    return found


def waters(bench: StageBench) -> list[dict[str, Any]]:
    """Return the animal's water administrations in Alyx."""
    found: list[dict[str, Any]] = bench.alyx("GET", f"/water-administrations?nickname={SUBJECT}")["results"]
    return found


def sent(bench: StageBench, method: str, path: str) -> list[dict[str, Any]]:
    """Return the bodies of all requests so far that changed something, the daemon's and everybody else's."""
    return [one["body"] for one in bench.requests(method, path) if one["applied"] and (one["status"] or 200) < 300]


def remarks(bench: StageBench) -> dict[str, str]:
    """Return what is worth knowing about the session."""
    row = bench.journal.sessions.at("rig", PATH.encode())
    assert row is not None
    return dict(bench.journal.sessions.remarks(row.id))


def made_by_the_rig(bench: StageBench, *, animals: bool = True, **changes: object) -> str:
    """Make the session as iblrig does when a task begins and ends, its water without our time; return its id."""
    body = {
        "subject": SUBJECT,
        "number": NUMBER,
        "start_time": f"{DAY}T10:15:30",
        "users": ["ines"],
        "lab": LAB,
        "location": LOCATION,
        "type": "Experiment",
        "task_protocol": "_iblrig_tasks_trainingChoiceWorld8.24.4",
        "json": {"IBLRIG_VERSION": "8.24.4"},
        **changes,
    }
    eid = str(bench.alyx("POST", "/sessions", body)["id"])
    if animals:
        weighing = {"subject": SUBJECT, "weight": 23.4, "user": "ines", "date_time": f"{DAY}T10:14:00"}
        bench.alyx("POST", "/weighings", weighing)
        water = {"subject": SUBJECT, "water_administered": 0.003, "user": "ines", "session": eid}
        bench.alyx("POST", "/water-administrations", water)
    return eid
