"""The daemon's memory in front of 100,000 archived sessions: its largest resident set, in MiB (WIN-07)."""

from __future__ import annotations

import time
from pathlib import Path

from big_lab import known_past
from big_tree import SUBJECTS, sessions
from results import result

MANY_SUBJECTS = 5 * SUBJECTS
GOAL = 200e6 / 2**20  # 200 MB
SOME_SCANS = 20.0  # seconds
OFTEN = {"LABFERRY_DETECTION__SCAN_EVERY": "5"}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: memory varies little."""
    del runs
    with known_past(workdir, environment=OFTEN, subjects=MANY_SUBJECTS, bare=True) as big:
        big.start()
        time.sleep(SOME_SCANS)
        assert big.lab.count("archived") == sum(1 for _ in sessions(MANY_SUBJECTS))
        value, now = big.memory("VmHWM"), big.memory("VmRSS")
    return result("tracked_rss", value, "MiB", GOAL, 1, note=f"{now:.1f} MiB in the end")
