"""Directories that we make at a Globus destination to see whether one can, until their removal is accepted.

Each is written down before it is made, so that after a kill it is still known that there may be one.
"""

from __future__ import annotations

from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.transfer_rows import ProbeRow
from labferry.model import Clock

_SQL = load_queries("probes")


class Probes:
    """The probe table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def left(self, target: str) -> list[ProbeRow]:
        """Return what may still be there."""
        return [ProbeRow.of(row) for row in self._db.read(_SQL["of_target"], {"target": target})]

    def begin(self, target: str, endpoint: str, path: str) -> ProbeRow:
        """Commit that a directory is about to be made."""
        self._execute("begin", target=target, endpoint=endpoint, path=path, now=self._clock.now())
        return ProbeRow(endpoint, path, None)

    def removing(self, probe: ProbeRow, submission_id: str | None) -> None:
        """Commit under which submission id it is about to be removed; None where one was refused."""
        self._execute("removing", endpoint=probe.endpoint, path=probe.path, submission_id=submission_id)

    def end(self, probe: ProbeRow) -> None:
        """Record that it is gone."""
        self._execute("end", endpoint=probe.endpoint, path=probe.path)

    def _execute(self, query: str, **values: Any) -> None:
        with self._db.write() as connection:
            connection.execute(_SQL[query], values)
