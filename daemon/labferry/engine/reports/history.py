"""What happened: the events of the journal, and the attempts of a session's jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labferry.engine.context import Context
from labferry.engine.reports.places import session_folder
from labferry.journal.rows import EventRow, SessionRow
from labferry.model import path_fields, utc_text


def history(context: Context, row: SessionRow, since: int = 0) -> dict[str, Any]:
    """Return the events of a session after event `since`, and the kept attempts of all its jobs."""
    journal = context.journal
    return {
        "session": row.id,
        **path_fields(session_folder(context, row)),
        "events": events_fields(context, journal.history(row.id, since)),
        "attempts": [
            {
                "job": job.id,
                "kind": job.kind.value,
                "target": job.target,
                "stage": attempt["stage"],
                "started_at": utc_text(attempt["started_at"]),
                "ended_at": utc_text(attempt["ended_at"]),
                "outcome": attempt["outcome"],
                "code": attempt["code"],
                "detail": attempt["detail"],
            }
            for job in journal.jobs.of_session(row.id)
            for attempt in journal.jobs.attempts(job.id)
        ],
    }


def events_fields(context: Context, events: Iterable[EventRow]) -> list[dict[str, Any]]:
    """Return events as JSON (ruling 25), each with its session's folder."""
    folders: dict[int, dict[str, str]] = {}
    listed = []
    for event in events:
        where: dict[str, str] = {}
        if event.session_id is not None:
            if event.session_id not in folders:
                session = context.journal.sessions.get(event.session_id)
                folders[event.session_id] = path_fields(session_folder(context, session)) if session else {}
            where = folders[event.session_id]
        listed.append(
            {
                "id": event.id,
                "at": utc_text(event.at),
                "session": event.session_id,
                "job": event.job_id,
                "action": event.action,
                "from": event.from_state,
                "to": event.to_state,
                "code": event.code,
                **where,
            }
        )
    return listed
