"""Whether ibllib's job creator runs on this machine too: another program that creates sessions in Alyx (ruling 9).

Room: cli. Reads cron tables, systemd units and the command lines of processes, as far as this user may; no process is
started and nothing is written.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

PLACES = (
    "etc/crontab",
    "etc/cron.d/*",
    "etc/cron.hourly/*",
    "etc/cron.daily/*",
    "var/spool/cron/*",
    "var/spool/cron/crontabs/*",
    "etc/systemd/system/*.service",
    "etc/systemd/system/*.timer",
    "usr/lib/systemd/system/*.service",
    "home/*/.config/systemd/user/*.service",
    "home/*/.config/systemd/user/*.timer",
)
PROCESSES = "proc/[0-9]*/cmdline"
LARGEST = 1 << 20  # bytes of a file that is looked through
_CHECKOUT = b"iblscripts"  # the repository whose scripts start it
_WORDS = (_CHECKOUT, b"job_creator", b"report_create_jobs")


def find(top: str = "/") -> tuple[list[str], list[str]]:
    """Return what starts or is ibllib's job creator, and the places that this user may not look into.

    Parameters
    ----------
    top : str
        Below which the machine's directories are.
    """
    found, closed = [], []
    for pattern in PLACES:
        folder = os.path.dirname(os.path.join(top, pattern))
        if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
            closed.append(folder)
        for path in filter(os.path.isfile, sorted(glob.glob(os.path.join(top, pattern)))):
            try:
                if any(map(_starts_it, _lines(path))):
                    found.append(path)
            except OSError:
                closed.append(path)
    found += (
        f"process {path.split('/')[-2]}" for path in sorted(glob.glob(os.path.join(top, PROCESSES))) if _is_it(path)
    )
    return found, closed


def _lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a table or unit that are no comments."""
    with open(path, "rb") as file:
        for line in file.read(LARGEST).splitlines():
            if not line.lstrip().startswith((b"#", b";")):
                yield line


def _starts_it(line: bytes) -> bool:
    return any(word in line for word in _WORDS)


def _is_it(cmdline: str) -> bool:
    try:
        with open(cmdline, "rb") as file:
            return _CHECKOUT in file.read(LARGEST)
    except OSError:
        return False  # it has ended, or hides
