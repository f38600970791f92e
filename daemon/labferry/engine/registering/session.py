"""The session itself: found in Alyx and brought up to date, or created there by exactly one POST."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labferry.alyx.registration import registered_datasets
from labferry.alyx.sessions import (
    RemoteSession,
    create_session,
    delete_session,
    duplicate_session,
    get_session,
    owner,
    ownership,
    session_ids,
    update_session,
)
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.errors import BlockedError, NotYetError
from labferry.journal.rows import JobRow, SessionRow
from labferry.sessions.record import (
    Remark,
    SessionRecord,
    changes,
    create_body,
    not_typed_in,
    patch_body,
    session_users,
    wanted_fields,
    written,
)

SESSION_STEP = "session"
UPDATE_STEP = "update"
WITHDRAW_STEP = "withdraw"
OTHER_CREATOR_WAIT = 600.0  # seconds between looks for a session that another program or a person creates


class EnsureSession:
    """Bring a session, without its files, into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def __call__(self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark]) -> str:
        """Return the session's id in Alyx; create it when nobody did, bring it up to date when somebody did.

        What an operator may want to know is added to `remarks`.
        """
        found = self._only_one(job, session, remarks)
        if found is None:
            found = self._create(job, session, record, remarks)
        else:
            self._require_ours(session, found)
            found = self._update(job, session, record, found)
        self._context.journal.sessions.found_on_alyx(session.id, found.id)
        return found.id

    # --- finding ------------------------------------------------------------------------------------------

    def _only_one(self, job: JobRow, session: SessionRow, remarks: list[Remark]) -> RemoteSession | None:
        """Return the session, after taking back a second one that we created at the same moment as somebody else."""
        ids = session_ids(self._context.alyx, session.subject, session.date, session.number)
        if len(ids) > 1:
            ids = self._withdraw(job, session, ids, remarks)
        return get_session(self._context.alyx, ids[0]) if ids else None

    def _withdraw(self, job: JobRow, session: SessionRow, ids: list[str], remarks: list[Remark]) -> list[str]:
        """Delete the session that this job created and that nobody has used: another one was created meanwhile.

        Raises
        ------
        BlockedError
            `duplicate_session`: there is no such one, or too many others.
        """
        context = self._context
        problem = duplicate_session(session.subject, session.date, session.number, ids)
        step = context.journal.steps.get(job.id, SESSION_STEP)
        found = [get_session(context.alyx, eid) for eid in ids]
        mine = [one for one in found if step is not None and owner(one.json) == self._server]
        others = [one for one in found if owner(one.json) is None]
        if (len(mine), len(others)) != (1, 1) or session.registered_at is not None:
            raise problem
        doomed, left = mine[0].id, others[0].id
        if mine[0].fields.get("wateradmin_session_related") or registered_datasets(context.alyx, doomed):
            raise problem
        with outbox(context.journal.steps, job.id, WITHDRAW_STEP, {"id": doomed, "instead": left}):
            delete_session(context.alyx, doomed)
        context.journal.steps.answer(job.id, WITHDRAW_STEP, {"id": doomed})
        text = f"{problem.message}; ours was still empty and was deleted, {left} is used"
        remarks.append(Remark("concurrent_creator", text))
        return [left]

    def _require_ours(self, session: SessionRow, found: RemoteSession) -> None:
        other = owner(found.json)
        if other is not None and other != self._server:
            name = self._context.parsed(session).alyx_path
            raise BlockedError("owned_by_other_server", f"session {name} ({found.id}) was registered by server {other}")

    @property
    def _server(self) -> str:
        return self._context.config.server_name

    # --- creating -----------------------------------------------------------------------------------------

    def _create(self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark]) -> RemoteSession:
        context, steps = self._context, self._context.journal.steps
        name = context.parsed(session).alyx_path
        if record.passive and record.described:
            text = f"{name} has no task: a person or another program must create it in Alyx"
            raise NotYetError("no_eid", text, OTHER_CREATOR_WAIT)
        if not context.config.registration.create_sessions:
            raise NotYetError("session_not_on_alyx", f"Alyx has no session {name} yet", OTHER_CREATOR_WAIT)
        if steps.get(job.id, SESSION_STEP) is not None:
            # An earlier creation may still be on its way: two of them would be two sessions.
            self._patience.require_over(job.id, SESSION_STEP)
        assert session.lab is not None, "resolved before"
        subject = context.people.subject(session.subject)
        users = session_users(record.users, context.people.users(record.users), subject.responsible_user)
        remarks.extend(users.remarks)
        body = create_body(
            record, lab=session.lab, users=users.names, projects=subject.projects, own=ownership(self._server)
        )
        self._patience.sent(job.id, SESSION_STEP)
        with outbox(steps, job.id, SESSION_STEP, body):
            created = create_session(context.alyx, body)
        with context.journal.together():
            steps.answer(job.id, SESSION_STEP, {"id": created.id})
            context.journal.sessions.recorded(session.id, written({}, body, created.fields), created_here=True)
        ids = session_ids(context.alyx, session.subject, session.date, session.number)
        if ids != [created.id]:  # a second creator at the same moment shows now
            found = self._only_one(job, session, remarks)
            if found is None:
                raise NotYetError("answer_lost", f"Alyx does not show session {name} yet", 5.0)
            return self._update(job, session, record, found)
        return created

    # --- bringing up to date ------------------------------------------------------------------------------

    def _update(self, job: JobRow, session: SessionRow, record: SessionRecord, found: RemoteSession) -> RemoteSession:
        """Write what is ours to write: fields that hold what we wrote last, or nothing (ruling 12)."""
        context, steps = self._context, self._context.journal.steps
        if record.passive and record.described and (missing := not_typed_in(found.fields)):
            text = f"session {found.id} has no task and lacks what only a person can know: {', '.join(missing)}"
            raise NotYetError("session_incomplete", text, OTHER_CREATOR_WAIT)
        created_here = bool(session.created_here) or self._created(session, found)
        last = self._last_written(job, session, found)
        wanted = wanted_fields(record, users=(), projects=())
        delta = changes(last, wanted, found.fields)
        if delta:
            with outbox(steps, job.id, UPDATE_STEP, delta):
                found = update_session(context.alyx, found.id, patch_body(delta, found.fields))
            steps.answer(job.id, UPDATE_STEP, {"id": found.id})
        context.journal.sessions.recorded(session.id, written(last, delta, found.fields), created_here=created_here)
        return found

    def _created(self, session: SessionRow, found: RemoteSession) -> bool:
        """Say whether a POST of ours created it, whose answer was lost: our name is written by nothing else."""
        step = self._context.journal.steps.of_session(session.id, SESSION_STEP)
        return step is not None and owner(found.json) == self._server

    def _last_written(self, job: JobRow, session: SessionRow, found: RemoteSession) -> Mapping[str, object]:
        """Return what we wrote last, counting what was sent without an answer and has arrived."""
        last: Mapping[str, object] = json.loads(session.written)
        for name in (SESSION_STEP, UPDATE_STEP):
            step = self._context.journal.steps.get(job.id, name)
            if step is not None and step.answered_at is None:
                last = written(last, json.loads(step.request), found.fields)
        return last
