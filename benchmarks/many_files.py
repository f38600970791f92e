"""A session of very many files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.lab import FLAG

IN_A_FOLDER = 500


def write_many(folder: Path, files: int, content: Callable[[int], bytes]) -> None:
    """Write a session, its flag last; `content` is that of the file of this number."""
    for number in range(files):
        below = folder / f"alf/part{number // IN_A_FOLDER:04d}"
        if number % IN_A_FOLDER == 0:
            below.mkdir(parents=True)
        (below / f"spikes.times.n{number % IN_A_FOLDER:03d}.npy").write_bytes(content(number))
    (folder / FLAG).touch()
