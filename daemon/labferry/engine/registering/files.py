"""The files of a session: what Alyx lacks is posted in chunks, what it has is adopted, what it refuses is named."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable

from labferry.alyx.file_records import mark_exists
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.giving_way import give_way
from labferry.engine.registering.chunks import FILES_STEP, Chunks, DoubledRowsError
from labferry.engine.registering.looking import Look, conflict
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.plan import Plan, Plans
from labferry.engine.registering.repair import Repair
from labferry.engine.registering.wish import Wish
from labferry.engine.replacing.order import LOOK_AGAIN, REPLACING
from labferry.engine.replacing.permission import Permission
from labferry.errors import BlockedError, ChangedError, NotYetError, UnexplainedError
from labferry.journal.rows import FileRow, JobRow, SessionRow, StepRow
from labferry.model import Stage, show_path

LOOK_STEP = "look"
AGAIN = 10.0  # seconds after a failure that Alyx does not explain, where others before it were no failures
LANE = (Stage.REGISTER, Stage.RESOLVE)
Beat = Callable[[str, float], None]


class EnsureFiles:
    """Bring the datasets of a session into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience
        self._chunks = Chunks(context, patience)
        self._repair = Repair(context, patience)
        self._plans = Plans(context.clock)

    def __call__(
        self, job: JobRow, session: SessionRow, folder: bytes, eid: str, beat: Beat, *, fresh: bool
    ) -> list[BlockedError]:
        """Post what Alyx lacks, chunk by chunk; return why files were left out.

        Parameters
        ----------
        job, session : JobRow, SessionRow
        folder : bytes
            The session's, absolute.
        eid : str
            The session's id in Alyx.
        beat : callable
        fresh : bool
            This attempt has just created the session: Alyx has nothing of it.

        Raises
        ------
        NotYetError
            `files_left`: others go first; `files_in_flight`: a request may be on its way, or has not quite arrived;
            `orphan_young`: a row must become older before it is known what it is; `replacing`: what is left is sent
            when the archives hold it.
        """
        plan = self._plans.take(job.id) or self._plan(job, session, eid, beat, fresh=fresh)
        began_with = plan.files_left
        while plan.unmarked or plan.files_left:
            try:
                self._next(job, session, folder, plan, beat)
            except DoubledRowsError:
                plan = self._plan(job, session, eid, beat, searched=True)
            except UnexplainedError as error:
                if plan.files_left == began_with:
                    raise
                # Not one of many failures in a row: a giant session meets some on its way.
                raise NotYetError(error.code, error.message, AGAIN) from error
            self._give_way(job, plan)
        if plan.uncertain:
            self._check(session, eid, plan, beat)
        if plan.young and not plan.refused:
            why = f"{len(plan.young)} files of {show_path(session.path)}; all others are registered"
            raise NotYetError("orphan_young", why, max(plan.young.values()))
        if plan.replacing and not plan.refused:
            why = f"{len(plan.replacing)} files of {show_path(session.path)} are brought to the archives first"
            raise NotYetError(REPLACING, why, LOOK_AGAIN)
        return plan.refused.errors()

    # --- planning -----------------------------------------------------------------------------------------

    def _plan(
        self, job: JobRow, session: SessionRow, eid: str, beat: Beat, *, fresh: bool = False, searched: bool = False
    ) -> Plan:
        """Look at Alyx and list what is to be done; `searched`: it has complained of doubled rows."""
        wish = Wish.from_json(job.options)
        permission = Permission(self._context, session, Asked.from_json(job.options))
        open_steps = self._require_time_over(session)
        look = Look(
            self._context,
            session,
            lambda file: wish.wants_again(file, job.created_at),
            permission=permission,
            sent={mark for step in open_steps for mark in json.loads(step.request).get("hashes", ())},
        )
        if open_steps or not fresh:
            look.at(eid, self._beat(session, beat))
        if open_steps:
            self._require_still(job, open_steps, look.fingerprint)
        plan = Plan(
            look.unmarked, look.ratings, replacing=look.later, uncertain=bool(open_steps) or searched, searched=searched
        )
        for file in look.doubled.values():
            self._reduce(job, eid, file, look, plan)
        self._list(session, wish, look, plan)
        self._context.journal.jobs.set_bytes_left(job.id, plan.bytes_left)
        return plan

    def _require_time_over(self, session: SessionRow) -> list[StepRow]:
        """Return what was sent without an answer, if Alyx has had its time to carry it out (ruling 13)."""
        steps = self._context.journal.steps.unanswered(session.id, f"{FILES_STEP}:")
        for step in steps:
            self._patience.require_over(step.job_id, step.name)
        return steps

    def _require_still(self, job: JobRow, sent: list[StepRow], fingerprint: str) -> None:
        """Forget what was sent without an answer, once two looks in a row have seen the same (ruling 13)."""
        steps = self._context.journal.steps
        seen = f"{sent[0].name} {fingerprint}"
        look = steps.get(job.id, LOOK_STEP)
        wait = self._context.config.registration.resend_look_every
        if look is None or look.request != json.dumps(seen):
            steps.send(job.id, LOOK_STEP, seen)
            self._patience.sent(job.id, LOOK_STEP)
        else:
            wait -= self._patience.elapsed.seconds(job.id, LOOK_STEP)
        if wait > 0:
            raise NotYetError("files_in_flight", "watching what becomes of the last request", wait)
        with self._context.journal.together():
            for step in sent:
                steps.drop(step.job_id, step.name)
            steps.drop(job.id, LOOK_STEP)

    def _reduce(self, job: JobRow, eid: str, file: FileRow, look: Look, plan: Plan) -> None:
        """Bring the rows of a file down to one, and decide about the file by that one."""
        plan.uncertain = True
        try:
            left = self._repair(job, eid, file)
        except BlockedError as error:
            plan.refused.add(error, file.id)
        except NotYetError as error:
            plan.young[file.id] = error.after
        else:
            if left is not None:
                look.compare(file, left)

    def _list(self, session: SessionRow, wish: Wish, look: Look, plan: Plan) -> None:
        """List the files that are to be sent: those first that somebody asked for."""
        others = array("q")
        for file in self._context.journal.files.each_dataset(session.id):
            if file.id in look.conflicts:
                plan.refused.add(conflict(file, *look.conflicts[file.id]), file.id)
            if file.id in look.same or file.id in look.later or file.id in plan.refused or file.id in plan.young:
                continue
            if file.taken_over and file.registered_hash:
                self._context.journal.backlog.forget_taken_over(session.id)
                raise ChangedError(file.path, "is not in Alyx any more as it was when it was taken over from there")
            (plan.todo if wish.is_about(file.path) else others).append(file.id)
            plan.bytes_left += file.size
        plan.todo += others

    # --- doing --------------------------------------------------------------------------------------------

    def _next(self, job: JobRow, session: SessionRow, folder: bytes, plan: Plan, beat: Beat) -> None:
        """Do as much as may be done without looking up."""
        settings = self._context.config.registration
        what, patience = show_path(session.path), 3 * self._context.config.alyx.timeout
        if plan.unmarked:
            # Posting the same hash again would not change it.
            for record in plan.unmarked[-settings.chunk :]:
                beat(f"telling Alyx that {len(plan.unmarked)} files of {what} are here", patience)
                mark_exists(self._context.alyx, record)
            del plan.unmarked[-settings.chunk :]
            return
        files = self._context.journal.files.with_ids(plan.chunk(settings.chunk))
        beat(f"registering {what}, files left: {plan.files_left}", patience)
        self._chunks.send(job, session, folder, files, plan)
        plan.sent(len(files), sum(file.size for file in files))
        self._context.journal.jobs.set_bytes_left(job.id, plan.bytes_left)

    def _give_way(self, job: JobRow, plan: Plan) -> None:
        if not (plan.unmarked or plan.files_left):
            return
        try:
            give_way(self._context, job, LANE, f"files left: {plan.files_left}")
        except NotYetError:
            self._plans.keep(job.id, plan)
            raise

    def _check(self, session: SessionRow, eid: str, plan: Plan, beat: Beat) -> None:
        """Look at the result: every file that was not left out is in Alyx with the hash it has here."""
        look = Look(self._context, session)
        look.at(eid, self._beat(session, beat))
        missing, first = 0, b""
        for file in self._context.journal.files.each_dataset(session.id):
            left_out = file.id in plan.refused or file.id in plan.young or file.id in plan.replacing
            if not (file.id in look.same or left_out):
                missing += 1
                first = first or file.path
        if missing:
            why = f"{missing} files are not in Alyx as they are here yet: {show_path(first)}, …"
            raise NotYetError("files_in_flight", why, 5.0)

    def _beat(self, session: SessionRow, beat: Beat) -> Callable[[], None]:
        return lambda: beat(f"looking at {show_path(session.path)} in Alyx", 3 * self._context.config.alyx.timeout)
