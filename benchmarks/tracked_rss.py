"""The daemon's memory in front of 100,000 archived sessions: its largest resident set, in MiB (WIN-07)."""

from __future__ import annotations

import time
from pathlib import Path

from big_journal import big_journal
from big_lab import BigLab
from big_tree import SUBJECTS, big_tree, sessions

MANY_SUBJECTS = 5 * SUBJECTS
GOAL = 200e6 / 2**20  # 200 MB
SOME_SCANS = 20.0  # seconds
OFTEN = {"LABFERRY_DETECTION__SCAN_EVERY": "5"}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: memory varies little."""
    del runs
    tree = big_tree(workdir, MANY_SUBJECTS, bare=True)
    with BigLab(workdir / "lab", tree, big_journal(workdir, tree, MANY_SUBJECTS, bare=True), OFTEN) as big:
        big.start()
        time.sleep(SOME_SCANS)
        assert big.lab.count("archived") == sum(1 for _ in sessions(MANY_SUBJECTS))
        value, now = big.memory("VmHWM"), big.memory("VmRSS")
    return {
        "name": "tracked_rss",
        "value": value,
        "unit": "MiB",
        "reference": 1,  # the goal is in MiB, not a ratio
        "ratio": value,
        "goal": GOAL,
        "ok": value <= GOAL,
        "runs": 1,
        "note": f"{now:.1f} MiB in the end",
    }
