"""What tests of trouble with Globus share: what was logged, what is down, how time passes."""

from __future__ import annotations

from typing import Any

from labferry.engine.dependencies import Dependency
from labferry.engine.reports.explain_session import explain_session
from labferry.journal.rows import SessionRow
from labferry.model import JobState
from support.globus import GlobusBench

Logs = list[Any]


def said(logs: Logs, event: str) -> list[dict[str, Any]]:
    """Return the lines of the log about one kind of event."""
    return [record for record in logs if record["event"] == event]


def dependency(bench: GlobusBench, name: str = "globus") -> Dependency:
    """Return how a dependency is."""
    return next(one for one in bench.context.dependencies.snapshot() if one.name == name)


def pass_time(bench: GlobusBench, seconds: float, step: float = 60.0) -> None:
    """Let time pass, and the lane work in it."""
    for _ in range(int(seconds / step)):
        bench.clock.pass_by(step)
        bench.work()


def require_archived(bench: GlobusBench, session: SessionRow, retries: int = 0) -> None:
    """Require that a session is archived by now, with so many attempts that failed for no reason of the outside."""
    bench.wait_for_mover()
    pass_time(bench, bench.context.config.worker.backoff_max)
    bench.rest()
    job = bench.archive_job(session)
    outcomes = [attempt["outcome"] for attempt in bench.journal.jobs.attempts(job.id)]
    assert (job.state, outcomes.count("retry")) == (JobState.DONE, retries), job


def explained(bench: GlobusBench, session: SessionRow) -> tuple[str, str]:
    """Return what an operator is told: verdict and code."""
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    found = explain_session(bench.context, bench.live, row)
    return found.verdict.value, found.code
