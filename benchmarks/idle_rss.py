"""The daemon's memory when it has archived a session and has nothing to do: resident set, in MiB.

Every run is a daemon of its own, in front of a sandbox. The resident set counts pages that other programs share
(libraries); the note says what is the daemon's own by the kernel's proportional count.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from memory import memory
from results import result
from support.lab import Lab
from support.wait import wait_until

GOAL = 64  # MiB
SETTLED = 2.0  # seconds without a change of the resident set
DEADLINE = 60.0  # seconds for the session to be archived, and for the memory to settle


def run(workdir: Path, runs: int) -> dict[str, object]:
    resident, proportional = [], []
    for _ in range(runs):
        with TemporaryDirectory(dir=workdir) as folder, Lab(Path(folder)) as lab:
            daemon = lab.start_ready()
            _record_session(lab.root)
            wait_until(partial(_idle, lab), timeout=DEADLINE, what="the session to be archived")
            rss, pss = _settled(daemon.process.pid)
            resident.append(rss)
            proportional.append(pss)
    note = f"proportional share {median(proportional):.1f} MiB"
    return result("idle_rss", median(resident), "MiB", GOAL, resident, note=note)


def _record_session(root: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "labferry", "rig", "--root", str(root), "--sessions", "1", "--scale", "0.01"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _idle(lab: Lab) -> bool:
    status = lab.ask("/v1/status")["data"]
    return status["sessions"]["archived"] == 1 and not any(status["jobs"].values())


def _settled(pid: int) -> tuple[float, float]:
    """Return resident and proportional set, in MiB, once the first has not changed for a while."""
    deadline = time.monotonic() + DEADLINE
    seen, since = _memory(pid), time.monotonic()
    while time.monotonic() - since < SETTLED:
        assert time.monotonic() < deadline, "the daemon's memory does not settle"
        time.sleep(0.1)
        now = _memory(pid)
        if now[0] != seen[0]:
            since = time.monotonic()
        seen = now
    return seen


def _memory(pid: int) -> tuple[float, float]:
    found = memory(pid, "smaps_rollup")
    return found["Rss"], found["Pss"]
