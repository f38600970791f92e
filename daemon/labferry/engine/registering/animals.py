"""What the tasks of a session say about the animal: each weighing and water administration in Alyx exactly once.

Other programs write them too: iblrig sends both. A weighing is sent only for a session that we created, or on a day
without any; water only while Alyx holds none for the session but those that we sent (ruling 11).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labferry.alyx.animals import create_water, create_weighing, find_same, waters_of_session, weighings_of_day
from labferry.alyx.fields import Json
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.errors import BlockedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.sessions.record import Remark, SessionRecord, user_of, water_body, weighing_body

# By these Alyx' rows are known again; the value itself may have been corrected by a person.
WEIGHING_KEY = ("date_time",)
WATER_KEY = ("date_time", "water_type")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row that should be in Alyx: the name of its step, and the body of its POST."""

    step: str
    body: Mapping[str, object]


class EnsureAnimal:
    """Bring what the tasks say about the animal into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def weighings(self, job: JobRow, session: SessionRow, record: SessionRecord, remarks: list[Remark]) -> None:
        """Send the weighings that nobody sent."""
        if not record.weights:
            return
        entries = [
            Entry(f"weight:{weight.collection}", weighing_body(record, number, self._user(weight.user)))
            for number, weight in enumerate(record.weights)
        ]
        there = weighings_of_day(self._context.alyx, session.subject, session.date)
        foreign = self._foreign(session, entries, there, WEIGHING_KEY)
        if foreign and not session.created_here:
            remarks.append(Remark("weight_skipped", f"no weighing was sent: Alyx has {len(foreign)} of that day"))
            return
        self._ensure(job, session, entries, there, WEIGHING_KEY, create_weighing)

    def waters(self, job: JobRow, session: SessionRow, eid: str, record: SessionRecord, remarks: list[Remark]) -> None:
        """Send the water administrations, unless anybody else recorded one for this session."""
        if not record.waters:
            return
        entries = [
            Entry(f"water:{water.collection}", water_body(record, number, self._user(water.user), eid))
            for number, water in enumerate(record.waters)
        ]
        there = waters_of_session(self._context.alyx, eid)
        if self._foreign(session, entries, there, WATER_KEY):
            found, expected = len(there), len(entries)
            remarks.append(Remark("water_skipped", f"no water was sent: {found} found, {expected} expected"))
            return
        self._ensure(job, session, entries, there, WATER_KEY, create_water)

    def _user(self, recorder: str | None) -> str:
        context = self._context
        known = context.people.users([recorder]) if recorder is not None else frozenset[str]()
        return user_of(recorder, known, context.config.alyx.username)

    def _foreign(
        self, session: SessionRow, entries: Sequence[Entry], there: Sequence[Json], key: Sequence[str]
    ) -> list[Json]:
        """Return the rows in Alyx that no step of ours stands for."""
        ours = []
        for entry in entries:
            step = self._context.journal.steps.of_session(session.id, entry.step)
            if step is not None:
                ours.append(json.loads(step.request))
        return [row for row in there if not any(find_same([row], body, key) is not None for body in ours)]

    def _ensure(
        self,
        job: JobRow,
        session: SessionRow,
        entries: Sequence[Entry],
        there: Sequence[Json],
        key: Sequence[str],
        create: Callable[..., str],
    ) -> None:
        """Send what is not there; what was sent without an answer is adopted, or given time to arrive."""
        steps = self._context.journal.steps
        for entry in entries:
            step = steps.of_session(session.id, entry.step)
            if step is not None and step.answered_at is not None:
                continue
            body = entry.body if step is None else json.loads(step.request)
            url = find_same(there, body, key)
            if step is not None and url is not None:
                steps.answer(step.job_id, entry.step, {"url": url})
                continue
            if url is not None:
                continue  # somebody recorded the very same moment
            if step is not None:
                self._patience.require_over(step.job_id, entry.step)
                if step.job_id != job.id:
                    steps.drop(step.job_id, entry.step)
            self._patience.sent(job.id, entry.step)
            with outbox(steps, job.id, entry.step, body):
                url = create(self._context.alyx, body)
            steps.answer(job.id, entry.step, {"url": url})


def in_turn(*attempts: Callable[[], None]) -> list[BlockedError]:
    """Make every attempt and return what was refused: a weighing that Alyx does not take must not keep back files."""
    refused = []
    for attempt in attempts:
        try:
            attempt()
        except BlockedError as error:
            refused.append(error)
    return refused
