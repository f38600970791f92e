"""The session itself: found in Alyx and brought up to date, or created there by exactly one POST."""

from __future__ import annotations

import json
from typing import NamedTuple

from labferry.alyx.sessions import (
    RemoteSession,
    create_session,
    duplicate_session,
    look_for_id,
    owner,
    ownership,
    session_ids,
)
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.update import UpdateSession, with_known_location
from labferry.engine.registering.withdraw import SESSION_STEP, Withdraw
from labferry.errors import BlockedError, NotYetError
from labferry.journal.rows import JobRow, SessionRow, StepRow
from labferry.sessions.record import Remark, SessionRecord, create_body, session_users, written

OTHER_CREATOR_WAIT = 600.0  # seconds between looks for a session that another program or a person creates


class Ensured(NamedTuple):
    """A session that is in Alyx; `fresh`: this attempt has just created it, so that nothing hangs on it."""

    eid: str
    fresh: bool


class EnsureSession:
    """Bring a session, without its files, into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience
        self._withdraw = Withdraw(context)
        self._update = UpdateSession(context, patience)

    def __call__(self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark]) -> Ensured:
        """Return the session in Alyx; create it when nobody did, bring it up to date when somebody did.

        What an operator may want to know is added to `remarks`.
        """
        found = self._find(session, remarks)
        if found is None:
            created = self._create(job, session, record, remarks)
            session = self._context.session_of(job)
            found = self._find_again(session, created, remarks)
            if found is None:
                return Ensured(created, fresh=True)
        self._update(job, session, record, found, remarks)
        return Ensured(found.id, fresh=False)

    # --- finding ------------------------------------------------------------------------------------------

    def _find(self, session: SessionRow, remarks: list[Remark]) -> RemoteSession | None:
        """Return the only session of this subject, date and number in Alyx, None if there is none."""
        alyx = self._context.alyx
        ids = session_ids(alyx, session.subject, session.date, session.number)
        if len(ids) > 1:
            problem = duplicate_session(session.subject, session.date, session.number, ids)
            ids = [self._withdraw(session, ids, problem)]
        if not ids:
            self._require_gone(session)
            return None
        found = look_for_id(alyx, ids[0])
        if found is None:
            raise NotYetError("session_not_on_alyx", f"session {ids[0]} was deleted just now", 5.0)
        remarks.extend(self._withdraw.remarks(session, found))
        self._require_ours(session, found)
        self._answer_creation(session, found)
        return found

    def _find_again(self, session: SessionRow, created: str, remarks: list[Remark]) -> RemoteSession | None:
        """Look once more after a creation: a second creator at the same moment shows now; None if there was none."""
        ids = session_ids(self._context.alyx, session.subject, session.date, session.number)
        if ids == [created]:
            return None
        found = self._find(session, remarks)
        if found is None:
            raise NotYetError("session_not_on_alyx", f"session {created} was deleted just now", 5.0)
        return found

    def _require_ours(self, session: SessionRow, found: RemoteSession) -> None:
        other = owner(found.json)
        if other is not None and other != self._server:
            text = f"session {self._name(session)} ({found.id}) was registered by server {other}"
            raise BlockedError("owned_by_other_server", text)

    def _require_gone(self, session: SessionRow) -> None:
        """Make sure that a session which was in Alyx is not there under another subject, date or number.

        Raises
        ------
        BlockedError
            `session_differs`: somebody corrected it there, and a second one must not be created.
        NotYetError
            `files_in_flight`: Alyx has it, and does not list it yet.
        """
        if session.eid is None or (there := look_for_id(self._context.alyx, session.eid)) is None:
            return
        name, day = self._name(session), there.start_time[:10]
        if (there.subject, day, there.number) == (session.subject, session.date, session.number):
            raise NotYetError("files_in_flight", f"Alyx has session {name} ({there.id}) and does not list it", 5.0)
        as_there = f"subject {there.subject}, {day or 'no date'}, number {there.number}"
        raise BlockedError("session_differs", f"session {name} ({there.id}) is in Alyx as {as_there}")

    def _answer_creation(self, session: SessionRow, found: RemoteSession) -> None:
        """Say what became of a creation whose answer was lost; our name is written by nothing but our POST.

        Raises
        ------
        NotYetError
            `files_in_flight`: somebody else's session is there, and ours may still be on its way.
        """
        steps = self._context.journal.steps
        for step in steps.unanswered(session.id, SESSION_STEP):
            if owner(found.json) == self._server:
                with self._context.journal.together():
                    steps.answer(step.job_id, step.name, {"id": found.id})
                    self._created(session, json.loads(step.request), found)
            else:
                self._patience.require_over(step.job_id, step.name)
                steps.drop(step.job_id, step.name)

    # --- creating -----------------------------------------------------------------------------------------

    def _create(self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark]) -> str:
        """Create the session, once it is certain that nobody else shall and that no creation is on its way."""
        context = self._context
        name = self._name(session)
        if record.passive and record.described:
            text = f"{name} has no task: a person or another program must create it in Alyx"
            raise NotYetError("no_eid", text, OTHER_CREATOR_WAIT)
        if not context.config.registration.create_sessions:
            raise NotYetError("session_not_on_alyx", f"Alyx has no session {name} yet", OTHER_CREATOR_WAIT)
        lost = context.journal.steps.unanswered(session.id, SESSION_STEP)
        for step in lost:  # two of them would be two sessions
            self._patience.require_over(step.job_id, step.name)
        assert session.lab is not None, "resolved before"
        subject = context.people.subject(session.subject)
        users = session_users(record.users, context.people.users(record.users), subject.responsible_user)
        remarks.extend(users.remarks)
        own = ownership(self._server)
        body = create_body(record, lab=session.lab, users=users.names, projects=subject.projects, own=own)
        return with_known_location(body, remarks, lambda fields: self._post(job, session, fields, lost)).id

    def _post(self, job: JobRow, session: SessionRow, body: dict[str, object], lost: list[StepRow]) -> RemoteSession:
        """Send the one request; `lost` are earlier ones, which certainly did not arrive."""
        context, steps = self._context, self._context.journal.steps
        for step in lost:
            steps.drop(step.job_id, step.name)
        self._patience.sent(job.id, SESSION_STEP)
        with outbox(steps, job.id, SESSION_STEP, body, repeatable=False):
            created = create_session(context.alyx, body)
        self._patience.answered(job.id, SESSION_STEP)
        with context.journal.together():
            steps.answer(job.id, SESSION_STEP, {"id": created.id})
            self._created(session, body, created)
        return created

    def _created(self, session: SessionRow, body: dict[str, object], created: RemoteSession) -> None:
        last = written({}, body, created.fields)
        self._context.journal.sessions.recorded(session.id, created.id, last, created_here=True)

    # --- words --------------------------------------------------------------------------------------------

    def _name(self, session: SessionRow) -> str:
        return self._context.parsed(session).alyx_path

    @property
    def _server(self) -> str:
        return self._context.config.server_name
