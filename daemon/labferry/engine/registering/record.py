"""The record of a session brought into Alyx: the session itself, what it says about the animal, what is remarkable.

Done once for each job: chunks of files may take hours, and what comes between them must not ask all this again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

from labferry.engine.context import Context
from labferry.engine.old_names import renaming_remarks
from labferry.engine.registering.animals import EnsureAnimal
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.session import EnsureSession
from labferry.errors import BlockedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import show_path
from labferry.sessions.record import Remark, SessionRecord, read_record

RECORD_STEP = "record"
READING = 600.0  # seconds: trial data of some hundred megabytes from a slow disk
Beat = Callable[[str, float], None]


class Recorded(NamedTuple):
    """A session's record in Alyx.

    Attributes
    ----------
    eid : str
        The session's id in Alyx.
    fresh : bool
        This attempt has just created it: Alyx has no file of it.
    refused : list of BlockedError
        Weighings and water administrations that Alyx does not take.
    """

    eid: str
    fresh: bool
    refused: list[BlockedError]


class EnsureRecord:
    """Bring the record of a session into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._session = EnsureSession(context, patience)
        self._animal = EnsureAnimal(context, patience)
        zone = context.config.alyx.timezone
        self._timezone = ZoneInfo(zone) if zone else None

    def __call__(self, job: JobRow, session: SessionRow, folder: bytes, beat: Beat) -> Recorded:
        """Ensure all that the folder says about the session; at once if this job has done that."""
        context, steps = self._context, self._context.journal.steps
        done = steps.get(job.id, RECORD_STEP)
        if done is not None and done.answer is not None:
            said = json.loads(done.answer)
            return Recorded(said["id"], False, [BlockedError(*one) for one in said["refused"]])
        name = show_path(session.path)
        beat(f"reading the record of {name}", READING)
        record = read_record(folder, context.parsed(session), timezone=self._timezone)
        remarks = [*record.remarks, *renaming_remarks(context, session)]
        beat(f"looking for {name} in Alyx", 12 * context.config.alyx.timeout)
        ensured = self._session(job, session, record, remarks)
        refused = self._animals(job, record, remarks, beat)
        answer = {"id": ensured.eid, "refused": [(one.code, one.message, one.hint) for one in refused]}
        with context.journal.together():
            context.journal.sessions.remark(session.id, remarks)
            steps.send(job.id, RECORD_STEP, {"remarks": len(remarks)})
            steps.answer(job.id, RECORD_STEP, answer)
        return Recorded(ensured.eid, ensured.fresh, refused)

    def forget(self, job: JobRow) -> None:
        """Look at everything again in the job's next attempt: a person has changed something until then."""
        self._context.journal.steps.drop(job.id, RECORD_STEP)

    def _animals(self, job: JobRow, record: SessionRecord, remarks: list[Remark], beat: Beat) -> list[BlockedError]:
        """Ensure weighings and water; what Alyx does not take is returned, and must not keep back the files."""
        context, session = self._context, self._context.session_of(job)
        refused: list[BlockedError] = []
        if not session.seen_complete:
            remarks += _left_alone(record)
            return refused
        if context.config.registration.weights:
            refused += self._animal.weighings(job, session, record, remarks, beat)
        if context.config.registration.water:
            refused += self._animal.waters(job, session, record, remarks, beat)
        return refused


def _left_alone(record: SessionRecord) -> Iterator[Remark]:
    """Say what is not sent of a session that is older than our journal: nobody can know what was sent (ruling 23)."""
    if record.weights:
        yield Remark("weight_skipped", "no weighing was sent: the session is older than labferry's journal")
    if record.waters:
        yield Remark("water_skipped", "no water was sent: the session is older than labferry's journal")
