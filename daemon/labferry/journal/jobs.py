"""Jobs in the journal: adding, claiming, moving on, and the operator's hand on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labferry import __version__
from labferry.errors import CODES
from labferry.journal.database import Database, load_queries
from labferry.journal.rows import JobRow
from labferry.model import Clock, JobKind, JobState, Stage

KEPT_ATTEMPTS = 20  # per job (ruling 23)
GIVES_WAY = 30.0  # seconds: a giant session gets a turn so often, however many small ones there are
_SQL = load_queries("jobs")


@dataclass(frozen=True, slots=True)
class Move:
    """Where a job goes after an attempt; made by the engine's policy.

    `outcome` is the attempt's own end (`done`, `waiting`, `retry`, `blocked`); `detail` may hold a traceback.
    """

    state: JobState
    stage: Stage
    not_before: float
    failures: int
    outages: int
    outcome: str
    code: str = ""
    reason: str = ""
    hint: str = ""
    detail: str = ""


class Jobs:
    """The job, attempt and instance tables.

    Parameters
    ----------
    database : Database
    clock : Clock
    instance : str
        This life of the daemon; what it claims is requeued by the next one.
    """

    def __init__(self, database: Database, clock: Clock, instance: str) -> None:
        self._db = database
        self._clock = clock
        self.instance = instance

    # --- lives of the daemon ------------------------------------------------------------------------------

    def begin_life(self) -> int:
        """Enter this instance, requeue what earlier ones left running; return how many stopped uncleanly."""
        values = {"instance": self.instance, "pid": os.getpid(), "version": __version__, "now": self._clock.now()}
        with self._db.write() as connection:
            unclean = int(connection.execute(_SQL["unclean_stops"], values).fetchone()[0])
            connection.execute(_SQL["begin_instance"], values)
            connection.execute(_SQL["lose_attempts"], values)
            connection.execute(_SQL["requeue_lost"], values)
            connection.execute(_SQL["settle_instances"], values)
        return unclean

    def show_life(self) -> None:
        """Write the instance's row again: a write that changes nothing."""
        self._execute("show_life", instance=self.instance)

    def end_life(self) -> None:
        """Record a clean stop."""
        self._execute("end_instance", instance=self.instance)

    def clamp_delays(self, longest: float) -> None:
        """Pull in waits that end later than `longest` seconds from now (the wall clock was set back)."""
        self._execute("clamp", latest=self._clock.now() + longest)

    # --- reading ------------------------------------------------------------------------------------------

    def get(self, job_id: int) -> JobRow:
        """Return a job.

        Raises
        ------
        KeyError
            There is none with this id.
        """
        rows = self._rows("get", id=job_id)
        if not rows:
            raise KeyError(job_id)
        return rows[0]

    def of_session(self, session_id: int) -> list[JobRow]:
        """Return all jobs of a session, oldest first."""
        return self._rows("of_session", session_id=session_id)

    def live_of_session(self, session_id: int) -> list[JobRow]:
        """Return the unfinished jobs of a session."""
        return self._rows("live_of_session", session_id=session_id)

    def unfinished(self) -> list[JobRow]:
        """Return all unfinished jobs."""
        return self._rows("unfinished")

    def in_state(self, state: JobState) -> list[JobRow]:
        """Return the newest jobs in a state."""
        return self._rows("in_state", state=state)

    def counts(self) -> dict[str, int]:
        """Return the number of unfinished jobs per state."""
        return {row["state"]: row["jobs"] for row in self._db.read(_SQL["counts"])}

    def oldest_waiting(self) -> float | None:
        """Return when the oldest queued or waiting job was created."""
        created: float | None = self._db.read(_SQL["oldest_waiting"])[0][0]
        return created

    def blocked_since(self) -> float | None:
        """Return since when the first of the blocked jobs is blocked, None when none is."""
        since: float | None = self._db.read(_SQL["blocked_since"])[0][0]
        return since

    def late(self, before: float) -> list[Mapping[str, Any]]:
        """Return targets, number of sessions and oldest start of archive jobs that were there before `before`.

        Jobs that wait for anything but the arrival of their files are not counted.
        """
        return [dict(row) for row in self._db.read(_SQL["late"], {"before": before})]

    def attempts(self, job_id: int) -> list[Mapping[str, Any]]:
        """Return the kept attempts of a job, oldest first."""
        return [dict(row) for row in self._db.read(_SQL["attempts"], {"job_id": job_id})]

    # --- work ---------------------------------------------------------------------------------------------

    def add(
        self,
        session_id: int,
        kind: JobKind,
        *,
        stage: Stage,
        target: str = "",
        state: JobState = JobState.QUEUED,
        bytes_left: int = 0,
        code: str = "",
        reason: str = "",
        hint: str = "",
        options: str = "",
    ) -> None:
        """Add a job for the session's current generation; `options` are what an operator asked for, as JSON."""
        self._execute(
            "insert",
            session_id=session_id,
            kind=kind,
            target=target,
            stage=stage,
            state=state,
            bytes_left=bytes_left,
            code=code,
            reason=reason,
            hint=hint,
            options=options,
        )

    def options_of(self, session_id: int) -> str:
        """Return what an operator asked for with a registration that is not finished; empty without one."""
        live = self.live_of_session(session_id)
        return next((job.options for job in live if job.kind is JobKind.REGISTER), "")

    def supersede(self, session_id: int) -> None:
        """End the unfinished jobs of a session: a newer generation takes over."""
        self._execute("supersede", session_id=session_id)

    def claim(self, stage: Stage, target: str = "", *, others_first: bool = False) -> JobRow | None:
        """Take the next due job of a stage, least remaining work first, and begin an attempt.

        With `others_first` none is taken that gave way less than `GIVES_WAY` seconds ago (ruling 19).
        """
        values = {"stage": stage, "target": target, "instance": self.instance, "now": self._clock.now()}
        order = {"others_first": others_first, "gives_way": GIVES_WAY}
        with self._db.write() as connection:
            claimed = connection.execute(_SQL["claim"], {**values, **order}).fetchall()
            if not claimed:
                return None
            job = JobRow.of(claimed[0])
            connection.execute(_SQL["begin_attempt"], {"id": job.id, "number": job.attempts, **values})
        return job

    def next_due(self, stage: Stage, target: str = "") -> float | None:
        """Return when the next job of a stage is due, None when there is none."""
        due: float | None = self._db.read(_SQL["next_due"], {"stage": stage, "target": target})[0][0]
        return due

    def is_over(self, job_id: int) -> bool:
        """Say whether a claimed job is not ours any more: cancelled, superseded, or its session is held."""
        return bool(self._db.read(_SQL["is_over"], {"id": job_id})[0][0])

    def is_overtaken(self, job_id: int) -> bool:
        """Say whether another job of the same stage and target is due and would be claimed before this one."""
        return bool(self._db.read(_SQL["is_overtaken"], {"id": job_id, "now": self._clock.now()})[0][0])

    def finish_attempt(self, job: JobRow, move: Move) -> bool:
        """End the running attempt and move the job.

        Returns
        -------
        bool
            False when the job was superseded meanwhile; only the attempt is closed then.
        """
        now = self._clock.now()
        with self._db.write() as connection:
            attempt = {"id": job.id, "number": job.attempts}
            connection.execute(
                _SQL["end_attempt"],
                {**attempt, "now": now, "outcome": move.outcome, "code": move.code, "detail": move.detail},
            )
            if job.attempts > KEPT_ATTEMPTS:
                connection.execute(_SQL["trim_attempts"], {**attempt, "kept": KEPT_ATTEMPTS})
            moved = connection.execute(
                _SQL["move"],
                {
                    "id": job.id,
                    "instance": self.instance,
                    "state": move.state,
                    "stage": move.stage,
                    "not_before": move.not_before,
                    "failures": move.failures,
                    "outages": move.outages,
                    "code": move.code,
                    "reason": move.reason,
                    "hint": move.hint,
                    "now": now,
                },
            )
        return moved.rowcount == 1

    def complete_registration(
        self, job: JobRow, move: Move, targets: Sequence[str], bytes_left: int, options: str = ""
    ) -> bool:
        """End a register job, or let it wait for its archive jobs, and add those, in one transaction (ruling 21).

        Those that are there already are left as they are; `options` are what an operator asked for, as JSON.
        """
        with self._db.write():
            if not self.finish_attempt(job, move):
                return False
            known = {one.target for one in self.of_generation(job.session_id, JobKind.ARCHIVE)}
            for target in targets:
                if target not in known:
                    self.add(
                        job.session_id,
                        JobKind.ARCHIVE,
                        target=target,
                        stage=Stage.SEAL,
                        bytes_left=bytes_left,
                        options=options,
                    )
        return True

    def align_archives(self, root: str, targets: Sequence[str], *, registers: bool) -> None:
        """Make the archive jobs of a root those that the configuration asks for now.

        Sessions that are ready get a job for a target that is new. Unfinished jobs for a target that the root does not
        name any more are superseded, and so are registrations of a root that is not registered any more.
        """
        with self._db.write():
            if not registers:
                reason = f"root {root} is not registered any more"
                self._execute("supersede_unasked", root=root, kind=JobKind.REGISTER, target="", reason=reason)
            for row in self._db.read(_SQL["targets_of_root"], {"root": root}):
                if (target := row["target"]) not in targets:
                    reason = f"root {root} does not name archive {target} any more"
                    self._execute("supersede_unasked", root=root, kind=JobKind.ARCHIVE, target=target, reason=reason)
            for target in targets:
                self._execute("add_missing_archives", root=root, target=target, registers=registers)

    def park(self, root: str, code: str, reason: str) -> None:
        """Let all jobs of a root wait for one reason: no lane may be there to find it out."""
        self._execute("park", root=root, code=code, reason=reason, hint=CODES[code].hint)

    def set_bytes_left(self, job_id: int, bytes_left: int) -> None:
        """Store the remaining work of a job, which decides its turn."""
        self._execute("set_bytes_left", id=job_id, bytes_left=bytes_left)

    def of_generation(self, session_id: int, kind: JobKind) -> list[JobRow]:
        """Return the jobs of one kind for the session's current generation that none has superseded."""
        return self._rows("of_generation", session_id=session_id, kind=kind)

    def ask(self, job_id: int, options: str) -> None:
        """Note what an operator asks of an unfinished job, as JSON; counts from its next attempt on."""
        self._execute("ask", id=job_id, options=options)

    def hurry_session(self, session_id: int, code: str) -> None:
        """Make the jobs of a session that wait for this reason due now."""
        self._execute("hurry_session", session_id=session_id, code=code)

    def hurry(self, code: str) -> None:
        """Make the jobs that wait for this reason due now: what they waited for is back."""
        self._execute("hurry", code=code)

    def hurry_one(self, session_id: int, code: str) -> None:
        """Make the jobs of a session that wait for this reason due now."""
        self._execute("hurry_one", session_id=session_id, code=code)

    def revive(self, job_id: int) -> bool:
        """Queue a waiting, blocked or cancelled job again; False when it is in none of these states."""
        return self._execute("revive", id=job_id) == 1

    def revive_blocked(self, target: str, code: str, but: Iterable[bytes]) -> int:
        """Queue the jobs of a target again that are blocked for a reason that is no more; return how many.

        It still is for what goes to the folders `but`.
        """
        folders = json.dumps([folder.hex() for folder in but])
        return self._execute("revive_blocked", target=target, code=code, but=folders)

    def cancel(self, job_id: int, reason: str) -> bool:
        """End an unfinished job of this generation for good; False when it was finished.

        An attempt that runs is not interrupted; what it finds is not acted upon.
        """
        return self._execute("cancel", id=job_id, reason=reason) == 1

    # --- plumbing -----------------------------------------------------------------------------------------

    def _rows(self, query: str, **values: Any) -> list[JobRow]:
        return [JobRow.of(row) for row in self._db.read(_SQL[query], values)]

    def _execute(self, query: str, **values: Any) -> int:
        with self._db.write() as connection:
            return connection.execute(_SQL[query], {**values, "now": self._clock.now()}).rowcount
