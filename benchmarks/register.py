"""Registration beside the users' own client, the daemon's own share of it, and how often it asks Alyx.

Against the sandbox, or a real Alyx where ALYX_URL, ALYX_USER and ALYX_PASSWORD say so. The sandbox answers in a
fraction of the time that a real Alyx needs, and where a client waits most of the time that would flatter whoever asks
least cleverly: so the sandbox is told to take the time that a real one was measured to take. `register_requests`
counts, and leaves the sandbox as quick as it is.

The wall time of the daemon begins when sessions that wait in its queue may be registered, and ends when the last one
is: resolving, listing, checksums, requests and the journal with its synced writes. That of ONE's client is that of its
`register_session` calls: finding the files, checksums, requests. Neither counts its start.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from alyx_lab import DEADLINE, HERE, AlyxLab
from labferry.sessions.session import Session
from results import result
from support.records import SETTINGS, TRIALS, jsonable, new_settings, trial
from support.tested_alyx import TestedAlyx

SESSIONS = 3  # in each run
PROBES, NAMES = 10, ("spikes.times", "spikes.amps", "spikes.depths", "spikes.clusters", "clusters.depths")
FILES: Mapping[str, bytes] = {
    f"alf/probe{probe:02d}/{name}.npy": f"{name} of {probe}".encode() * 400 for probe in range(PROBES) for name in NAMES
}
ONE_GOAL = 1 / 2.8
SERVER_GOAL = 1.15
CHUNK = 50  # files in a request
SHARED = 3  # requests that every session costs: looked for, created, looked for again
FOR_EACH_ROW = 2  # for a weighing or a water administration


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Compare with ONE's client, both with one worker, in turns, on sessions of the same files."""
    ours, theirs = [], []
    with AlyxLab(workdir, real_pace=True) as place:
        _register(place, sessions=1)  # both meet an Alyx that knows them
        for _ in range(runs):
            theirs.append(_register_with_one(place))
            ours.append(_register(place))
    return result("register_one", median(ours), "s", ONE_GOAL, ours, reference=median(theirs), note=_note(place.alyx))


def run_server(workdir: Path, runs: int) -> dict[str, object]:
    """Divide the wall time by what of it the daemon waited for Alyx."""
    wall, waited = [], []
    with AlyxLab(workdir, real_pace=True) as place:
        _register(place, sessions=1)
        for _ in range(runs):
            began = time.time()
            wall.append(_register(place))
            waited.append(sum(asked.waited for asked in place.asked(began)))
    return result(
        "register_server", median(wall), "s", SERVER_GOAL, wall, reference=median(waited), note=_note(place.alyx)
    )


def run_requests(workdir: Path, runs: int) -> dict[str, object]:
    """Count requests for sessions with a weighing and a water administration each, some of them with many files."""
    with AlyxLab(workdir) as place:
        _register_recorded(place, {})  # what all share is asked for once: subject, users, words
        asked, allowed, kinds = [], [], Counter[str]()
        for number in range(runs):
            began = time.time()
            path = _register_recorded(place, _many(CHUNK * number))
            requests = place.asked(began)
            datasets = place.lab.show(path)["files"]["registered"]
            assert datasets >= CHUNK * number, "files were not registered"
            asked.append(len(requests))
            allowed.append(SHARED + math.ceil(datasets / CHUNK) + 2 * FOR_EACH_ROW)
            kinds = Counter(f"{one.method} {one.path}" for one in requests)
            rows = kinds["POST /weighings"], kinds["POST /water-administrations"]
            assert rows == (1, 1), f"a weighing and a water administration were to be sent: {kinds}"
    note = "in the last run " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return result(
        "register_requests",
        sum(asked) / runs,
        "requests/session",
        1.0,
        asked,
        reference=sum(allowed) / runs,
        note=note,
    )


# --- sessions ---------------------------------------------------------------------------------------------------


def _register(place: AlyxLab, sessions: int = SESSIONS) -> float:
    """Let the daemon register new sessions; return the seconds from the first step to the last."""
    place.hold_back()
    paths = [place.write(place.alyx.new_session(), FILES) for _ in range(sessions)]
    began = time.time()
    place.let_go()
    seconds = place.ended_at(*paths) - began
    assert all(place.lab.show(path)["files"]["registered"] == len(FILES) for path in paths), "files are missing"
    return seconds


def _register_with_one(place: AlyxLab) -> float:
    """Let ONE's client register as many; return its seconds."""
    alyx = place.alyx
    home = place.lab.directory / "one"
    paths = [home / alyx.lab / "Subjects" / alyx.new_session().path.decode() for _ in range(SESSIONS)]
    for path in paths:
        for name, content in FILES.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    task = {"url": alyx.url, "user": alyx.user, "password": alyx.password, "cache": str(home / "cache")}
    ran = subprocess.run(
        [sys.executable, str(HERE / "one_client.py")],
        env={**os.environ, "HOME": str(home)},
        input=json.dumps({**task, "sessions": list(map(str, paths))}),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return float(json.loads(ran.stdout.splitlines()[-1]))


def _register_recorded(place: AlyxLab, more: Mapping[str, bytes]) -> str:
    """Register a session with a weighing and some water, and more files; return its path."""
    session = place.alyx.new_session()
    path = place.write(session, {**_recorded(session, place.alyx), **more})
    place.ended_at(path)
    return path


def _recorded(session: Session, alyx: TestedAlyx) -> dict[str, bytes]:
    """Return what a rig writes about a session with a weighing and some water."""
    settings = new_settings(
        SUBJECT_NAME=session.subject,
        SESSION_NUMBER=session.number,
        SESSION_START_TIME=f"{session.date}T10:15:30",
        SESSION_END_TIME=f"{session.date}T11:05:00",
        ALYX_USER=alyx.user,
        ALYX_LAB=alyx.lab,
        RIG_NAME=None,  # a place cannot be made over REST
    )
    folder = "raw_task_data_00"
    return {
        f"{folder}/{SETTINGS}": json.dumps(settings).encode(),
        f"{folder}/{TRIALS}": jsonable([trial(number) for number in range(3)]),
    }


def _many(count: int) -> dict[str, bytes]:
    return {f"alf/probe{number:03d}/spikes.times.npy": b"%d" % number for number in range(count)}


def _note(alyx: TestedAlyx) -> str:
    kind = "the sandbox at a real one's pace" if alyx.is_sandbox else "a real Alyx"
    return f"{SESSIONS} sessions of {len(FILES)} files, {kind}"
