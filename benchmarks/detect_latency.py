"""How long after its quiet period a session becomes work, when its completion signal was seen by a hint.

In front of 20,000 archived sessions, a hundred new ones that wait for their flag. Each flag is made at a moment of its
own; what counts is the time from there to the register job in the journal, less the quiet period.
"""

from __future__ import annotations

import os
import random
import time
from datetime import date
from pathlib import Path
from statistics import quantiles

from big_journal import big_journal
from big_lab import BigLab
from big_tree import big_tree, shared
from support.lab import FLAG, SMALL
from support.wait import wait_until

SESSIONS = 100
QUIET = 2.0  # seconds
APART = 0.15  # seconds between two flags, on average
GOAL = 0.2
DEADLINE = 120.0
TODAY = date.today()
SETTINGS = {"LABFERRY_DETECTION__SCAN_EVERY": "30", "LABFERRY_DETECTION__QUIET": str(QUIET)}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: a hundred sessions give a percentile."""
    del runs
    tree = big_tree(workdir)
    paths = [f"SWC_{number % 100:03d}/{TODAY}/{number // 100 + 101:03d}" for number in range(SESSIONS)]
    with BigLab(workdir / "lab", tree, big_journal(workdir, tree), SETTINGS) as big:
        try:
            return _measure(big, tree, paths)
        finally:
            _take_away(workdir, tree, paths)


def _measure(big: BigLab, tree: Path, paths: list[str]) -> dict[str, object]:
    lab = big.lab
    big.start()
    lab.ask("/v1/pause", "POST", {"lane": ""})  # what becomes of the sessions is not the question
    for path in paths:
        for name, content in SMALL.items():
            (tree / path / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / path / name).write_bytes(content)
    wait_until(lambda: lab.count("settling") == SESSIONS, timeout=DEADLINE, what="all sessions to be watched")
    flagged: dict[bytes, float] = {}
    luck = random.Random(1)
    for path in paths:
        time.sleep(luck.uniform(0, 2 * APART))
        flagged[path.encode()] = time.time()
        (tree / path / FLAG).touch()
    wait_until(lambda: lab.count("complete") == SESSIONS, timeout=DEADLINE, what="all sessions to be complete")
    rows = lab.journal(
        "SELECT session.path, job.created_at FROM job JOIN session ON session.id = job.session_id"
        " WHERE job.kind = 'register' AND job.finished_at IS NULL"
    )
    late = [at - flagged[path] - QUIET for path, at in rows]
    assert len(late) == SESSIONS
    assert min(late) >= 0, "complete before its time"
    value = quantiles(late, n=100)[98]
    return {
        "name": "detect_latency_p99",
        "value": value,
        "unit": "s",
        "reference": 1,  # the goal is in seconds, not a ratio
        "ratio": value,
        "goal": GOAL,
        "ok": value <= GOAL,
        "runs": late,
        "note": f"median {sorted(late)[SESSIONS // 2]:.3f} s",
    }


def _take_away(workdir: Path, tree: Path, paths: list[str]) -> None:
    """Leave the tree as it was for the next benchmark."""
    attic = shared(workdir) / f"done-{time.time_ns()}"
    attic.mkdir()
    for number, day in enumerate(sorted({os.path.dirname(path) for path in paths})):
        if (tree / day).exists():
            (tree / day).rename(attic / str(number))
