"""A session that is in Alyx brought up to date: what is ours to write, and nothing that a person typed (ruling 12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from labferry.alyx.answers import UnknownNameError
from labferry.alyx.sessions import RemoteSession, update_session
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.errors import NotYetError
from labferry.journal.rows import JobRow, SessionRow
from labferry.sessions.record import (
    Remark,
    SessionRecord,
    changes,
    has_arrived,
    not_typed_in,
    patch_body,
    wanted_fields,
    written,
)

UPDATE_STEP = "update"
PERSON_WAIT = 600.0  # seconds between looks for what a person fills in
_Answer = TypeVar("_Answer")


class UpdateSession:
    """Write the fields of a session that hold what we wrote last, or nothing."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def __call__(
        self, job: JobRow, session: SessionRow, record: SessionRecord, found: RemoteSession, remarks: list[Remark]
    ) -> None:
        """Bring a session up to date with at most one PATCH, and record what we wrote.

        Raises
        ------
        NotYetError
            `session_incomplete`: it lacks what only a person can know; `files_in_flight`: an earlier PATCH may still
            be on its way.
        """
        if record.passive and record.described and (missing := not_typed_in(found.fields)):
            text = f"session {found.id} has no task and lacks what only a person can know: {', '.join(missing)}"
            raise NotYetError("session_incomplete", text, PERSON_WAIT)
        session = self._context.session_of(job)
        is_known = session.eid == found.id  # otherwise what was written last was written into another one
        last: dict[str, object] = json.loads(session.written) if is_known else {}
        created_here = is_known and bool(session.created_here)
        if created_here:
            remarks.extend(_missing_users(record, found))
            remarks.extend(self._side_effects(last, found))
        steps = self._context.journal.steps
        lost = steps.unanswered(session.id, UPDATE_STEP)
        for step in lost:
            last = written(last, json.loads(step.request), found.fields)
        delta = changes(last, wanted_fields(record, users=(), projects=()), found.fields)
        if delta:
            for step in lost:  # what arrives late would undo what is written now
                if not has_arrived(json.loads(step.request), found.fields):
                    self._patience.require_over(step.job_id, step.name)
            delta, found = with_known_location(delta, remarks, lambda fields: self._patch(job, fields, found))
        with self._context.journal.together():
            for step in lost:
                if not delta or step.job_id != job.id:
                    steps.drop(step.job_id, step.name)
            if delta:
                steps.answer(job.id, UPDATE_STEP, {"id": found.id})
            last = written(last, delta, found.fields)
            self._context.journal.sessions.recorded(session.id, found.id, last, created_here=created_here)

    def _patch(
        self, job: JobRow, delta: dict[str, object], found: RemoteSession
    ) -> tuple[dict[str, object], RemoteSession]:
        if not delta:
            return delta, found
        self._patience.sent(job.id, UPDATE_STEP)
        with outbox(self._context.journal.steps, job.id, UPDATE_STEP, delta):
            return delta, update_session(self._context.alyx, found.id, patch_body(delta, found.fields))

    def _side_effects(self, last: Mapping[str, object], found: RemoteSession) -> list[Remark]:
        """Say what Alyx itself added to a session that we created; it is never undone.

        That whoever registers files becomes one of the session's users is known, and not worth a word.
        """
        ours = last.get("users")
        known = {*ours, self._context.config.alyx.username} if isinstance(ours, list) else set(found.users)
        added = [user for user in found.users if user not in known]
        told = [f"users {', '.join(added)}"] if added else []
        if found.fields.get("parent_session"):
            told.append(f"parent session {str(found.fields['parent_session'])[-36:]}")
        return [Remark("added_in_alyx", f"Alyx or a person added {' and '.join(told)}; left as it is")] if told else []


def with_known_location(
    body: dict[str, object], remarks: list[Remark], send: Callable[[dict[str, object]], _Answer]
) -> _Answer:
    """Send fields of a session; without the location if that is the only name which Alyx does not know.

    A rig that nobody entered in Alyx is no reason to lose a session; a project or a procedure is a person's to correct.
    """
    try:
        return send(body)
    except UnknownNameError as error:
        if error.fields != {"location"}:
            raise
    text = f"Alyx does not know the location {body['location']}; the session has none"
    remarks.append(Remark("unknown_location", text))
    return send({key: value for key, value in body.items() if key != "location"})


def _missing_users(record: SessionRecord, found: RemoteSession) -> list[Remark]:
    """Say who ran the tasks and is, in a session that we created, still not one of its users."""
    missing = [user for user in record.users if user not in found.users]
    text = f"{', '.join(missing)} ran the task and is not a user of the session in Alyx"
    return [Remark("unknown_recorder", text)] if missing else []
