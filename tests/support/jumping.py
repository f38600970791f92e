"""The daemon with a wall clock that a test can set: `python jumping.py OFFSET_FILE run --config …`.

A machine's wall clock cannot be set for one process (time namespaces have only the monotonic ones), so the one class
that reads it is given an offset here: from a file of eight bytes, which the test writes at any time.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

OFFSET = struct.Struct("d")


def set_offset(file: Path, seconds: float) -> None:
    """Set the wall clock of every process that was started with this file; now, and at once."""
    data = OFFSET.pack(seconds)
    if not file.exists():
        file.write_bytes(data)
        return
    with file.open("r+b") as stream:
        stream.write(data)


def main(file: str, *arguments: str) -> None:
    """Run labferry under the clock of this file."""
    from labferry.__main__ import main as labferry
    from labferry.model import SystemClock

    with open(file, "rb") as stream:
        offset = mmap.mmap(stream.fileno(), OFFSET.size, prot=mmap.PROT_READ)

    def now(_: SystemClock) -> float:
        return float(time.time() + OFFSET.unpack(offset[:])[0])

    SystemClock.now = now  # type: ignore[method-assign]
    sys.argv = ["labferry", *arguments]
    labferry()


if __name__ == "__main__":
    main(*sys.argv[1:])
