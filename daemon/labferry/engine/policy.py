"""What becomes of a job after an attempt: a pure table, no clock, no I/O, no randomness of its own.

==================  ==============================================================================
outcome             the job
==================  ==============================================================================
Done                queued at its next stage, or done at the last one
Waiting             waiting until `after` has passed; a dependency's outage, and an answer that is
                    lost again and again, backs off and burns nothing
Retry               queued again after a backoff; blocked as `crash` after `max_attempts` in a row
Blocked             blocked until a person acts
==================  ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from labferry.errors import CODES
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow
from labferry.model import STAGES, Blocked, Done, JobState, Outcome, Retry, Stage, Waiting

FIRST_BACKOFF = 1.0  # seconds
LOST_MAX = 300.0  # seconds at most between tries whose answers are lost: each of them may have got on
LOST, WATCHED = "answer_lost", "files_in_flight"  # what was sent without an answer, and the look what became of it


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often; from `[worker]` of the configuration.

    Attributes
    ----------
    max_attempts : int
        Unexpected errors in a row before a job is blocked.
    backoff_max : float
        Longest backoff, seconds.
    """

    max_attempts: int
    backoff_max: float


def backoff(tries: int, jitter: float, limits: Limits) -> float:
    """Return the delay in seconds before try number `tries` + 1: exponential with full jitter.

    `jitter` is a number from 0 to 1 drawn by the caller.
    """
    ceiling = min(limits.backoff_max, FIRST_BACKOFF * 2.0 ** min(tries, 30))
    return float(ceiling * jitter)


def next_stage(job: JobRow) -> Stage | None:
    """Return the stage after the job's current one, None at the last."""
    stages = STAGES[job.kind]
    position = stages.index(job.stage) + 1
    return stages[position] if position < len(stages) else None


def decide(job: JobRow, outcome: Outcome, now: float, jitter: float, limits: Limits) -> Move:
    """Return where a running job goes.

    Parameters
    ----------
    job : JobRow
        As it was claimed; must be running.
    outcome : Outcome
        How the attempt ended.
    now : float
        Epoch seconds.
    jitter : float
        From 0 to 1, for the backoff.
    limits : Limits
    """
    assert job.state is JobState.RUNNING, f"job {job.id} is {job.state}, an outcome is for running jobs"
    match outcome:
        case Done():
            stage = next_stage(job)
            state = JobState.DONE if stage is None else JobState.QUEUED
            return Move(state, stage or job.stage, not_before=now, failures=0, outages=0, outcome="done")
        case Waiting():
            outages = job.outages if outcome.code == WATCHED else 0
            delay = outcome.after
            if outcome.dependency or outcome.code == LOST:
                outages = job.outages + 1
                most = limits.backoff_max if outcome.dependency else LOST_MAX
                delay = max(delay, min(most, backoff(job.outages, jitter, limits)))
            return Move(
                JobState.WAITING,
                job.stage,
                not_before=now + delay,
                failures=job.failures,
                outages=outages,
                outcome="waiting",
                code=outcome.code,
                reason=outcome.why,
                hint=_hint(outcome.code),
            )
        case Retry() if job.failures + 1 >= limits.max_attempts:
            return Move(
                JobState.BLOCKED,
                job.stage,
                not_before=now,
                failures=job.failures + 1,
                outages=0,
                outcome="retry",
                code="crash",
                reason=f"{outcome.why} ({job.failures + 1} times)",
                hint=_hint("crash"),
                detail=outcome.detail,
            )
        case Retry():
            delay = max(outcome.after, backoff(job.failures, jitter, limits))
            return Move(
                JobState.QUEUED,
                job.stage,
                not_before=now + delay,
                failures=job.failures + 1,
                outages=0,
                outcome="retry",
                code=outcome.code,
                reason=outcome.why,
                detail=outcome.detail,
            )
        case Blocked():
            return Move(
                JobState.BLOCKED,
                job.stage,
                not_before=now,
                failures=0,
                outages=0,
                outcome="blocked",
                code=outcome.code,
                reason=outcome.message,
                hint=outcome.hint,
            )


def _hint(code: str) -> str:
    return CODES[code].hint if code in CODES else ""
