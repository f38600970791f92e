"""A session of 100,000 files on its way to Globus: what it takes to plan it and to make the document of its task.

The work itself is in `globus_planning`, which runs in a process of its own each time, on a copy of the same journal:
what one run leaves in memory does not help the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from results import result

HERE = Path(__file__).resolve().parent
GOAL = 2.0  # seconds
MEMORY_GOAL = 100  # MiB


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure the time."""
    seconds = [measured["seconds"] for measured in _measure(workdir, runs)]
    return result("globus_plan", median(seconds), "s", GOAL, seconds)


def run_memory(workdir: Path, runs: int) -> dict[str, object]:
    """Measure the memory: the highest resident set of either part, above that of the process before it."""
    sizes = [measured["mib"] for measured in _measure(workdir, runs)]
    return result("globus_plan_rss", median(sizes), "MiB", MEMORY_GOAL, sizes)


def _measure(workdir: Path, runs: int) -> list[dict[str, float]]:
    sealed = workdir / "sealed"
    _child("prepare", sealed)
    measured = []
    for _ in range(runs):
        with TemporaryDirectory(dir=workdir) as folder:
            shutil.copytree(sealed, folder, dirs_exist_ok=True)
            measured.append(json.loads(_child("work", Path(folder))[-1]))
    return measured


def _child(what: str, folder: Path) -> list[str]:
    """Return the lines that one half of `globus_planning` printed."""
    command = [sys.executable, str(HERE / "globus_planning.py"), what, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "tests")}  # it uses what the tests use
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
