"""Whether a session has come to rest, and so may be worked on because a person says so."""

from __future__ import annotations

from labferry.engine.context import Context
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import show_path

TAKE_IN = "Take it out of `exclude_subjects` of the root if its sessions should be picked up."


def require_settled(context: Context, row: SessionRow, becomes: str) -> None:
    """Make sure that a session is there, complete, and not left alone: as history, or with its subject.

    Parameters
    ----------
    context : Context
    row : SessionRow
    becomes : str
        What happens to it by itself once it is complete: `registered` or `archived`.

    Raises
    ------
    LabferryError
        `not_settled`: it is not complete, or is left alone.
    NotYetError
        Its root or folder is not there.
    """
    name = show_path(row.path)
    context.folder_of(row)
    if row.history is not None:
        raise LabferryError(
            "not_settled", f"{name} is history: it is left alone.", f"`labferry backlog release {name}` changes that."
        )
    if row.excluded_at is not None:
        raise LabferryError("not_settled", f"{name}: root {row.root} leaves subject {row.subject} out.", TAKE_IN)
    if row.complete_at is None:
        raise LabferryError(
            "not_settled",
            f"{name} is not complete: {row.wait_why or 'it is being looked at'}.",
            f"`labferry explain {name}` says what it waits for; it is {becomes} by itself then.",
        )
