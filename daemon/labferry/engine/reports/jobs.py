"""The queue."""

from __future__ import annotations

from typing import Any

from labferry.engine.context import Context
from labferry.engine.reports.places import session_folder
from labferry.errors import LabferryError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobState, path_fields, utc_text


def jobs(context: Context, state: str = "") -> list[dict[str, Any]]:
    """Return the unfinished jobs, or the newest ones in a state, each with its session's folder.

    Raises
    ------
    LabferryError
        `bad_request`: there is no such state.
    """
    if state and state not in set(JobState):
        raise LabferryError("bad_request", f"There is no job state {state!r}.", f"States are {', '.join(JobState)}.")
    journal, now = context.journal, context.clock.now()
    rows = journal.jobs.in_state(JobState(state)) if state else journal.jobs.unfinished()
    listed = []
    folders: dict[int, SessionRow] = {}
    for job in rows:
        if job.session_id not in folders:
            folders[job.session_id] = context.session_of(job)
        session = folders[job.session_id]
        where = {**path_fields(session_folder(context, session)), "session": session.id, "root": session.root}
        listed.append({**job_fields(job, now), **where})
    return listed


def job_fields(job: JobRow, now: float) -> dict[str, Any]:
    """Return a job as JSON; `next_at` is when it is due, None when it is due now or nothing is planned."""
    planned = job.state in {JobState.QUEUED, JobState.WAITING} and job.not_before > now
    return {
        "id": job.id,
        "kind": job.kind.value,
        "target": job.target,
        "state": job.state.value,
        "stage": job.stage.value,
        "generation": job.generation,
        "attempts": job.attempts,
        "failures": job.failures,
        "code": job.code,
        "reason": job.reason,
        "hint": job.hint,
        "next_at": utc_text(job.not_before) if planned else None,
        "bytes_left": job.bytes_left,
        "created_at": utc_text(job.created_at),
        "updated_at": utc_text(job.updated_at),
        "finished_at": utc_text(job.finished_at),
    }
