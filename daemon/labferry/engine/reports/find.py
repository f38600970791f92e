"""Which session an operator means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from labferry.engine.context import Context
from labferry.engine.reports.places import places, session_folder, spellings
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import first_of, show_path

NAMED = 5  # sessions named in an error
_EID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY = re.compile(r"([^/]+)/(\d{4}-\d{2}-\d{2})/(\d{1,3})/?")


def find(context: Context, text: str) -> SessionRow:
    """Return the session that an absolute path, a path relative to a root, subject/date/number or an eid names.

    Raises
    ------
    LabferryError
        `no_such_session`, or `several_sessions` naming them.
    """
    found = {row.id: row for row in _candidates(context, text)}
    shown = show_path(os.fsencode(text))
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        folders = sorted(show_path(session_folder(context, row)) for row in found.values())
        raise LabferryError(
            "several_sessions",
            f"{shown} may mean {first_of(folders[:NAMED], len(folders))}.",
            "Name one of them by its absolute path.",
        )
    raise LabferryError(
        "no_such_session",
        f"No session is known as {shown}.",
        f"`labferry explain {shown}` says why a folder is not a session; `labferry sessions` lists those that are.",
    )


def _candidates(context: Context, text: str) -> Iterable[SessionRow]:
    sessions = context.journal.sessions
    if _EID.fullmatch(text):
        yield from sessions.by_eid(text.lower())
        return
    named = [place for spelling in spellings(text) for place in places(context.config, spelling)]
    rows = [row for place in named if (row := sessions.at(place.root.name, place.path)) is not None]
    yield from rows
    key = _KEY.fullmatch(text)
    if key is not None:
        exact = {row.root for row in rows}  # where a folder is called exactly so, other spellings are other folders
        yield from (row for row in sessions.by_key(key[1], key[2], int(key[3])) if row.root not in exact)
