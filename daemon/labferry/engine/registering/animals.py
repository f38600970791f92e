"""What the tasks of a session say about the animal: each weighing and water administration in Alyx exactly once.

Other programs write them too: iblrig sends both. A weighing is sent only for a session that we created, or on a day
without any; water only while Alyx holds none for the session but those that we sent (ruling 11).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labferry.alyx.animals import create_water, create_weighing, find_same, waters_of_session, weighings_of_day
from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, identity
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.errors import BlockedError, UnexplainedError
from labferry.journal.rows import JobRow, SessionRow, StepRow
from labferry.model import show_path
from labferry.sessions.record import Remark, SessionRecord, user_of, water_body, weighing_body

KEEPS_BACK = 3  # attempts in which a row that Alyx fails on, and does not say why, keeps back the session's files
Beat = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two kinds of rows.

    Attributes
    ----------
    prefix : str
        Of the names of its steps.
    key : tuple of str
        The fields by which a row is known again; its value may have been corrected by a person.
    create : callable
        Sends the POST, returns the id.
    """

    prefix: str
    key: tuple[str, ...]
    create: Callable[[AlyxClient, Json], str]


WEIGHING = Kind("weight:", ("date_time",), create_weighing)
WATER = Kind("water:", ("date_time", "water_type"), create_water)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row that should be in Alyx.

    Attributes
    ----------
    name : str
        Of its step.
    body : mapping
        Of its POST: what was sent, if it was sent before.
    sent : StepRow or None
        The step without an answer.
    """

    name: str
    body: Mapping[str, object]
    sent: StepRow | None


class EnsureAnimal:
    """Bring what the tasks say about the animal into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def weighings(
        self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark], beat: Beat
    ) -> list[BlockedError]:
        """Send the weighings that nobody sent; return what Alyx refused."""
        bodies = {
            weight.collection: weighing_body(record, number, self._user(weight.user))
            for number, weight in enumerate(record.weights)
        }
        if not (entries := self._left(session, WEIGHING, bodies)):
            return []
        there = weighings_of_day(self._context.alyx, session.subject, session.date)
        foreign = self._foreign(session, WEIGHING, there)
        if foreign and not session.created_here:
            remarks.append(Remark("weight_skipped", f"no weighing was sent: Alyx has {len(foreign)} of that day"))
            return []
        return self._ensure(job, session, WEIGHING, entries, there, beat)

    def waters(
        self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark], beat: Beat
    ) -> list[BlockedError]:
        """Send the water administrations, unless anybody else recorded one; return what Alyx refused."""
        assert session.eid is not None, "the session is in Alyx"
        bodies = {
            water.collection: water_body(record, number, self._user(water.user), session.eid)
            for number, water in enumerate(record.waters)
        }
        if not (entries := self._left(session, WATER, bodies)):
            return []
        there = waters_of_session(self._context.alyx, session.eid)
        if self._foreign(session, WATER, there):
            found = f"{len(there)} found, {len(bodies)} expected"
            remarks.append(Remark("water_skipped", f"no water was sent: {found}"))
            return []
        return self._ensure(job, session, WATER, entries, there, beat)

    def _user(self, recorder: str | None) -> str:
        context = self._context
        known = context.people.users([recorder]) if recorder is not None else frozenset[str]()
        return user_of(recorder, known, context.config.alyx.username)

    def _left(self, session: SessionRow, kind: Kind, bodies: Mapping[str, Mapping[str, object]]) -> list[Entry]:
        """Return the rows that Alyx has not confirmed, as they were sent if they were."""
        entries = []
        for collection, body in bodies.items():
            name = kind.prefix + collection
            step = self._context.journal.steps.of_session(session.id, name)
            if step is None:
                entries.append(Entry(name, body, None))
            elif step.answered_at is None:
                entries.append(Entry(name, json.loads(step.request), step))
        return entries

    def _foreign(self, session: SessionRow, kind: Kind, there: Sequence[Json]) -> list[Json]:
        """Return the rows in Alyx that no step of ours stands for, in whatever generation it was sent."""
        ours: set[str | None] = set()
        for step in self._context.journal.steps.begins_with(session.id, kind.prefix):
            answer = {} if step.answer is None else json.loads(step.answer)
            ours.add(answer.get("id") or find_same(there, json.loads(step.request), kind.key))
        return [row for row in there if identity(row) not in ours]

    def _ensure(
        self,
        job: JobRow,
        session: SessionRow,
        kind: Kind,
        entries: Sequence[Entry],
        there: Sequence[Json],
        beat: Beat,
    ) -> list[BlockedError]:
        """Send what is not there; what was sent without an answer is adopted, or given time to arrive."""
        refused = []
        for entry in entries:
            found = find_same(there, entry.body, kind.key)
            if found is not None and entry.sent is not None:
                self._context.journal.steps.answer(entry.sent.job_id, entry.name, {"id": found})
            if found is not None:
                continue  # adopted, or somebody recorded the very same moment
            if entry.sent is not None:
                self._patience.require_over(entry.sent.job_id, entry.name)
            beat(f"sending {entry.name} of {show_path(session.path)}", 2 * self._context.config.alyx.timeout)
            try:
                # Again under the job that sent it first: one row of the journal stands for one row in Alyx.
                self._send(job.id if entry.sent is None else entry.sent.job_id, kind, entry)
            except BlockedError as error:
                refused.append(error)
            except UnexplainedError as error:
                if job.failures < KEEPS_BACK:
                    raise
                hint = "Look at Alyx' own log, then `labferry retry SESSION`."
                refused.append(BlockedError(error.code, error.message, hint))
        return refused

    def _send(self, job_id: int, kind: Kind, entry: Entry) -> None:
        steps = self._context.journal.steps
        self._patience.sent(job_id, entry.name)
        with outbox(steps, job_id, entry.name, entry.body, repeatable=False):
            created = kind.create(self._context.alyx, entry.body)
        self._patience.answered(job_id, entry.name)
        steps.answer(job_id, entry.name, {"id": created})
