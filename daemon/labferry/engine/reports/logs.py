"""The daemon's log: the last lines, and those that follow, of one session or of all."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from labferry.engine.reports.live import LiveState
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import show_path

BLOCK = 64 * 1024
LINES = 100
MOST_LINES = 10_000

Entry = dict[str, Any]
Wanted = Callable[[Entry], bool]


def logs(live: LiveState, row: SessionRow | None, lines: int = LINES) -> list[Entry]:
    """Return the last entries of the log, oldest first; those of one session when one is given.

    Raises
    ------
    LabferryError
        `no_log_file`: the log goes elsewhere.
    """
    return _last(live, row, lines, None)


def _last(live: LiveState, row: SessionRow | None, lines: int, end: int | None) -> list[Entry]:
    """Return the last entries; with `end`, only what stands before that position of the newest file."""
    wanted = _about(row)
    last: deque[Entry] = deque(maxlen=min(lines, MOST_LINES))
    if lines <= 0:
        return []
    for line in _all_backwards(live, end):
        entry = _entry(line)
        if entry is not None and wanted(entry):
            last.appendleft(entry)
            if len(last) == last.maxlen:
                break
    return list(last)


def follow(live: LiveState, row: SessionRow | None, lines: int = LINES) -> Iterator[list[Entry]]:
    """Yield the last entries, then what is appended since the last step, maybe nothing; never ends by itself.

    The caller pauses between two steps. A file that was rotated away is left for its successor.
    """
    wanted = _about(row)
    stream = _open(live)
    try:
        yield _last(live, row, lines, stream.seek(0, os.SEEK_END))
        rest = b""
        while True:
            fresh = rest + stream.read(4 * BLOCK)
            *complete, rest = fresh.split(b"\n")
            entries = (_entry(line) for line in complete)
            yield [entry for entry in entries if entry is not None and wanted(entry)]
            if not complete and _was_rotated(stream, live.log_file):
                stream.close()
                stream, rest = _open(live), b""
    finally:
        stream.close()


def _about(row: SessionRow | None) -> Wanted:
    if row is None:
        return lambda _: True
    name = f"{row.root}:{show_path(row.path)}"
    path = show_path(row.path)

    def wanted(entry: Entry) -> bool:
        if row.eid is not None and entry.get("eid") == row.eid:
            return True
        # Lanes that work on jobs name a session with its root, the detector names them side by side.
        return entry.get("session") == name or (entry.get("session") == path and entry.get("root") == row.root)

    return wanted


def _open(live: LiveState) -> IO[bytes]:
    hint = "`journalctl -u labferry` has it where the daemon runs under systemd."
    if live.log_file is None:
        raise LabferryError("no_log_file", "The log is not written to a file.", hint)
    try:
        return open(live.log_file, "rb")  # closed by the callers
    except OSError as error:
        raise LabferryError("no_log_file", f"{live.log_file} cannot be read: {error.strerror}.", hint) from None


def _was_rotated(stream: IO[bytes], path: Path | None) -> bool:
    """Say whether the file of this name is another one by now, or was emptied."""
    if path is None:
        return False
    try:
        now = os.stat(path)
    except OSError:
        return False
    ours = os.fstat(stream.fileno())
    return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino) or ours.st_size < stream.tell()


def _all_backwards(live: LiveState, end: int | None) -> Iterator[bytes]:
    """Yield the lines of the log from the last to the first; full files are beside it as `.1`, `.2` and so on."""
    with _open(live) as stream:
        yield from _backwards(stream, end)
    for number in itertools.count(1):
        try:
            with open(f"{live.log_file}.{number}", "rb") as stream:
                yield from _backwards(stream, None)
        except OSError:
            return


def _backwards(stream: IO[bytes], end: int | None) -> Iterator[bytes]:
    position = stream.seek(0, os.SEEK_END) if end is None else end
    rest = b""
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        stream.seek(position)
        rest, *lines = (stream.read(size) + rest).split(b"\n")
        yield from reversed(lines)
    yield rest


def _entry(line: bytes) -> Entry | None:
    """Return a line as an object; None for what is none, such as a line cut short by a kill."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
