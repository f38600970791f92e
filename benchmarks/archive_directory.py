"""How fast a session is archived to a directory, beside rsync doing the same in the same run.

Both read a session whose bytes are not in memory, check them by content, write them to the same disk and sync every
file. rsync compares what it read with what it sent; ours reads back from the disk what it wrote, which rsync does not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from labferry.archive.directory import DirectoryArchive
from labferry.archive.plan import Item, Plan
from results import result

FILES = 200
SIZE = 25_000_000  # bytes per file: 5 GB in all
GOAL = 1.0  # times rsync's time
SESSION = Path("KS005/2026-03-02/001/raw_ephys_data")


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Compare one session's way into a directory archive with rsync's."""
    source, target = workdir / "Subjects", workdir / "archive"
    command = ["rsync", "--archive", "--checksum", "--fsync", f"{source}/", f"{target}/"]
    items = _session(source)
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(_seconds(lambda: subprocess.run(command, check=True), source, target))
        ours.append(_seconds(lambda: _archive(source, target, items), source, target))
    own, reference = statistics.median(ours), statistics.median(theirs)
    note = f"{FILES * SIZE / own / 1e6:.0f} MB/s"
    return result("archive_directory", own, "s", GOAL, runs, reference=reference, note=note)


def _session(source: Path) -> tuple[Item, ...]:
    """Write the session; return its sealed files."""
    folder = source / SESSION
    folder.mkdir(parents=True)
    items = []
    for number in range(FILES):
        content, file = os.urandom(SIZE), folder / f"_spikeglx_ephysData.probe{number:03d}.ap.cbin"
        file.write_bytes(content)
        name, now = os.fsencode(file.relative_to(source)), file.stat()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        items.append(Item(name, name, now.st_size, md5, now.st_mtime_ns, now.st_ctime_ns))
    return tuple(items)


def _archive(source: Path, target: Path, items: tuple[Item, ...]) -> None:
    archive = DirectoryArchive("nas", os.fsencode(target))
    plan = Plan("bench", os.fsencode(source), os.fsencode(target), items)
    carried = archive.advance(plan, lambda _: None, lambda: False)
    assert [found.md5 for found in carried.evidence] == [item.md5 for item in items]


def _seconds(work: Callable[[], object], source: Path, target: Path) -> float:
    """Return how long it takes to fill an empty archive; what the disk has still to do before is not counted."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
    for file in source.rglob("*.cbin"):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun = time.perf_counter()
    work()
    took = time.perf_counter() - begun
    arrived = {file: file.stat().st_size for file in target.rglob("*") if file.is_file()}
    assert list(arrived.values()) == [SIZE] * FILES, "not everything arrived"
    return took
