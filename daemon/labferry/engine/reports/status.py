"""The promise at a glance."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from labferry import __version__
from labferry.config import ObserveArchive
from labferry.engine.context import Context
from labferry.engine.detection.roots import RootFacts
from labferry.engine.planning import filled_through_globus
from labferry.engine.reports.explain_settling import QUIET_SO_FAR
from labferry.engine.reports.health import (
    NAMED,
    Condition,
    Facts,
    LateArchive,
    LeftOut,
    LostFiles,
    Replaced,
    SilentLane,
    StalledTask,
    StuckExample,
    StuckSessions,
    conditions,
)
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.places import session_folder
from labferry.engine.reports.progress import transfers_fields
from labferry.model import JobState, SessionState, path_fields, utc_text

TOLD_FOR = 7 * 86_400.0  # seconds: so long is the replacement of the journal a condition
COUNTED_JOBS = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.BLOCKED)


def status(context: Context, live: LiveState) -> dict[str, Any]:
    """Return `status.data` of the interface contract."""
    journal, now = context.journal, context.clock.now()
    states, attention = journal.sessions.counts()
    jobs = journal.jobs.counts()
    oldest = journal.jobs.oldest_waiting()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": utc_text(live.started_at),
        "uptime_s": round(now - live.started_at, 3),
        "server_name": context.config.server_name,
        "paused": live.paused(),
        "sessions": {state.value: states.get(state, 0) for state in SessionState},
        "attention": attention,
        "history": {"unasked": journal.backlog.unasked_count()},
        "jobs": {state.value: jobs.get(state, 0) for state in COUNTED_JOBS},
        "oldest_waiting_s": None if oldest is None else round(max(0.0, now - oldest), 3),
        "transfers": transfers_fields(context),
        "dependencies": {
            one.name: {"state": one.state.value, "since": utc_text(one.since), "code": one.code, "detail": one.detail}
            for one in context.dependencies.snapshot()
        },
        "vocabulary": _vocabulary(context, now),
        "roots": _roots(context, live),
        "lanes": [
            {"name": lane.name, "alive": lane.alive, "paused": lane.paused, "doing": lane.last_beat.doing}
            for lane in live.lanes
        ],
        "health": [condition_fields(condition) for condition in current_conditions(context, live, attention)],
    }


def _vocabulary(context: Context, now: float) -> dict[str, Any]:
    """Say since when Alyx' dataset types are known as they are used (REG-02); not yet at all without any."""
    age = context.vocabulary.age
    return {"fetched": None if age is None else utc_text(now - age)}


def current_conditions(context: Context, live: LiveState, attention: int | None = None) -> list[Condition]:
    """Return the health conditions of now; `attention` saves counting again."""
    journal = context.journal
    stale_before = context.clock.now() - context.config.detection.stale_after
    roots = live.detect.facts()
    return conditions(
        Facts(
            dependencies=context.dependencies.snapshot(),
            roots=roots,
            journal_problem=journal.problem,
            journal_replaced=_replaced(context),
            silent=_silent(context, live),
            paused=live.paused(),
            stuck=stuck_sessions(context, stale_before, [root.name for root in roots if not root.frozen]),
            stalled=_stalled(context),
            late=_late(context, stale_before),
            lost=_lost(context),
            left_out=_left_out(context),
            attention=journal.sessions.counts()[1] if attention is None else attention,
            attention_since=journal.jobs.blocked_since(),
        )
    )


def stuck_sessions(context: Context, before: float, roots: Iterable[str]) -> list[StuckSessions]:
    """Return what detection has waited for since before a time below some roots, by reason, with the first sessions.

    Below a frozen root nothing is looked into, and nobody can do anything about a session before the root is back.
    """
    found: dict[str, StuckSessions] = {}
    for row in context.journal.sessions.stuck(before, NAMED, roots):
        session = context.journal.sessions.get(row.example)
        if session is not None:
            stuck = found.setdefault(row.code, StuckSessions(row.code, row.sessions, row.since))
            why = session.wait_why or ""
            why = "" if why.startswith(QUIET_SO_FAR) else why  # so it was at one look
            example = StuckExample(session_folder(context, session), why)
            found[row.code] = replace(stuck, examples=(*stuck.examples, example))
    return list(found.values())


def condition_fields(condition: Condition) -> dict[str, Any]:
    """Return a condition as JSON."""
    return {
        "code": condition.code,
        "severity": condition.severity.value,
        "title": condition.title,
        "text": condition.text,
        "since": utc_text(condition.since),
    }


def _stalled(context: Context) -> list[StalledTask]:
    """Return the Globus tasks that stand still.

    One that is not submitted yet counts where Globus itself puts it off; otherwise it is its dependency's matter.
    """
    before = context.clock.now() - context.config.globus.stall_after
    tended = filled_through_globus(context.config)
    return [
        StalledTask(
            task.target, task.globus_id or task.label, f"{task.fault} {task.fault_text}".strip(), task.progress_at
        )
        for task in context.journal.tasks.open()
        if task.target in tended and (task.globus_id or task.fault) and task.progress_at < before
    ]


def _late(context: Context, before: float) -> list[LateArchive]:
    """Return what Alyx has not moved for long; where we carry the files, a transfer that stands still says so."""
    observed = {name for name, archive in context.config.archive.items() if isinstance(archive, ObserveArchive)}
    rows = context.journal.jobs.late(before)
    return [LateArchive(row["target"], row["sessions"], row["since"]) for row in rows if row["target"] in observed]


def _replaced(context: Context) -> Replaced | None:
    """Return the last replacement of the journal, for as long as somebody may not have heard of it."""
    for one in context.journal.recoveries()[-1:]:
        if context.clock.now() - one.at < TOLD_FOR:
            return Replaced(one.at, one.backup)
    return None


def _lost(context: Context) -> LostFiles | None:
    """Return what was to be archived and was removed before."""
    found = context.journal.files.lost()
    if found is None:
        return None
    return LostFiles(found.files, found.sessions, _full_path(context, found.session_id, found.path))


def _left_out(context: Context) -> LeftOut | None:
    """Return the large files that nobody asks for, although no rule leaves them out."""
    found = context.journal.files.large_unmatched(context.config.registration.exclude_suffixes)
    if found is None:
        return None
    return LeftOut(found.files, found.size, found.sessions, _full_path(context, found.session_id, found.path))


def _full_path(context: Context, session_id: int, path: bytes) -> bytes:
    session = context.journal.sessions.get(session_id)
    return os.path.join(session_folder(context, session) if session else b"", path)


def _silent(context: Context, live: LiveState) -> list[SilentLane]:
    """Return the lanes that should have shown life; one that is still starting gets the time it asked for."""
    wall, monotonic = context.clock.now(), context.clock.monotonic()
    silent = []
    for lane in live.lanes:
        overdue = monotonic - lane.last_beat.fresh_until
        starting = lane.last_beat.doing == "starting" and overdue < 0
        if not lane.alive and not starting:
            silent.append(SilentLane(lane.name, lane.last_beat.doing, wall - max(0.0, overdue)))
    return silent


def _roots(context: Context, live: LiveState) -> list[dict[str, Any]]:
    sessions = context.journal.sessions.counts_by_root()
    return [_root(facts, sessions.get(facts.name, 0)) for facts in live.detect.facts()]


def _root(facts: RootFacts, sessions: int) -> dict[str, Any]:
    return {
        "name": facts.name,
        **path_fields(facts.path),
        "layout": facts.layout,
        "mode": facts.mode,
        "watches": facts.watches,
        "overflows": facts.overflows,
        "sessions": sessions,
        "last_scan": utc_text(facts.last_scan),
        "scan_s": round(facts.scan_s, 6),
        "problem": facts.problem or None,
        "frozen": facts.frozen,
        "near_misses": facts.near_miss_count,
    }
