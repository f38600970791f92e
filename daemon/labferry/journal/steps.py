"""Steps in the journal: the outbox of remote effects.

What will be sent is committed before it is sent, the answer after it came. A step without an answer after a
crash means: look, before sending again.
"""

from __future__ import annotations

import json
from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.rows import StepRow
from labferry.model import Clock

_SQL = load_queries("steps")


class Steps:
    """The step table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def get(self, job_id: int, name: str) -> StepRow | None:
        """Return a step of a job, None when it was never sent."""
        rows = self._db.read(_SQL["get"], {"job_id": job_id, "name": name})
        return StepRow.of(rows[0]) if rows else None

    def of_job(self, job_id: int) -> list[StepRow]:
        """Return the steps of a job in the order they were first sent."""
        return [StepRow.of(row) for row in self._db.read(_SQL["of_job"], {"job_id": job_id})]

    def of_session(self, session_id: int, name: str) -> StepRow | None:
        """Return the newest step of this name in any job of a session: what was done once holds for all generations."""
        rows = self._db.read(_SQL["of_session"], {"session_id": session_id, "name": name})
        return StepRow.of(rows[0]) if rows else None

    def begins_with(self, session_id: int, prefix: str) -> list[StepRow]:
        """Return the steps of any job of a session whose name begins so, oldest first."""
        return [
            StepRow.of(row) for row in self._db.read(_SQL["begins_with"], {"session_id": session_id, "prefix": prefix})
        ]

    def unanswered(self, session_id: int, prefix: str) -> list[StepRow]:
        """Return the steps of any job of a session whose name begins so and that wait for an answer, oldest first.

        A newer generation has jobs of its own; what older ones sent may be on its way all the same.
        """
        values = {"session_id": session_id, "prefix": prefix}
        return [StepRow.of(row) for row in self._db.read(_SQL["unanswered"], values)]

    def send(self, job_id: int, name: str, request: Any) -> None:
        """Commit what is about to be sent; forgets an answer to an earlier sending of the same step."""
        self._execute("send", job_id=job_id, name=name, request=json.dumps(request))

    def answer(self, job_id: int, name: str, answer: Any) -> None:
        """Commit what came back."""
        self._execute("answer", job_id=job_id, name=name, answer=json.dumps(answer))

    def drop(self, job_id: int, name: str) -> None:
        """Forget a step that certainly was not carried out."""
        self._execute("drop", job_id=job_id, name=name)

    def _execute(self, query: str, **values: Any) -> None:
        with self._db.write() as connection:
            connection.execute(_SQL[query], {**values, "now": self._clock.now()})
