"""The worker loop: claim a job, run its stage, write down how it ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from labferry.engine.dependencies import Dependencies
from labferry.engine.lanes import IDLE_BEAT, LaneThread
from labferry.engine.outcomes import outcome_of
from labferry.engine.policy import Limits, decide
from labferry.engine.wakeup import Wakeup
from labferry.errors import LabferryError, UnavailableError
from labferry.journal import JOURNAL, Journal
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow
from labferry.model import Clock, JobState, Outcome, Stage, Waiting, show_path

_log = structlog.get_logger()


class StoppedEarly(Exception):  # noqa: N818 - not an error: the daemon drains
    """The stage stopped because the daemon drains; the next life goes on from the journal."""


class StageRun(Protocol):
    """What a lane runs for one stage of a job."""

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Run the stage; call `beat(what, seconds)` before everything that may take long."""

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the move and what follows from it; False when the job was superseded."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lanes share."""

    journal: Journal
    dependencies: Dependencies
    limits: Limits
    wakeup: Wakeup
    clock: Clock


class Worker(LaneThread):
    """A lane that works through the due jobs of one or more stages.

    Parameters
    ----------
    name : str
    stages : dict of Stage to StageRun
        What to run for each stage; earlier ones first.
    shared : Shared
    needs : tuple of str
        The dependencies without which nothing is claimed.
    target : str
        The archive target whose jobs are taken; empty for lanes that have none.
    """

    def __init__(
        self,
        name: str,
        stages: dict[Stage, StageRun],
        shared: Shared,
        *,
        needs: tuple[str, ...] = (),
        target: str = "",
    ) -> None:
        super().__init__(name, shared.wakeup, shared.clock)
        self.stages = stages
        self._journal = shared.journal
        self._dependencies = shared.dependencies
        self._limits = shared.limits
        self._needs = needs
        self._target = target

    def turn(self) -> float:
        """Run one job if one is due and may be tried."""
        due = self._seconds_until_due()
        if due > 0:
            return due
        if (closed := self._closed()) > 0:
            return closed
        for others_first in (True, False):
            for stage, run in self.stages.items():
                job = self._journal.jobs.claim(stage, self._target, others_first=others_first)
                if job is not None:
                    self._work(job, run)
                    return 0.0
        return IDLE_BEAT

    def _closed(self) -> float:
        """Return the seconds until everything that is needed may be tried; 0 means now."""
        for name in self._needs:
            if (closed := self._dependencies.open_for(name)) > 0:
                return closed
        return 0.0

    def _seconds_until_due(self) -> float:
        due = [self._journal.jobs.next_due(stage, self._target) for stage in self.stages]
        times = [at for at in due if at is not None]
        return max(0.0, min(times) - self._clock.now()) if times else IDLE_BEAT

    def _work(self, job: JobRow, run: StageRun) -> None:
        session = self._journal.sessions.get(job.session_id)
        assert session is not None
        log = _log.bind(
            root=session.root,
            session=show_path(session.path),
            eid=session.eid,
            job=job.id,
            kind=job.kind,
            stage=job.stage,
            attempt=job.attempts,
        )
        self.beat(f"{job.kind} {job.stage} of job {job.id}", 120.0)
        try:
            outcome = run(job, self.beat)
        except StoppedEarly:
            return  # still claimed by this life: the next one requeues it
        except Exception as error:
            outcome = outcome_of(error)
            if not isinstance(error, LabferryError):
                log.exception("unexpected")
            self._note_dependency(error)
        move = self._decide(job, outcome)
        try:
            moved = self._commit(job, run.finish, outcome, move)
        except Exception as error:
            # Not even the end could be written down as it is. A job that stayed claimed would be lost until a restart.
            log.exception("unexpected")
            outcome = outcome_of(error)
            move = self._decide(job, outcome)
            moved = self._commit(job, self._journal.jobs.finish_attempt, outcome, move)
        if moved is not None:
            self._tell(log, job, move, moved)
        self._wakeup.ring()

    def _decide(self, job: JobRow, outcome: Outcome) -> Move:
        return decide(job, outcome, self._clock.now(), random.random(), self._limits)  # noqa: S311 - jitter

    def _commit(self, job: JobRow, finish: Callable[[JobRow, Move], bool], outcome: Outcome, move: Move) -> bool | None:
        """Write down how the attempt ended; with a full state directory, go on trying until there is room.

        Returns None when the daemon stops before that: the next life repeats the attempt.
        """
        while True:
            try:
                with self._journal.together():
                    moved = finish(job, move)
                    if moved and isinstance(outcome, Waiting) and outcome.resettle:
                        self._journal.sessions.unsettle(job.session_id, outcome.why)
                    return moved
            except UnavailableError as error:
                self._note_dependency(error)
                heard = self._wakeup.rings
                if self._wakeup.stopping:
                    return None
                self.beat(f"waiting to write down the end of job {job.id}")
                self._wakeup.wait(heard, IDLE_BEAT)

    def _note_dependency(self, error: Exception) -> None:
        if not isinstance(error, UnavailableError) or error.dependency == JOURNAL:
            return  # the journal knows its own state
        if self._dependencies.went_down(error):
            said = {"dependency": error.dependency, "code": error.code, "why": error.message}
            _log.warning("dependency_down", **said, hint=error.hint)

    @staticmethod
    def _tell(log: structlog.typing.FilteringBoundLogger, job: JobRow, move: Move, moved: bool) -> None:
        """Write one line per transition; whatever a person must act on is a warning."""
        if not moved:
            log.info("superseded")
        elif move.state is JobState.BLOCKED:
            log.warning("blocked", code=move.code, why=move.reason, hint=move.hint)
        elif move.state is JobState.DONE:
            log.info("done")
        elif move.stage is not job.stage:
            log.info("stage_done", next=move.stage)
        else:
            log.info(move.outcome, code=move.code, why=move.reason)
