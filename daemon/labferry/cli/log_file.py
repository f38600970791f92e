"""The log file that a daemon leaves behind, read without the daemon.

Room: cli. Only `labferry logs` uses it, and only when nobody answers. Where the file is and what a line looks
like is `labferry.observe.logfile`'s business; a test keeps the two together.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from labferry.cli.socket_path import DEFAULT_CONFIG

DEFAULT_STATE_DIR = "/var/lib/labferry"
BELOW_STATE_DIR = "logs/labferry.jsonl"


def find(config_option: str | None, environ: Mapping[str, str]) -> str:
    """Return where the daemon of this configuration keeps its log; the file may not exist."""
    state_dir = environ.get("LABFERRY_STATE_DIR") or _configured(
        config_option or environ.get("LABFERRY_CONFIG") or DEFAULT_CONFIG
    )
    return os.path.join(state_dir, BELOW_STATE_DIR)


def last_records(path: str, session: str | None, count: int) -> list[dict[str, Any]] | None:
    """Return the last records, oldest first; None when there is no file to read.

    Parameters
    ----------
    path : str
        The newest file; older ones are beside it as `PATH.1` and so on.
    session : str or None
        Only records of this session: a path, subject/date/number or an eid.
    count : int
    """
    if not os.access(path, os.R_OK):
        return None
    kept: deque[dict[str, Any]] = deque(maxlen=count)
    for record in _records(path):
        if session is None or _is_about(record, session.rstrip("/")):
            kept.append(record)
    return list(kept)


def _configured(path: str) -> str:
    try:
        with open(path, "rb") as file:
            written = tomllib.loads(file.read().decode("utf-8-sig")).get("state_dir")
    except (OSError, ValueError):
        written = None
    return written if isinstance(written, str) and written else DEFAULT_STATE_DIR


def _records(path: str) -> Iterator[dict[str, Any]]:
    """Yield the records of all files, oldest first; a line cut off by a crash is left out."""
    for name in (*_rotated(path), path):
        with open(name, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record


def _rotated(path: str) -> list[str]:
    """Return the older files, oldest first."""
    found: list[str] = []
    while os.access(name := f"{path}.{len(found) + 1}", os.R_OK):
        found.append(name)
    return found[::-1]


def _is_about(record: dict[str, Any], session: str) -> bool:
    """Tell whether a record is about the session; it names one as `root:path`, or root and path side by side."""
    if session == record.get("eid"):
        return True
    named = str(record.get("session") or "")
    below = named if "root" in record else named.partition(":")[2]
    return bool(below) and (below == session or below.endswith(f"/{session}") or session.endswith(f"/{below}"))
