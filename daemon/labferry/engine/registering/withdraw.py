"""Two creators at one moment: the session that we created meanwhile is taken back (ruling 9)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from labferry.alyx.sessions import RemoteSession, delete_session, get_session, owner, used_for
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.errors import BlockedError
from labferry.journal.rows import SessionRow
from labferry.sessions.record import Remark

SESSION_STEP = "session"
WITHDRAW_STEP = "withdraw"


class Withdraw:
    """Leave one session where another program, which knows nothing of us, created it too."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, session: SessionRow, ids: Sequence[str], problem: BlockedError) -> str:
        """Delete the session that we created and that nobody has used yet; return the id of the other one.

        Raises
        ------
        BlockedError
            `problem`: ours is not the only one that may go, or is in use; a person must choose.
        """
        context, steps = self._context, self._context.journal.steps
        created = steps.of_session(session.id, SESSION_STEP)
        found = [get_session(context.alyx, eid) for eid in ids]
        mine = [one for one in found if owner(one.json) == context.config.server_name]
        others = [one for one in found if owner(one.json) is None]
        if created is None or (len(mine), len(others)) != (1, 1) or len(found) != 2:
            raise problem
        doomed, left = mine[0], others[0]
        if used := used_for(context.alyx, doomed):
            text = f"{problem.message}; ours, {doomed.id}, has {', '.join(used)} already"
            raise BlockedError(problem.code, text, problem.hint)
        why = f"{problem.message}; ours was still empty and was deleted, {left.id} is used"
        with outbox(steps, created.job_id, WITHDRAW_STEP, {"id": doomed.id, "instead": left.id, "why": why}):
            delete_session(context.alyx, doomed.id)
        with context.journal.together():
            steps.answer(created.job_id, WITHDRAW_STEP, {"id": doomed.id})
            steps.answer(created.job_id, SESSION_STEP, {"id": doomed.id})  # it had arrived, also if its answer was lost
        return left.id

    def remarks(self, session: SessionRow, found: RemoteSession) -> list[Remark]:
        """Say that one was taken back; also after a kill, and for as long as the other one is the session."""
        step = self._context.journal.steps.of_session(session.id, WITHDRAW_STEP)
        request = {} if step is None else json.loads(step.request)
        return [Remark("concurrent_creator", request["why"])] if request.get("instead") == found.id else []
