"""A journal that knows the whole past of `big_tree`: every session registered, archived, and listed file by file.

Written with the journal's own tables and triggers, a million rows at once instead of one transition after the other.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

from big_tree import FILES, FOLDERS, SIZE, SUBJECTS, sessions, shared
from labferry.detect.cadence import files_every
from labferry.detect.foldertimes import folder_times
from labferry.journal import Journal
from labferry.model import SystemClock

ROOT = "rig"  # the name that the sandbox gives its root
AGE = 200 * 86400.0  # seconds since all that was archived
UNSIGNALLED = 500


def big_journal(workdir: Path, root: Path, subjects: int = SUBJECTS, *, unsettled: int = 0, bare: bool = False) -> Path:
    """Return a file to copy to `journal.sqlite`; the last so many sessions are complete in no journal's eyes."""
    place = shared(workdir) / f"journal-{subjects}-{unsettled}-{bare}"
    file = place / "journal.sqlite"
    if not file.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        journal = Journal(place, SystemClock())
        journal.sessions.meet_root(ROOT, os.fsencode(root), "ibl")
        journal.close()
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            _plant(connection, subjects, unsettled, None if bare else root)
    return file


def _plant(connection: sqlite3.Connection, subjects: int, unsettled: int, root: Path | None) -> None:
    then = time.time() - AGE
    known = list(sessions(subjects))
    done = range(1, len(known) - unsettled + 1)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("UPDATE root SET first_contact_at = ?", (then,))
    connection.executemany(
        "INSERT INTO session (id, root, path, layout, subject, date, number, lab, repository, first_seen_at,"
        " updated_at) VALUES (?, ?, ?, 'ibl', ?, ?, ?, 'cortexlab', 'cortexlab_SR', ?, ?)",
        (
            (number, ROOT, one.path.encode(), one.subject, one.day.isoformat(), one.number, then, then)
            for number, one in enumerate(known, 1)
        ),
    )
    connection.execute(
        "UPDATE session SET signal = 'raw_session.flag', signal_seen_at = first_seen_at, complete_at = first_seen_at,"
        " generation = 1, sealed_generation = 1, eid = printf ('00000000-0000-4000-8000-%012d', id) WHERE id <= ?",
        (len(done),),
    )
    connection.execute(
        "INSERT INTO alyx_key SELECT subject, date, number, id FROM session WHERE complete_at IS NOT NULL"
    )
    for kind, target in (("register", ""), ("archive", "server")):
        connection.executemany(
            "INSERT INTO job (session_id, kind, target, generation, state, stage, not_before, created_at, updated_at,"
            " finished_at) VALUES (?, ?, ?, 1, 'done', ?, ?, ?, ?, ?)",
            ((number, kind, target, kind, then, then, then, then) for number in done),
        )
    if root is None:
        return
    now = time.time()
    connection.executemany(
        "INSERT INTO revisit (session_id, folders, looked_at) VALUES (?, ?, ?)",
        (
            (number, folder_times(os.fsencode(root / one.path)).digest, now - number / len(known) * files_every(AGE))
            for number, one in zip(done, known, strict=False)
        ),
    )
    connection.executemany(
        "INSERT INTO file (session_id, path, generation, size, mtime_ns, ctime_ns, md5, fate, dataset_id,"
        " registered_hash, registered_at) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                f"{folder}/{file}".encode(),
                SIZE,
                *_times(f"{root}/{one.path}/{folder}/{file}"),
                *_fate(number, file),
                then,
            )
            for number, one in zip(done, known, strict=False)
            for folder in FOLDERS
            for file in FILES
        ),
    )


def _times(file: str) -> tuple[int, int]:
    status = os.lstat(file)
    return status.st_mtime_ns, status.st_ctime_ns


def _fate(number: int, file: str) -> tuple[str | None, str, str | None, str | None]:
    """Return checksum, fate, dataset and registered checksum of a file."""
    if not file.endswith(".npy"):
        return None, "unmatched", None, None
    checksum = f"{number:032x}"
    return checksum, "dataset", f"{number:036d}", checksum
