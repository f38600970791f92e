"""One walk and a decision about every file of 1,000 sessions, as `labferry match` does, against `find`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from labferry.datasets import DataFormat, DatasetType, Matcher, RegistrationRules, Vocabulary
from labferry.model import FileFate
from labferry.sessions.walk import FileKind, walk_session
from results import result

GOAL = 1.5
SESSIONS = 1_000
PROBES = ("probe00", "probe01")
CAMERAS = ("left", "right", "body")
FILES = (
    "_ibl_experiment.description.yaml",
    *(f"alf/_ibl_trials.{a}.npy" for a in ("choice", "contrastLeft", "contrastRight", "intervals", "stimOn_times")),
    *(f"alf/_ibl_wheel.{a}.npy" for a in ("position", "timestamps", "velocity")),
    *(f"alf/{p}/spikes.{a}.npy" for p in PROBES for a in ("times", "amps", "depths", "clusters")),
    *(
        f"raw_behavior_data/_iblrig_{a}"
        for a in ("taskSettings.raw.json", "taskData.raw.jsonable", "codeFiles.raw.zip")
    ),
    *(f"raw_behavior_data/_iblrig_encoder{a}.raw.ssv" for a in ("Events", "Positions", "TrialInfo")),
    *(f"raw_video_data/_iblrig_{c}Camera.{a}" for c in CAMERAS for a in ("raw.mp4", "timestamps.ssv", "GPIO.bin")),
    *(
        f"raw_ephys_data/{p}/_spikeglx_ephysData_g0_t0.imec0.{a}"
        for p in PROBES
        for a in ("ap.cbin", "ap.meta", "ap.ch")
    ),
    *(f"spike_sorters/iblsorter/{p}/_kilosort_raw.output.tar" for p in PROBES),
    *(f"logs/task_{n}.log" for n in range(4)),
    "raw_session.flag",
)
DATASETS_PER_SESSION = 40  # all but the logs and the flag
TYPES = (
    *(
        "_iblrig_task*",
        "_iblrig_encoder*",
        "_iblrig_codefiles*",
        "_iblrig_*camera*",
        "_kilosort_*.tar",
        "*description*",
    ),
    *(
        "*trials.*",
        "*wheel.*",
        "*spikes.times*",
        "*spikes.amps*",
        "*spikes.depths*",
        "*spikes.clusters*",
        "*ephysdata*",
    ),
    *(f"widefield{n}.*" for n in range(100)),  # an Alyx knows more types than one session has
)
FORMATS = ("npy", "json", "jsonable", "zip", "ssv", "mp4", "bin", "cbin", "meta", "ch", "tar", "yaml")


def run(workdir: Path, runs: int) -> dict[str, object]:
    root = workdir / "match_files"
    if not root.exists():
        _build(root)
    sessions = [os.fsencode(path) for path in sorted(root.glob("*/*/*"))]
    find = shutil.which("find")
    assert find, "this benchmark measures against find"
    ours, theirs = [], []
    for _ in range(runs):  # in turn, so that what else the machine does falls on both
        started = time.perf_counter()
        subprocess.run([find, root, "-printf", ""], check=True)
        theirs.append(time.perf_counter() - started)
        started = time.perf_counter()
        datasets = _count_datasets(sessions)
        ours.append(time.perf_counter() - started)
        assert datasets == SESSIONS * DATASETS_PER_SESSION, f"{datasets} datasets found"
    return result("match_files", median(ours), "s", GOAL, ours, reference=median(theirs))


def _count_datasets(sessions: list[bytes]) -> int:
    types = (DatasetType(f"type{i}", pattern) for i, pattern in enumerate(TYPES))
    rules = RegistrationRules(Matcher(), Vocabulary(types, (DataFormat(f, f".{f}") for f in FORMATS)))
    count = 0
    for session in sessions:
        for file in walk_session(session, versions=False):
            count += rules.decide(file.path, file.kind is FileKind.REGULAR).fate is FileFate.DATASET
    return count


def _build(root: Path) -> None:
    for i in range(SESSIONS):
        day = date(2024, 1, 1) + timedelta(i // 20)
        session = root / f"SWC_{i % 20:03d}" / day.isoformat() / "001"
        for name in (*FILES, f"snapshots/{i}_left.png", f"snapshots/{i}_right.png"):  # some names are never seen twice
            path = session / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
