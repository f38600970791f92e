"""How often Globus is asked per archived session, with a hundred sessions in flight through the whole daemon.

Every run is a daemon of its own in front of a sandbox whose Globus writes down each request, those for tokens
included. The reference is what a session is allowed: one request, and two for each directory that its files go to
(one look before anything is sent, one when everything has arrived). What several sessions share costs each a part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from results import result
from support.lab import FAST, Lab, archived_files

SESSIONS = 100
FILES = {
    name: hashlib.md5(name.encode()).digest()
    for name in (
        "alf/_ibl_trials.intervals.npy",
        "alf/probe00/spikes.times.npy",
        "raw_video_data/_iblrig_leftCamera.timestamps.ssv",
        "raw_ephys_data/probe00/_spikeglx_sync.times.npy",
    )
}
DIRECTORIES = len({name.rpartition("/")[0] for name in FILES})
ALLOWED = 1 + 2 * DIRECTORIES  # requests per session
GOAL = 1.0  # times that
DEADLINE = 300.0  # seconds for all sessions
GLOBUS = ("/v0.10/", "/v2/")  # Transfer, Auth


def run(workdir: Path, runs: int) -> dict[str, object]:
    counted, kinds = [], Counter[str]()
    for _ in range(runs):
        with TemporaryDirectory(dir=workdir) as folder, Lab(Path(folder), environment=FAST, archive="globus") as lab:
            for number in range(1, SESSIONS + 1):
                lab.write(f"KS005/2026-03-02/{number:03d}", FILES)
            lab.start_ready()
            lab.wait_for("archived", SESSIONS, timeout=DEADLINE)
            requests = [r["path"] for r in lab.requests() if r["path"].startswith(GLOBUS)]
            assert len(archived_files(lab)) == SESSIONS * len(FILES), "not everything is in the archive"
            counted.append(len(requests) / SESSIONS)
            kinds = Counter(map(_kind, requests))
    value = median(counted)
    note = _told(kinds.most_common())
    return result("globus_requests", value, "requests/session", GOAL, counted, reference=ALLOWED, note=note)


def _kind(path: str) -> str:
    """Return what a request is for: the last word of its address."""
    return path.partition("?")[0].rpartition("/")[2]


def _told(kinds: Iterable[tuple[str, int]]) -> str:
    return f"{DIRECTORIES} directories each; in the last run " + ", ".join(f"{count} {kind}" for kind, count in kinds)
