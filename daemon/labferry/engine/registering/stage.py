"""The stage: the session, its files, a look at the result."""

from __future__ import annotations

from collections.abc import Callable

from labferry.engine.asked import Asked
from labferry.engine.context import ALYX, Context
from labferry.engine.registering.files import EnsureFiles
from labferry.engine.registering.hook import run_hook
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.record import EnsureRecord
from labferry.engine.replacing.order import REPLACING
from labferry.engine.replacing.permission import filled_by_us
from labferry.engine.resolve import require_key
from labferry.engine.seal import is_carried, require_nothing_new
from labferry.errors import BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow
from labferry.model import Done, JobState, Outcome


class Register:
    """Bring one sealed session into Alyx."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._patience = Patience(context.clock, context.config.registration.resend_after)
        self._record = EnsureRecord(context, self._patience)
        self._files = EnsureFiles(context, self._patience)

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Ensure the session, ensure its files, look at the result."""
        context = self._context
        session = context.session_of(job)
        folder = context.folder_of(session)
        require_key(context, session)
        eid, fresh, refused = self._record(job, session, folder, beat)
        context.reachable(ALYX)
        refused += self._files(job, session, folder, eid, beat, fresh=fresh)
        if not context.root_of(session).archive:  # otherwise this is looked at before archiving
            require_nothing_new(folder, lambda path: context.journal.files.at(session.id, path))
        if refused:
            raise refused_together(refused)
        run_hook(context, self._patience.elapsed, job, session, eid, beat)
        return Done()

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end; what follows in the archives is added in the same transaction.

        A finished registration adds all archive jobs. One that waits until the archives hold what replaces their files
        adds those of the archives that we fill ourselves.
        """
        context = self._context
        if move.state is not JobState.WAITING:
            self._patience.elapsed.forget(job.id)
        if move.state is JobState.BLOCKED:
            self._record.forget(job)
        is_replacing = move.state is JobState.WAITING and move.code == REPLACING
        if move.state is not JobState.DONE and not is_replacing:
            return context.journal.jobs.finish_attempt(job, move)
        session = context.session_of(job)
        root = context.root_of(session)
        targets = filled_by_us(context, root) if is_replacing else root.archive
        files = context.journal.files.each(session.id)
        carried = sum(f.size for f in files if any(is_carried(f, context.config.archive[t]) for t in targets))
        options = Asked.from_json(job.options).added_to("")
        with context.journal.together():
            moved = context.journal.jobs.complete_registration(job, move, targets, carried, options)
            if move.state is JobState.DONE:
                context.journal.jobs.hurry_session(session.id, REPLACING)
            return moved


def refused_together(refused: list[BlockedError]) -> BlockedError:
    """Return one error for all that could not be sent; the first one's code leads."""
    first = refused[0]
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return BlockedError(first.code, f"{first.message}{more}; all else is registered", first.hint)
