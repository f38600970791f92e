"""The stage: the session, its files, a look at the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from zoneinfo import ZoneInfo

from labferry.engine.context import ALYX, Context
from labferry.engine.registering.animals import EnsureAnimal, in_turn
from labferry.engine.registering.files import EnsureFiles
from labferry.engine.registering.hook import run_hook
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.session import SESSION_STEP, EnsureSession
from labferry.engine.resolve import require_key
from labferry.engine.seal import is_carried, require_nothing_new
from labferry.errors import BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Done, JobState, Outcome, show_path
from labferry.sessions.record import read_record

RECORD_STEP = "record"


class Register:
    """Bring one sealed session into Alyx."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._patience = Patience(context.clock, context.config.registration.resend_after)
        self._session = EnsureSession(context, self._patience)
        self._animal = EnsureAnimal(context, self._patience)
        self._files = EnsureFiles(context, self._patience)
        zone = context.config.alyx.timezone
        self._timezone = ZoneInfo(zone) if zone else None

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Ensure the session, ensure its files, look at the result."""
        context = self._context
        session = context.session_of(job)
        folder = context.folder_of(session)
        require_key(context, session)
        beat(f"registering {show_path(session.path)}", 10 * context.config.alyx.timeout)
        created_before = context.journal.steps.get(job.id, SESSION_STEP) is not None
        eid, refused = self._ensure_record(job, session, folder)
        context.reachable(ALYX)
        fresh = not created_before and self._created(job, eid)
        refused += self._files(job, session, folder, eid, beat, fresh=fresh)
        if not context.root_of(session).archive:  # otherwise this is looked at before archiving
            require_nothing_new(folder, lambda path: context.journal.files.at(session.id, path))
        if refused:
            context.journal.steps.drop(job.id, RECORD_STEP)  # whoever tries again looks at everything again
            raise refused_together(refused)
        run_hook(context, job, session, eid, beat)
        return Done()

    def _ensure_record(self, job: JobRow, session: SessionRow, folder: bytes) -> tuple[str, list[BlockedError]]:
        """Ensure the session with all that its folder says about it, once for each job; return its id and refusals."""
        context, steps = self._context, self._context.journal.steps
        done = steps.get(job.id, RECORD_STEP)
        if done is not None and done.answer is not None:
            return str(json.loads(done.answer)["id"]), []
        record = read_record(folder, context.parsed(session), timezone=self._timezone)
        remarks = list(record.remarks)
        eid = self._session(job, session, record, remarks)
        session = context.session_of(job)
        refused = []
        if context.config.registration.weights:
            refused += in_turn(lambda: self._animal.weighings(job, session, record, remarks))
        if context.config.registration.water:
            refused += in_turn(lambda: self._animal.waters(job, session, eid, record, remarks))
        with context.journal.together():
            context.journal.sessions.remark(session.id, remarks)
            if not refused:
                steps.send(job.id, RECORD_STEP, {"remarks": len(remarks)})
                steps.answer(job.id, RECORD_STEP, {"id": eid})
        return eid, refused

    def _created(self, job: JobRow, eid: str) -> bool:
        """Say whether this job created the session that it uses."""
        step = self._context.journal.steps.get(job.id, SESSION_STEP)
        return step is not None and step.answer is not None and json.loads(step.answer)["id"] == eid

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end; a finished registration adds the archive jobs in the same transaction."""
        context = self._context
        if move.state is not JobState.WAITING:
            self._patience.elapsed.forget(job.id)
        if move.state is not JobState.DONE:
            return context.journal.jobs.finish_attempt(job, move)
        session = context.session_of(job)
        root = context.root_of(session)
        files = context.journal.files.each(session.id)
        carried = sum(f.size for f in files if any(is_carried(f, context.config.archive[t]) for t in root.archive))
        return context.journal.jobs.complete_registration(job, move, root.archive, carried)


def refused_together(refused: list[BlockedError]) -> BlockedError:
    """Return one error for all files that could not be sent; the first one's code leads."""
    first = refused[0]
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return BlockedError(first.code, f"{first.message}{more}; all other files are registered", first.hint)
