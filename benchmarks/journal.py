"""How many transitions of a job the journal makes durable per second, beside bare synced writes to the same disk.

A job costs three transitions: it is added, claimed, finished. Each is a transaction of its own, and is on disk before
the next begins. The journal stays open from run to run, as the daemon's does: SQLite has come to reuse its
write-ahead log by the time the first run is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labferry.journal import Journal
from labferry.journal.jobs import Move
from labferry.model import JobKind, JobState, Stage, SystemClock
from results import result

GOAL = 0.6
JOBS = 200  # per run
TRANSITIONS = 3  # per job
WARM_UP = 400  # jobs before the first run
BLOCK = 4096  # bytes of one bare write
TURN = 10  # jobs, then as many bare writes, so that what else the machine does falls on both
_DONE = Move(JobState.DONE, Stage.RESOLVE, not_before=0.0, failures=0, outages=0, outcome="done")


def run(workdir: Path, runs: int) -> dict[str, object]:
    ours, bare = [], []
    with TemporaryDirectory(dir=workdir) as folder, _journal(Path(folder)) as journal, _file(Path(folder)) as write:
        sessions = _sessions(journal)
        _transitions(journal, _take(sessions, journal, WARM_UP))
        for _ in range(runs):
            work = writes = 0.0
            jobs = _take(sessions, journal, JOBS)
            for start in range(0, JOBS, TURN):
                writes += _seconds(write, times=TURN)
                work += _seconds(partial(_transitions, journal, jobs[start : start + TURN]))
            ours.append(TRANSITIONS * JOBS / work)
            bare.append(JOBS / writes)
    return result("journal", median(ours), "transitions/s", GOAL, ours, reference=median(bare), at_least=True)


def _transitions(journal: Journal, sessions: list[int]) -> None:
    for session in sessions:
        journal.jobs.add(session, JobKind.REGISTER, stage=Stage.RESOLVE)
        job = journal.jobs.claim(Stage.RESOLVE)
        assert job is not None
        assert job.session_id == session
        assert journal.jobs.finish_attempt(job, _DONE)


@contextmanager
def _journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(folder, SystemClock())
    try:
        journal.jobs.begin_life()
        journal.sessions.meet_root("rig", b"/data", "ibl")
        yield journal
    finally:
        journal.close()


def _sessions(journal: Journal) -> Iterator[int]:
    for number in count(1):
        yield journal.sessions.add(
            "rig",
            b"SWC_001/2024-01-01/%05d" % number,
            layout="ibl",
            subject="SWC_001",
            date="2024-01-01",
            number=number,
            lab=None,
        )


def _take(sessions: Iterator[int], journal: Journal, number: int) -> list[int]:
    """Return new sessions, complete and without a job, stored in one transaction: they are not what is measured."""
    with journal.together():
        taken = [next(sessions) for _ in range(number)]
        for session in taken:
            assert journal.sessions.complete(session, b"", register=False, targets=())
        return taken


@contextmanager
def _file(folder: Path) -> Iterator[Callable[[], None]]:
    """Give what overwrites a block of a file and waits until it is on disk."""
    block = os.urandom(BLOCK)
    descriptor = os.open(folder / "block", os.O_RDWR | os.O_CREAT, 0o600)

    def write() -> None:
        os.pwrite(descriptor, block, 0)
        os.fdatasync(descriptor)

    try:
        write()
        os.fsync(descriptor)
        yield write
    finally:
        os.close(descriptor)


def _seconds(work: Callable[[], object], times: int = 1) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - started
