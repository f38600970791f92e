"""A lab's whole past, to measure detection on: 20,000 sessions in 230,000 folders with 1,000,000 sparse files.

It takes about a minute to write, so the benchmarks of one run share it: whoever needs it first writes it into the
folder that the runner removes at its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

SUBJECTS, DAYS = 160, 50  # and two or three sessions a day: 20,000
FIRST_DAY = date(2022, 1, 1)
FOLDERS = (
    "alf",
    "alf/probe00",
    "alf/probe01",
    "raw_behavior_data",
    "raw_ephys_data",
    "raw_ephys_data/probe00",
    "raw_ephys_data/probe01",
    "raw_video_data",
    "spike_sorters",
    "spike_sorters/probe00",
)
FILES = ("spikes.times.npy", "spikes.amps.npy", "spikes.depths.npy", "spikes.clusters.npy", "notes.txt")  # in each
SIZE = 4_000_000  # bytes of a file, of which none is on the disk
WRITERS = 2  # processes


class Recorded(NamedTuple):
    """One session of the past, as its path tells it."""

    subject: str
    day: date
    number: int

    @property
    def path(self) -> str:
        """Relative to the root."""
        return f"{self.subject}/{self.day}/{self.number:03d}"


def sessions(subjects: int = SUBJECTS) -> Iterator[Recorded]:
    """Yield the sessions of the first so many subjects."""
    for subject in range(subjects):
        yield from _of_subject(subject)


def _of_subject(subject: int) -> Iterator[Recorded]:
    for day in range(DAYS):
        for number in range(2 + day % 2):
            yield Recorded(f"SWC_{subject:03d}", FIRST_DAY + timedelta(day), number + 1)


def folders(subjects: int = SUBJECTS) -> int:
    """Return how many folders there are below the root."""
    return subjects * (1 + DAYS) + sum(1 + len(FOLDERS) for _ in sessions(subjects))


def big_tree(workdir: Path, subjects: int = SUBJECTS, *, bare: bool = False) -> Path:
    """Return the root of the tree, written now or by an earlier benchmark of this run; `bare` sessions are empty."""
    root = shared(workdir) / f"tree-{subjects}-{bare}" / "Subjects"
    if not root.exists():
        partial = root.with_name("partial")
        with get_context("fork").Pool(WRITERS) as pool:
            pool.starmap(_write_subject, ((str(partial), subject, bare) for subject in range(subjects)), chunksize=4)
        partial.rename(root)
    return root


def shared(workdir: Path) -> Path:
    """Return the folder that lasts as long as the run of all benchmarks."""
    place = workdir.parent / "shared"
    place.mkdir(exist_ok=True)
    return place


def put_away(workdir: Path, added: Iterable[Path]) -> None:
    """Move folders that a benchmark added out of the tree: it is as it was then for the next one."""
    attic = shared(workdir) / f"done-{time.time_ns()}"
    attic.mkdir()
    for number, folder in enumerate(added):
        if folder.exists():
            folder.rename(attic / str(number))


def list_folders(folder: bytes, depth: int) -> int:
    """List folders down to a depth and do nothing else; return how many are that deep."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += list_folders(entry.path, depth - 1) if depth > 1 else 1
    return count


def _write_subject(root: str, subject: int, bare: bool) -> None:
    for recorded in _of_subject(subject):
        _write_session(f"{root}/{recorded.path}", () if bare else FOLDERS)


def _write_session(folder: str, folders_in_it: tuple[str, ...]) -> None:
    os.makedirs(folder)
    for below in folders_in_it:
        os.mkdir(f"{folder}/{below}")
        for file in FILES:
            handle = os.open(f"{folder}/{below}/{file}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.ftruncate(handle, SIZE)
            os.close(handle)
