"""How fast sessions are sealed, beside md5sum on the same file in the same run.

Both read from a page cache that was warmed just before: it is the checksum that costs, not the disk.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labferry.detect.seal import seal
from labferry.model import FileVersion
from results import result

SIZE = 256 * 1024 * 1024  # bytes per file
MB = SIZE / 1e6
GOAL = 0.9  # of md5sum's speed
THREADS_GOAL = 1.3  # times the speed of one thread, on two cores that others may use too


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Compare one seal lane with md5sum."""
    file = _file(workdir, "seal-0.bin")
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(_seconds(lambda: subprocess.run(["md5sum", file], check=True, stdout=subprocess.DEVNULL), file))
        ours.append(_seconds(lambda: _seal(file), file))
    own, reference = statistics.median(ours), statistics.median(theirs)
    return result("seal", MB / own, "MB/s", GOAL, runs, reference=MB / reference, at_least=True)


def run_threads(workdir: Path, runs: int) -> dict[str, object]:
    """Compare two seal lanes, a file each, with one that seals both."""
    files = [_file(workdir, f"seal-{number}.bin") for number in range(2)]
    one, two = [], []
    with ThreadPoolExecutor(2) as lanes:
        for _ in range(runs):
            one.append(_seconds(lambda: [_seal(file) for file in files], *files))
            two.append(_seconds(lambda: list(lanes.map(_seal, files)), *files))
    own, reference = statistics.median(two), statistics.median(one)
    return result("seal_threads", 2 * MB / own, "MB/s", THREADS_GOAL, runs, reference=2 * MB / reference, at_least=True)


def _file(workdir: Path, name: str) -> Path:
    file = workdir / name
    if not file.exists() or file.stat().st_size != SIZE:
        block = os.urandom(1024 * 1024)
        with file.open("wb") as stream:
            for _ in range(SIZE // len(block)):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
    return file


def _seal(file: Path) -> str:
    status = file.stat()
    version = FileVersion(os.fsencode(file.name), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    folder = os.fsencode(file.parent)
    (sealed,) = seal(folder, [version], lambda _: None, stop=lambda: False, on_bytes=lambda _: None)
    return sealed.md5


def _seconds(work: Callable[[], object], *files: Path) -> float:
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while stream.read(1024 * 1024):
                pass
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
