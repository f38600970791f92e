"""What a daemon costs while nothing happens: its scans, its processor time, its watches; and how that grows.

Three daemons wait side by side: in front of 20,000 archived sessions, of 2,000, and of 20,000 of which 500 have no
completion signal. Each window is as long as the time between two scans. They are measured once in a run of benchmarks.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from big_journal import UNSIGNALLED
from big_lab import known_past
from big_tree import SUBJECTS, folders, list_folders, sessions
from results import result

FEW_SUBJECTS = SUBJECTS // 10
WINDOW = 30.0  # seconds: the default of `scan_every`
SETTLING = 75.0  # seconds after the start: two more scans, and the first looks
DEPTH = 3
SCAN_GOAL, CPU_GOAL, UNSIGNALLED_GOAL, WATCHES_GOAL, GROWTH_GOAL = 1.5, 0.005, 0.01, 0.01, 2.0


@dataclass
class Measured:
    """What was seen, window by window."""

    watches: int = 0
    scan: list[float] = field(default_factory=list)  # seconds
    listing: list[float] = field(default_factory=list)  # seconds of a bare listing of the same
    many: list[float] = field(default_factory=list)  # fraction of a core, of the daemon with 20,000 sessions
    few: list[float] = field(default_factory=list)
    unsignalled: list[float] = field(default_factory=list)


def run_scan(workdir: Path, runs: int) -> dict[str, object]:
    seen = _measure(workdir.parent, runs)
    return result("steady_scan", median(seen.scan), "s", SCAN_GOAL, seen.scan, reference=median(seen.listing))


def run_cpu(workdir: Path, runs: int) -> dict[str, object]:
    seen = _measure(workdir.parent, runs)
    return result("steady_cpu", median(seen.many), "of a core", CPU_GOAL, seen.many)


def run_cpu_unsignalled(workdir: Path, runs: int) -> dict[str, object]:
    seen = _measure(workdir.parent, runs)
    value = median(seen.unsignalled)
    return result("steady_cpu_unsignalled", value, "of a core", UNSIGNALLED_GOAL, seen.unsignalled)


def run_watches(workdir: Path, runs: int) -> dict[str, object]:
    seen = _measure(workdir.parent, runs)
    return result("watches", seen.watches, "watches", WATCHES_GOAL, [seen.watches], reference=folders())


def run_growth(workdir: Path, runs: int) -> dict[str, object]:
    seen = _measure(workdir.parent, runs)
    return result("growth_cpu", median(seen.many), "of a core", GROWTH_GOAL, seen.many, reference=median(seen.few))


@cache
def _measure(place: Path, runs: int) -> Measured:
    seen = Measured()
    with TemporaryDirectory(dir=place) as folder, ExitStack() as stack:
        workdir = Path(folder)
        many = stack.enter_context(known_past(workdir, "many"))
        few = stack.enter_context(known_past(workdir, "few", subjects=FEW_SUBJECTS))
        unsignalled = stack.enter_context(known_past(workdir, "unsignalled", unsettled=UNSIGNALLED))
        for one in (many, few, unsignalled):
            one.start()
        time.sleep(SETTLING)
        for _ in range(runs):
            before = [one.cpu() for one in (many, few, unsignalled)]
            time.sleep(WINDOW)
            spent = [one.cpu() - cpu for one, cpu in zip((many, few, unsignalled), before, strict=True)]
            for kept, seconds in zip((seen.many, seen.few, seen.unsignalled), spent, strict=True):
                kept.append(seconds / WINDOW)
            (root,) = many.lab.status()["roots"]
            seen.scan.append(root["scan_s"])
            began = time.perf_counter()
            listed = list_folders(os.fsencode(many.tree), DEPTH)
            seen.listing.append(time.perf_counter() - began)
            assert listed == root["sessions"] == sum(1 for _ in sessions())
        seen.watches = root["watches"]
        states = unsignalled.lab.status()["sessions"]
        assert (states["settling"], states["archived"]) == (UNSIGNALLED, listed - UNSIGNALLED)
        assert many.lab.count("archived") == listed, "something happened although nothing did"
    return seen
