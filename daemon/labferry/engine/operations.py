"""What an operator may change: the journal's jobs and holds, whether lanes take work, and which login they use.

Thin on purpose: every change is one the journal or a lane offers already, made in one transaction and logged by the
journal's triggers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from labferry.archive.base import StoppedError
from labferry.engine.context import ALYX, GLOBUS, Context
from labferry.engine.dependencies import Health
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.history.releasing import ask_again
from labferry.engine.reports import globus_login
from labferry.engine.reports.live import LiveState, kind
from labferry.engine.reports.login import DOWN, NEEDS_LOGIN, OK, alyx_login
from labferry.engine.reports.sessions import attention
from labferry.errors import LabferryError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import LIVE_STATES, JobKind, JobState, Lane

PAUSABLE = (Lane.SEAL, Lane.REGISTER, Lane.ARCHIVE)
REVIVABLE = (JobState.WAITING, JobState.BLOCKED, JobState.CANCELLED)
REGISTERED_OTHERWISE = frozenset({"session_gone", "hash_conflict"})  # of an archive job: Alyx is not as it was left


def stuck(context: Context, code: str = "") -> list[SessionRow]:
    """Return the sessions that wait or need a person, or only those that do for this reason."""
    waiting = unfinished(context, code, (JobState.WAITING, JobState.BLOCKED))
    found = {row.id: row for row in waiting if row.excluded_at is None}
    for row in context.journal.sessions.select():
        if row.excluded_at is not None or row.vanished_at is not None:
            continue
        if row.rejected and row.history is None and (not code or (attention(context, row) or {}).get("code") == code):
            found[row.id] = row
    return list(found.values())


def unfinished(context: Context, code: str = "", states: Collection[JobState] = LIVE_STATES) -> list[SessionRow]:
    """Return the sessions with jobs in these states, or only those whose jobs are so for this reason."""
    jobs = [job for job in context.journal.jobs.unfinished() if job.state in states and code in {"", job.code}]
    return [context.session_of(job) for job in {job.session_id: job for job in jobs}.values()]


def held(context: Context) -> list[SessionRow]:
    """Return the sessions that are held."""
    return [row for row in context.journal.sessions.select() if row.held_at is not None]


def retry(context: Context, rows: Iterable[SessionRow]) -> dict[str, Any]:
    """Queue the waiting, blocked and cancelled jobs of sessions again.

    A finished session with files that could not be registered, and one whose registration Alyx lost, is looked at
    again from the beginning; about one that was there before us Alyx is asked again. What is down is asked again at
    once, and so are Alyx' dataset types: somebody may have added one.

    Returns
    -------
    dict
        `jobs`: ids of the jobs; `sessions`: how many sessions settle again; `asked`: about how many sessions Alyx is
        asked again; `retried`: all together.
    """
    revived: list[int] = []
    settling = asked = 0
    with context.journal.together():
        for row in rows:
            if row.history is not None:
                asked += ask_again(context, row)
                continue
            jobs = [job for job in _current(context, row) if job.state in REVIVABLE]
            lost = any(job.kind is JobKind.ARCHIVE and job.code in REGISTERED_OTHERWISE for job in jobs)
            again = not jobs and row.rejected and not _live(context, row) and row.vanished_at is None
            if lost or again:
                context.journal.jobs.supersede(row.id)
                context.journal.sessions.unsettle(row.id, "an operator asked for another look")
                settling += 1
            else:
                revived += [job.id for job in jobs if context.journal.jobs.revive(job.id)]
    context.vocabulary.expire()
    context.dependencies.hurry()
    context.wakeup.ring()
    return {"jobs": revived, "sessions": settling, "asked": asked, "retried": len(revived) + settling + asked}


def cancel(context: Context, rows: Iterable[SessionRow], who: str) -> dict[str, Any]:
    """End the unfinished jobs of sessions; holds until `retry` or a newer generation."""
    reason = f"Cancelled by {who}."
    with context.journal.together():
        jobs = [job for row in rows for job in _live(context, row)]
        cancelled = [job.id for job in jobs if context.journal.jobs.cancel(job.id, reason)]
    return {"jobs": cancelled}


def hold(context: Context, rows: Sequence[SessionRow]) -> dict[str, Any]:
    """Leave sessions alone: what runs is finished, nothing more is begun."""
    with context.journal.together():
        for row in rows:
            context.journal.sessions.hold(row.id)
    return {"sessions": len(rows)}


def release(context: Context, rows: Sequence[SessionRow]) -> dict[str, Any]:
    """End the hold of sessions."""
    with context.journal.together():
        for row in rows:
            context.journal.sessions.release(row.id)
    context.wakeup.ring()
    return {"sessions": len(rows)}


def pause(live: LiveState, lane: str, paused: bool) -> dict[str, Any]:
    """Let the lanes of one kind, or all that may be paused, stop or go on taking work.

    Raises
    ------
    LabferryError
        `bad_request`: no such kind of lane.
    """
    kinds = [str(one) for one in PAUSABLE if lane in {"", one}]
    if not kinds:
        raise LabferryError("bad_request", f"There is no lane {lane!r} to pause.", f"Lanes are {', '.join(PAUSABLE)}.")
    for one in live.lanes:
        if kind(one.name) in kinds:
            one.pause(paused)
    return {"paused": live.paused()}


def rescan(context: Context, live: LiveState, root: str, *, accept_missing: bool = False) -> dict[str, Any]:
    """Scan one root, or all, as soon as possible.

    With `accept_missing` the sessions of a root that this scan does not find are gone for good, however many they are.

    Raises
    ------
    LabferryError
        `bad_request`: no such root, or what is missing is to be accepted of all roots at once.
    """
    names = [one.name for one in context.config.roots if root in {"", one.name}]
    if root and not names:
        known = ", ".join(one.name for one in context.config.roots)
        raise LabferryError("bad_request", f"There is no root {root!r}.", f"Roots are {known}.")
    if accept_missing and not root:
        raise LabferryError(
            "bad_request", "What is missing is accepted of one root only.", "Name the root: `labferry status` has them."
        )
    live.detect.rescan(root or None, accept_missing=accept_missing)
    return {"roots": names}


def log_in(context: Context, service: str) -> dict[str, Any]:
    """Test a login with the secret of now; what waits for a login that works again is tried at once.

    Raises
    ------
    LabferryError
        `bad_request`: no such service. `no_globus`: no archive is reached through Globus.
    """
    if service == GLOBUS:
        return _used(context, _asked_globus(context, globus_login.tested))
    if service != ALYX:
        raise LabferryError(
            "bad_request", f"There is no login to {service!r}.", f"There is one to {ALYX} and one to {GLOBUS}."
        )
    found = alyx_login(context.alyx.another(), context.config.alyx)
    if found["state"] not in {DOWN, NEEDS_LOGIN}:
        context.alyx.hurry()
        context.reachable(ALYX)
    return found


def begin_login(context: Context, *, replace: bool) -> dict[str, Any]:
    """Begin a person's login to Globus; raises as `log_in` and `logging_in.begin`."""
    return _asked_globus(context, lambda access: globus_login.started(access, replace=replace))


def finish_login(context: Context, code: str) -> dict[str, Any]:
    """Finish a person's login to Globus, with which everything goes on at once; raises as `logging_in.finish`."""
    return _used(context, _asked_globus(context, lambda access: globus_login.finished(access, code)))


def _asked_globus(context: Context, ask: Callable[[GlobusAccess], dict[str, Any]]) -> dict[str, Any]:
    if context.globus is None:
        raise LabferryError(
            "no_globus", "No root is archived through Globus.", 'A root needs an archive of kind = "globus" first.'
        )
    try:
        return ask(context.globus)
    except StoppedError:
        raise LabferryError("busy", "The daemon stops.", "Ask again when it is back.") from None


def _used(context: Context, found: dict[str, Any]) -> dict[str, Any]:
    """Let everything that waits for Globus be tried at once, where a login was found to be accepted."""
    if found["state"] not in {DOWN, NEEDS_LOGIN, globus_login.OTHER_IDENTITY}:
        reached = {one["role"] for one in found["collections"] if one["state"] == OK}
        for one in context.dependencies.snapshot():
            if one.name == GLOBUS or (one.name in reached and one.state is Health.NEEDS_LOGIN):
                context.reachable(one.name)
        context.dependencies.hurry()
        context.wakeup.ring()
    return found


def _current(context: Context, row: SessionRow) -> list[JobRow]:
    return [job for job in context.journal.jobs.of_session(row.id) if job.generation == row.generation]


def _live(context: Context, row: SessionRow) -> list[JobRow]:
    return [job for job in context.journal.jobs.of_session(row.id) if job.state in LIVE_STATES]
