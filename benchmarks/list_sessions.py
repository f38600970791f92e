"""The shallow scan of 20,000 sessions against a bare listing of the same folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from big_tree import list_folders
from labferry.detect.scan import scan
from labferry.sessions.registry import layout
from results import result

GOAL = 1.5
SUBJECTS, DAYS = 160, 50  # and two or three sessions a day: 20,000
DEPTH = 3


def run(workdir: Path, runs: int) -> dict[str, object]:
    root = os.fsencode(workdir / "list_sessions")
    if not os.path.exists(root):
        _build(root)
    ibl = layout("ibl")
    sessions = list_folders(root, DEPTH)
    scans, listings = [], []
    for _ in range(runs):  # in turn, so that what else the machine does falls on both
        listings.append(_seconds(lambda: list_folders(root, DEPTH)))
        scans.append(_seconds(lambda: len(scan(root, ibl).found), expect=sessions))
    return result("list_sessions", median(scans), "s", GOAL, scans, reference=median(listings))


def _build(root: bytes) -> None:
    for subject in range(SUBJECTS):
        for day in range(DAYS):
            folder = root + b"/SWC_%03d/%s" % (subject, (date(2024, 1, 1) + timedelta(day)).isoformat().encode())
            for number in range(2 + day % 2):
                os.makedirs(folder + b"/%03d" % (number + 1))


def _seconds(work: Callable[[], int], expect: int | None = None) -> float:
    started = time.perf_counter()
    counted = work()
    seconds = time.perf_counter() - started
    assert expect in {None, counted}, f"{counted} sessions counted, {expect} there"
    return seconds
