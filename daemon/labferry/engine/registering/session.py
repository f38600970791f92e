"""The session itself: found in Alyx, or created there by exactly one POST."""

from __future__ import annotations

from labferry.alyx.sessions import create_session, find_session, owner, session_record
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.errors import BlockedError, NotYetError
from labferry.journal.rows import JobRow, SessionRow

SESSION_STEP = "session"
OTHER_CREATOR_WAIT = 600.0  # seconds between looks for a session that another program creates


class EnsureSession:
    """Bring a session, without its files, into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def __call__(self, job: JobRow, session: SessionRow) -> str:
        """Return the session's id in Alyx; create it when nobody did."""
        context, steps = self._context, self._context.journal.steps
        parsed = context.parsed(session)
        assert session.lab is not None, "resolved before"
        server = context.config.server_name
        key = (session.subject, session.date, session.number)
        found = find_session(context.alyx, *key)
        if found is None:
            if not context.config.registration.create_sessions:
                raise NotYetError(
                    "session_not_on_alyx", f"Alyx has no session {parsed.alyx_path} yet", OTHER_CREATOR_WAIT
                )
            if steps.get(job.id, SESSION_STEP) is not None:
                # An earlier creation may still be on its way: two of them would be two sessions.
                self._patience.require_over(job.id, SESSION_STEP)
            record = session_record(parsed, lab=session.lab, user=context.config.alyx.username, server_name=server)
            self._patience.sent(job.id, SESSION_STEP)
            with outbox(steps, job.id, SESSION_STEP, record):
                created = create_session(context.alyx, record)
            steps.answer(job.id, SESSION_STEP, {"id": created.id})
            found = find_session(context.alyx, *key)  # a second creator at the same moment shows now
        if found is None:
            raise NotYetError("answer_lost", f"Alyx does not show session {parsed.alyx_path} yet", 5.0)
        other = owner(found.json)
        if other is not None and other != server:
            raise BlockedError(
                "owned_by_other_server", f"session {parsed.alyx_path} ({found.id}) was registered by server {other}"
            )
        context.journal.sessions.found_on_alyx(session.id, found.id)
        return found.id
