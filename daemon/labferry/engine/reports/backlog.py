"""History: what was adopted, what differs, what Alyx does not know, and about how much it was not asked yet."""

from __future__ import annotations

from typing import Any

from labferry.engine.context import Context
from labferry.engine.history.releasing import chosen
from labferry.engine.reports.places import session_folder
from labferry.errors import CODES
from labferry.journal.rows import SessionRow
from labferry.model import History, path_fields, utc_text

LISTED = 100  # sessions in one answer, unless another number is asked for; all are counted


def backlog(context: Context, *, root: str = "", subject: str = "", limit: int = LISTED) -> dict[str, Any]:
    """Return how many sessions of old stand where and why, and those of the backlog in the order of their release.

    Raises
    ------
    LabferryError
        `bad_request`: there is no such root.
    """
    rows = chosen(context, root, subject, limit)
    counted = context.journal.backlog.counts(root, subject)
    counts = {one.value: sum(row["sessions"] for row in counted if row["history"] == one) for one in History}
    return {
        "counts": counts,
        "reasons": [
            {**row, "title": CODES[row["code"]].title, "hint": CODES[row["code"]].hint}
            for row in counted
            if row["code"] in CODES
        ],
        "sessions": [_fields(context, row) for row in rows],
    }


def history_fields(row: SessionRow) -> dict[str, Any] | None:
    """Return where a session of old stands, and why; None for an ordinary one."""
    if row.history is None:
        return None
    return {
        "standing": row.history.value,
        "code": row.history_code,
        "message": row.history_why,
        "at": utc_text(row.history_at),
    }


def _fields(context: Context, row: SessionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        **path_fields(session_folder(context, row)),
        "root": row.root,
        "subject": row.subject,
        "date": row.date,
        "number": row.number,
        "eid": row.eid,
        "code": row.history_code,
        "message": row.history_why,
    }
