"""Sessions: the list, and one in full."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from labferry.engine.context import Context
from labferry.engine.reports.backlog import history_fields
from labferry.engine.reports.evidence import evidence_fields
from labferry.engine.reports.explain_settling import waits_for
from labferry.engine.reports.hints import addressed
from labferry.engine.reports.jobs import job_fields
from labferry.engine.reports.places import session_folder
from labferry.engine.reports.progress import progress_fields
from labferry.errors import CODES, LabferryError
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import TransferRow
from labferry.model import JobState, SessionState, first_of, path_fields, show_path, utc_text

NAMED = 3  # files named in one sentence
OPEN_IT = (
    "Give the service user read permission. It is looked at again within the hour, at once by `labferry rescan`; what "
    "was reached stays, and what else is new waits for it."
)


def sessions(
    context: Context, *, state: str = "", subject: str = "", since: str = "", root: str = ""
) -> list[dict[str, Any]]:
    """Return the sessions that match every filter that is not empty, in the order they were found.

    Parameters
    ----------
    state : str
        A session state, or `attention` for those that need a person.
    subject, root : str
        Exact names.
    since : str
        A date (also the start of an RFC 3339 time): recorded on that day or later.

    Raises
    ------
    LabferryError
        `bad_request`: no such state, no such date.
    """
    if state and state != "attention" and state not in set(SessionState):
        known = ", ".join([*SessionState, "attention"])
        raise LabferryError("bad_request", f"There is no session state {state!r}.", f"States are {known}.")
    rows = context.journal.sessions.select(root=root, subject=subject, since=_day(since))
    blocked = {job.id: job for job in context.journal.jobs.in_state(JobState.BLOCKED)}
    return [
        session_fields(context, row, blocked)
        for row in rows
        if not state or (row.attention if state == "attention" else row.state == state)
    ]


def show(context: Context, row: SessionRow) -> dict[str, Any]:
    """Return `show.data` of the interface contract."""
    journal, now = context.journal, context.clock.now()
    last_event = journal.last_event()  # before anything else, so that whoever listens from there on misses nothing
    row = journal.sessions.get(row.id) or row
    folder = session_folder(context, row)
    fields = session_fields(context, row)
    needs = fields["attention"]
    return {
        **fields,
        "attention": needs and {**needs, "hint": addressed(needs["hint"], folder)},
        "last_event": last_event,
        "generation": row.generation,
        "signal": row.signal,
        "signal_seen_at": utc_text(row.signal_seen_at),
        "held_at": utc_text(row.held_at),
        "excluded_at": utc_text(row.excluded_at),
        "vanished_at": utc_text(row.vanished_at),
        "history": history_fields(row),
        "repository": row.repository,
        "sealed": row.generation > 0 and row.sealed_generation == row.generation,
        "files": dict(journal.files.summary(row.id)),
        "jobs": [_addressed_job(job_fields(job, now), folder) for job in journal.jobs.of_session(row.id)],
        "transfers": [
            {**transfer_fields(context, transfer), "evidence": evidence_fields(context, transfer)}
            for transfer in journal.transfers.of_session(row.id)
        ],
        "remarks": [{"code": code, "text": text} for code, text in journal.sessions.remarks(row.id)],
    }


def _addressed_job(fields: dict[str, Any], folder: bytes) -> dict[str, Any]:
    return {**fields, "hint": addressed(fields["hint"], folder)} if fields.get("hint") else fields


def session_fields(context: Context, row: SessionRow, blocked: Mapping[int, JobRow] | None = None) -> dict[str, Any]:
    """Return what every list says about a session; `blocked` saves looking up its blocked job."""
    return {
        "id": row.id,
        **path_fields(session_folder(context, row)),
        "root": row.root,
        "layout": row.layout,
        "subject": row.subject,
        "date": row.date,
        "number": row.number,
        "lab": row.lab,
        "eid": row.eid,
        "state": row.state.value,
        "attention": attention(context, row, blocked),
        "waits": _waits(context, row),
        "first_seen": utc_text(row.first_seen_at),
        "complete_at": utc_text(row.complete_at),
        "registered_at": utc_text(row.registered_at),
        "archived_at": utc_text(row.archived_at),
    }


def attention(context: Context, row: SessionRow, blocked: Mapping[int, JobRow] | None = None) -> dict[str, str] | None:
    """Return why a session needs a person: a blocked job, a folder closed to us, or rejected files; or None."""
    if row.excluded_at is not None:
        return None
    if row.blocked_job is not None:
        job = (blocked or {}).get(row.blocked_job) or context.journal.jobs.get(row.blocked_job)
        return {"code": job.code, "message": job.reason, "hint": job.hint}
    if row.closed_folder is not None:
        where = show_path(row.closed_folder) or "Its folder"
        return {
            "code": "unreadable",
            "message": f"{where} cannot be read since the session was complete: {row.closed_why}.",
            "hint": OPEN_IT,
        }
    if not row.rejected:
        return None
    files = context.journal.files.rejected(row.id, NAMED)
    if not files:
        return None  # they were decided anew since the row was read
    named = first_of((f"{show_path(file.path)}: {file.reason}" for file in files), row.rejected, "; ")
    code = files[0].code
    return {
        "code": code,
        "message": f"{row.rejected} of its files cannot be registered: {named}.",
        "hint": f"{CODES[code].hint if code in CODES else ''} Then `labferry retry SESSION`.".strip(),
    }


def transfer_fields(context: Context, transfer: TransferRow) -> dict[str, Any]:
    """Return a transfer as JSON."""
    return {
        "id": transfer.id,
        "job": transfer.job_id,
        "target": transfer.target,
        "state": transfer.state,
        "ticket": transfer.ticket,
        "destination": show_path(transfer.base),
        **progress_fields(context, transfer),
        "started_at": utc_text(transfer.started_at),
        "ended_at": utc_text(transfer.ended_at),
    }


def _waits(context: Context, row: SessionRow) -> dict[str, Any] | None:
    if row.complete_at is not None or row.wait_code is None or row.excluded_at is not None:
        return None
    return {"code": row.wait_code, "message": waits_for(context, row), "since": utc_text(row.wait_since)}


def _day(text: str) -> str:
    if not text:
        return ""
    try:
        return datetime.date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise LabferryError("bad_request", f"{text!r} is not a date.", "Write it as 2024-05-31.") from None
