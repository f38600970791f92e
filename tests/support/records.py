"""Session folders with task settings and trial data of every rig generation; the values are made up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from labferry.sessions.record import SessionRecord, read_record
from labferry.sessions.session import Session

SETTINGS = "_iblrig_taskSettings.raw.json"
TRIALS = "_iblrig_taskData.raw.jsonable"
DESCRIPTION = "_ibl_experiment.description.yaml"
SUBJECT, DAY, NUMBER = "ZFM-0042", date(2024, 5, 17), 3
SESSION = Session("ibl", b"ZFM-0042/2024-05-17/003", SUBJECT, DAY, NUMBER)


def old_settings(version: str = "7.1.2", **changes: object) -> dict[str, Any]:
    """Return the settings of a rig before version 8; the version stands in the tag alone, as in versions 4 and 5."""
    return {
        "IBLRIG_VERSION_TAG": version,
        "POOP_COUNT": True,
        "PYBPOD_BOARD": "_iblrig_mainenlab_behavior_2",
        "PYBPOD_CREATOR": ["ines", "6e0b7a5c-0000-4000-8000-000000000001", "local"],
        "PYBPOD_PROTOCOL": "_iblrig_tasks_biasedChoiceWorld",
        "PYBPOD_SUBJECTS": [SUBJECT, "6e0b7a5c-0000-4000-8000-000000000002"],
        "RECORD_VIDEO": False,
        "REWARD_TYPE": "Water 10% Sucrose",
        "SESSION_DATE": DAY.isoformat(),
        "SESSION_DATETIME": f"{DAY}T10:15:30.250000",
        "SESSION_NUMBER": f"{NUMBER:03d}",
        "SUBJECT_NAME": SUBJECT,
        "SUBJECT_WEIGHT": 23.4,
        **changes,
    }


def new_settings(**changes: object) -> dict[str, Any]:
    """Return the settings of a rig of version 8."""
    return {
        "ALYX_LAB": "mainenlab",
        "ALYX_USER": "ines",
        "IBLRIG_VERSION": "8.24.4",
        "IS_MOCK": False,
        "NTRIALS": 3,
        "POOP_COUNT": 4,
        "PYBPOD_PROTOCOL": "_iblrig_tasks_trainingChoiceWorld",
        "REWARD_TYPE": "Water 15% Sucrose",
        "RIG_NAME": "_iblrig_mainenlab_behavior_2",
        "SESSION_DELAY_START": 12.0,
        "SESSION_END_TIME": f"{DAY}T11:05:00.500000",
        "SESSION_NUMBER": NUMBER,
        "SESSION_START_TIME": f"{DAY}T10:15:30.250000",
        "SUBJECT_NAME": SUBJECT,
        "SUBJECT_WEIGHT": 23.4,
        "TASK_VERSION": "1.2.6",
        "TOTAL_WATER_DELIVERED": 3.0,
        "device_sound": {"OUTPUT": "harp"},
        **changes,
    }


def trial(number: int, *, correct: bool = True, end: float = 60.0, **more: object) -> dict[str, Any]:
    """Return a trial that ended `end` seconds after the task began."""
    return {
        "trial_num": number,
        "trial_correct": correct,
        "reward_amount": 1.5 if correct else 0.0,
        "behavior_data": {"Bpod start timestamp": 2.0, "Trial start timestamp": 2.0, "Trial end timestamp": 2.0 + end},
        **more,
    }


def jsonable(trials: Iterable[Mapping[str, object]]) -> bytes:
    """Return trials as rigs write them: one object per line."""
    return b"".join(json.dumps(trial).encode() + b"\n" for trial in trials)


def write_task(
    folder: Path,
    settings: Mapping[str, object] | bytes,
    trials: Iterable[Mapping[str, object]] | None = None,
    collection: str = "raw_behavior_data",
) -> None:
    """Write the raw data of one task into a session's folder."""
    target = folder / collection
    target.mkdir(parents=True, exist_ok=True)
    (target / SETTINGS).write_bytes(settings if isinstance(settings, bytes) else json.dumps(settings).encode())
    if trials is not None:
        (target / TRIALS).write_bytes(jsonable(trials))


def describe(folder: Path, text: str) -> None:
    """Write an experiment description."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def record_of(folder: Path, session: Session = SESSION, **more: Any) -> SessionRecord:
    """Read the record of a session's folder."""
    return read_record(str(folder).encode(), session, **more)


def codes(record: SessionRecord) -> list[str]:
    """Return the codes of a record's remarks."""
    return [remark.code for remark in record.remarks]
