"""`labferry archive`: the archive work of a session on a person's word, and what may give way to it."""

from __future__ import annotations

from typing import Any

from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.settled import require_settled
from labferry.errors import LabferryError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobKind, JobState, path_fields, show_path

DUE_AT_ONCE = (JobState.WAITING, JobState.BLOCKED, JobState.CANCELLED)
CONTENT_CHANGED = "changed_after_archive"


def archive(context: Context, row: SessionRow, asked: Asked) -> dict[str, Any]:
    """Archive a session: take up what has not ended, or look at its files and at the archives anew.

    What is asked for is written into the jobs that are to do it, and into the history.

    Returns
    -------
    dict
        `session`, `path`, `jobs` (ids), and `began`: false where work was under way already.

    Raises
    ------
    LabferryError
        `no_archive`: its root names none; `not_settled`: it is not complete, or is left alone.
    NotYetError
        Its root or folder is not there.
    """
    require_archivable(context, row)
    journal = context.journal
    with journal.together():
        jobs = [job for job in journal.jobs.of_session(row.id) if _is_open(job, row)]
        began = not jobs
        if began:
            jobs = journal.sessions.archive_again(
                row.id,
                asked.added_to(""),
                register=context.root_of(row).registers,
                targets=context.root_of(row).archive,
            )
        else:
            for job in jobs:
                if asked != Asked():
                    journal.jobs.ask(job.id, asked.added_to(job.options))
                _take_up(context, job, asked)
    context.dependencies.hurry()
    context.wakeup.ring()
    where = path_fields(context.place_of(row))
    return {"session": row.id, **where, "jobs": [job.id for job in jobs], "began": began}


def require_archivable(context: Context, row: SessionRow) -> None:
    """Make sure that a session can be archived at all; raises as `archive`."""
    name = show_path(row.path)
    if not context.root_of(row).archive:
        raise LabferryError("no_archive", f"Root {row.root} of {name} names no archive.", "Set `archive` of the root.")
    require_settled(context, row, "archived")


def _is_open(job: JobRow, row: SessionRow) -> bool:
    """Say whether a job of the session as it is now has not ended, or was cancelled."""
    if job.generation != row.generation or job.kind not in {JobKind.REGISTER, JobKind.ARCHIVE}:
        return False
    return job.state not in {JobState.DONE, JobState.SUPERSEDED}


def _take_up(context: Context, job: JobRow, asked: Asked) -> None:
    """Let a job go on now: what waits or was given up; of registrations only those that this word is about."""
    is_answered = asked.replace and job.code == CONTENT_CHANGED
    if job.state in DUE_AT_ONCE and (job.kind is JobKind.ARCHIVE or is_answered):
        context.journal.jobs.revive(job.id)
