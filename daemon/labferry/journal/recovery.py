"""A damaged journal: moved aside and kept, and the newest good backup put in its place; without one it begins anew.

What is under way is written into a file of its own first, and every step may be repeated: a kill at any moment leaves
either the damaged journal, or what takes its place, never both and never half of one.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from labferry.errors import LabferryError
from labferry.journal.database import APPLICATION_ID, JournalError, migrations
from labferry.journal.journal import BACKUPS, FILE, Journal
from labferry.model import Clock

MARKER = "journal.recovery"
KEPT = "damaged"
_PIECES = (f"{FILE}-wal", f"{FILE}-shm", FILE)  # the log first: it must never meet another journal


@dataclass(frozen=True, slots=True)
class _Marker:
    """How far a recovery is; `moved`: nothing of the damaged journal is left in its place."""

    at: float
    why: str
    kept_as: str
    moved: bool = False
    backup: str = ""
    known_until: float | None = None


class _Backup(NamedTuple):
    path: Path
    known_until: float | None


def open_journal(state_dir: Path, clock: Clock, damage: str = "") -> Journal:
    """Open the journal; one that is damaged is replaced first.

    Parameters
    ----------
    state_dir : Path
        Locked by this process.
    clock : Clock
    damage : str
        What an earlier look found damaged; empty to find out by opening it.

    Raises
    ------
    JournalError
        It cannot be used for another reason.
    UnavailableError
        The state directory is full.
    """
    if damage:
        _begin(state_dir, damage, clock.now())
    try:
        _carry_out(state_dir)
        try:
            journal = Journal(state_dir, clock)
        except JournalError as error:
            if error.code != "journal_damaged":
                raise
            _begin(state_dir, error.message, clock.now())
            _carry_out(state_dir)
            journal = Journal(state_dir, clock)
        _record(state_dir, journal)
    except OSError as error:
        raise JournalError(
            "journal_unusable",
            f"The damaged journal of {state_dir} cannot be replaced: {error}",
            "Make room there, and give the directory and what is in it to the service user.",
        ) from error
    return journal


def _begin(state_dir: Path, why: str, now: float) -> None:
    """Write down that the journal is to be replaced; a recovery that has not moved it away yet goes on."""
    marker = _read(state_dir)
    if marker is None or marker.moved:  # where it was moved, it is what took its place that is damaged
        _write(state_dir, _Marker(now, why, _free_place(state_dir, now)))


def _free_place(state_dir: Path, now: float) -> str:
    """Return a folder for what is damaged, below the state directory, in which nothing is kept yet."""
    second = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    names = chain([second], (f"{second}-{number}" for number in count(2)))
    return next(place for name in names if not (state_dir / (place := f"{KEPT}/{name}")).exists())


def _carry_out(state_dir: Path) -> None:
    """Do what is left of a recovery."""
    marker = _read(state_dir)
    if marker is None:
        return
    if not marker.moved:
        kept = state_dir / marker.kept_as
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _PIECES:
            if (state_dir / name).exists():
                (state_dir / name).rename(kept / name)
        marker = replace(marker, moved=True)
        _write(state_dir, marker)
    if (state_dir / FILE).exists():
        return  # its place is taken already
    restored = _restorable(state_dir)
    if restored is not None:
        _write(state_dir, replace(marker, backup=restored.path.name, known_until=restored.known_until))
        _put(restored.path, state_dir / FILE)


def _record(state_dir: Path, journal: Journal) -> None:
    """Let the new journal know of the old one."""
    marker = _read(state_dir)
    if marker is None:
        return
    journal.note_recovery(
        at=marker.at,
        why=marker.why,
        kept_as=str(state_dir / marker.kept_as),
        backup=marker.backup,
        known_until=marker.known_until,
    )
    (state_dir / MARKER).unlink()


def _restorable(state_dir: Path) -> _Backup | None:
    """Return the newest backup that is whole."""
    for path in sorted((state_dir / BACKUPS).glob("journal-*.sqlite"), reverse=True):
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
                (application,) = database.execute("PRAGMA application_id").fetchone()
                (version,) = database.execute("PRAGMA user_version").fetchone()
                sound = database.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
                (until,) = database.execute("SELECT max(at) FROM event").fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
        if sound and application == APPLICATION_ID and 0 < version <= migrations()[-1][0]:
            return _Backup(path, until)
    return None


# --- files ------------------------------------------------------------------------------------------------------


def _read(state_dir: Path) -> _Marker | None:
    try:
        return _Marker(**json.loads((state_dir / MARKER).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise LabferryError(
            "journal_unusable",
            f"{state_dir / MARKER} cannot be read: {error}",
            f"Look whether {state_dir / FILE} is the journal that shall count, then remove {MARKER}.",
        ) from error


def _write(state_dir: Path, marker: _Marker) -> None:
    fresh = state_dir / f"{MARKER}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(marker), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(state_dir / MARKER)
    _sync_folder(state_dir)


def _put(backup: Path, place: Path) -> None:
    """Copy a backup to the journal's place, where it appears as a whole."""
    fresh = place.with_name(f"{place.name}.restoring")
    shutil.copyfile(backup, fresh)
    fresh.chmod(0o600)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(place)
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
