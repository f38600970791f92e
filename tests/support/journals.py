"""Sessions put into a journal as a scan puts them there."""

from __future__ import annotations

from labferry.journal import Journal
from labferry.journal.rows import SessionRow
from labferry.model import History


def find_session(
    journal: Journal, root: str, path: bytes, subject: str, date: str, number: int, *, history: History | None = None
) -> SessionRow:
    """Let a session be found; return it as the journal has it."""
    session_id = journal.sessions.add(
        root, path, layout="ibl", subject=subject, date=date, number=number, lab=None, history=history
    )
    row = journal.sessions.get(session_id)
    assert row is not None
    return row
