"""How long a start takes in front of 20,000 sessions: from the command to READY, with a warm page cache."""

from __future__ import annotations

import signal
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from big_lab import EVERY_HALF_MINUTE, BigLab, known_past
from big_tree import big_tree
from results import result

GOAL, NEW_GOAL = 1.0, 3.0  # seconds
AS_HISTORY = {**EVERY_HALF_MINUTE, "LABFERRY_DETECTION__HISTORY_AGE": "0"}  # a tree that was written just now is old


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Start with a journal that knows the tree, after a stop that was clean."""
    with known_past(workdir) as big:
        big.start()  # warms the cache, and brings the journal to this version
        measured = []
        for _ in range(runs):
            big.lab.stop()
            measured.append(big.start())
            assert big.lab.count("archived") == big.lab.status()["roots"][0]["sessions"]
    return result("start_ready", median(measured), "s", GOAL, measured)


def run_new(workdir: Path, runs: int) -> dict[str, object]:
    """Start without a journal: every session is met for the first time, as history."""
    tree = big_tree(workdir)
    measured = []
    for _ in range(runs):
        with TemporaryDirectory(dir=workdir) as folder, BigLab(Path(folder), tree, environment=AS_HISTORY) as big:
            measured.append(big.start())
            assert big.lab.status()["roots"][0]["sessions"] > 0
            assert big.lab.daemon is not None
            big.lab.daemon.end(signal.SIGKILL)
    return result("start_ready_new", median(measured), "s", NEW_GOAL, measured)
