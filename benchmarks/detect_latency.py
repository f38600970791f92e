"""How long after its quiet period a session becomes work, when its completion signal was seen by a hint.

In front of 20,000 archived sessions, a hundred new ones that wait for their flag. Each flag is made at a moment of its
own; what counts is the time from there to the register job in the journal, less the quiet period.
"""

from __future__ import annotations

import random
import time
from datetime import date
from pathlib import Path
from statistics import quantiles

from big_lab import BigLab, known_past
from big_tree import put_away
from results import result
from support.lab import FLAG, SMALL
from support.wait import wait_until

SESSIONS = 100
QUIET = 2.0  # seconds
APART = 0.15  # seconds between two flags, on average
GOAL = 0.2
DEADLINE = 120.0
WATCHED = "SELECT count(*) FROM session WHERE complete_at IS NULL AND signature IS NOT NULL"  # and looked into
TODAY = date.today()
SETTINGS = {"LABFERRY_DETECTION__SCAN_EVERY": "30", "LABFERRY_DETECTION__QUIET": str(QUIET)}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: a hundred sessions give a percentile."""
    del runs
    paths = [f"SWC_{number % 100:03d}/{TODAY}/{number // 100 + 101:03d}" for number in range(SESSIONS)]
    with known_past(workdir, environment=SETTINGS) as big:
        try:
            return _measure(big, paths)
        finally:
            put_away(workdir, {(big.tree / path).parent for path in paths})


def _measure(big: BigLab, paths: list[str]) -> dict[str, object]:
    lab, tree = big.lab, big.tree
    big.start()
    lab.ask("/v1/pause", "POST", {"lane": ""})  # what becomes of the sessions is not the question
    for path in paths:
        for name, content in SMALL.items():
            (tree / path / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / path / name).write_bytes(content)
    wait_until(lambda: lab.journal(WATCHED) == [(SESSIONS,)], timeout=DEADLINE, what="all sessions to be watched")
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
    return result("detect_latency_p99", value, "s", GOAL, late, note=f"median {sorted(late)[SESSIONS // 2]:.3f} s")
