"""Which session a folder was before it got its name: what Alyx has of that one is not registered again (DONE-09)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain

from labferry.detect.likeness import Listed, Version, is_mostly, telling
from labferry.detect.signature import NOTHING_THERE, is_about_transfer, take_signature
from labferry.journal import Journal
from labferry.journal.files import REMOVED
from labferry.journal.rows import SessionRow
from labferry.model import FileFate
from labferry.sessions.walk import walk_session

GONE_LATELY = 1000  # sessions: one that vanished before so many others is not looked for


def former(journal: Journal, row: SessionRow, signature: bytes, absent: Iterable[int]) -> SessionRow | None:
    """Return the session that a folder was before, if Alyx has, or may have, something of it.

    Parameters
    ----------
    journal : Journal
    row : SessionRow
        The session that the folder is now.
    signature : bytes
        What its files are now.
    absent : iterable of int
        Ids of sessions that the last scans did not find.
    """
    if row.eid is not None or signature == NOTHING_THERE:
        return None
    places = journal.sessions.root_paths()
    folder = os.path.join(places[row.root], row.path)

    def place(old: SessionRow) -> bytes:
        return os.path.join(places[old.root], old.path)

    seen = [] if row.moved_from is None else [journal.sessions.get(row.moved_from)]
    alike = (old for old in _alike(journal, row, folder, absent) if not _is_there(place(old), folder))
    olds = chain(seen, renamed(journal, row, signature), alike)
    return next((old for old in olds if old is not None and was_told(journal, old)), None)


def was_told(journal: Journal, old: SessionRow) -> bool:
    """Say whether Alyx has, or may have, something of a session."""
    return old.eid is not None or bool(journal.steps.unanswered(old.id, ""))


def renamed(journal: Journal, row: SessionRow, signature: bytes) -> Iterator[SessionRow]:
    """Yield the sessions that a folder was, as it is now, under other names."""
    if signature == NOTHING_THERE:
        return
    places = journal.sessions.root_paths()
    folder = os.path.join(places[row.root], row.path)
    for old in journal.sessions.with_signature(row.id, signature):
        if not _still_has(os.path.join(places[old.root], old.path), folder, signature):
            yield old


def _alike(journal: Journal, row: SessionRow, folder: bytes, absent: Iterable[int]) -> Iterator[SessionRow]:
    """Yield sessions that are not where they were, and of which the folder has most files.

    One of the same subject, date and number is the same session in Alyx, wherever its folder is.
    """
    gone = {*journal.sessions.gone(GONE_LATELY), *absent} - {row.id}
    if not gone:
        return
    there: dict[bytes, Version] = {
        file.path: (file.version.size, file.version.mtime_ns)
        for file in walk_session(folder)
        if file.version is not None and not is_about_transfer(file.path)
    }
    probes = [(path, *there[path]) for path in telling(there)]
    for session_id in journal.files.owners(gone, probes):
        old = journal.sessions.get(session_id)
        if old is None or (old.subject, old.date, old.number) == (row.subject, row.date, row.number):
            continue
        if is_mostly(there, _manifest(journal, session_id)):
            yield old


def _manifest(journal: Journal, session_id: int) -> Iterator[Listed]:
    for file in journal.files.each(session_id):
        if file.code not in REMOVED and not is_about_transfer(file.path):
            yield Listed(file.path, (file.size, file.mtime_ns), file.fate is FileFate.DATASET)


def _still_has(folder: bytes, renamed: bytes, signature: bytes) -> bool:
    """Say whether a folder still has its files, so that those of the `renamed` one are others.

    Another session may be in its place by now.
    """
    return _is_there(folder, renamed) and take_signature(folder).digest == signature


def _is_there(folder: bytes, renamed: bytes) -> bool:
    """Say whether a folder is there; a link that was left when it was `renamed` is only its old name."""
    try:
        return os.path.isdir(folder) and not os.path.samefile(folder, renamed)
    except OSError:  # one of them is gone since
        return False
