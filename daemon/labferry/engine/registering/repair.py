"""Dataset rows that a lost race left in Alyx: recognised, and removed only where nothing can be lost (ruling 13).

Two requests for one new file leave two rows, one of them without file records, and from then on Alyx fails on every
request that names the file. The only way out is to delete that row.
"""

from __future__ import annotations

from datetime import UTC, datetime

from labferry.alyx.answers import RefusedError
from labferry.alyx.dataset_rows import RemoteDataset, SessionDatasets, datasets_named, delete_dataset
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.looking import key_of
from labferry.engine.registering.patience import Patience
from labferry.errors import BlockedError, NotYetError
from labferry.journal.rows import FileRow, JobRow
from labferry.model import show_path

OLD = 600.0  # seconds: no request takes so long, so nobody is making this row any more
REPAIR_STEP = "repair"


class Repair:
    """Bring the rows of one file down to one."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def __call__(self, job: JobRow, eid: str, file: FileRow) -> RemoteDataset | None:
        """Delete the orphans among a file's rows; return the row that is left, None when there is none.

        Raises
        ------
        BlockedError
            `orphan_dataset`: more than one row would be left, or the orphan is protected.
        NotYetError
            `orphan_young`: it may still be in the making.
        """
        key = key_of(file)
        rows = datasets_named(self._context.alyx, eid, key)
        orphans = [row for row in SessionDatasets(rows).orphans if not row.protected]
        left = [row for row in rows if row not in orphans]
        if len(left) > 1:
            raise doubled(file, rows)
        for row in orphans:
            wait = self._seconds_too_young(job, row)
            if wait > 0:
                name = show_path(file.path)
                raise NotYetError("orphan_young", f"{name}: dataset row {row.id} has no file records", wait)
        for row in orphans:
            self._delete(job, row)
        return left[0] if left else None

    def _seconds_too_young(self, job: JobRow, row: RemoteDataset) -> float:
        """Return how long to wait until a row is old, 0 when it is.

        Alyx gives its wall time without a zone. Taken as UTC it may make a row look older than it is; so that is
        believed only of a row that stayed as it is between two looks, and our own watch alone is enough.
        """
        watched = self._patience.elapsed.seconds(job.id, f"orphan:{row.id}")
        every = self._context.config.registration.resend_look_every
        if age(row.created, self._context.clock.now()) > OLD:
            return max(0.0, every - watched)
        return max(0.0, OLD - watched)

    def _delete(self, job: JobRow, row: RemoteDataset) -> None:
        steps, name = self._context.journal.steps, f"{REPAIR_STEP}:{row.id}"
        try:
            with outbox(steps, job.id, name, {"dataset": row.id, "created": row.created}):
                delete_dataset(self._context.alyx, row.id)
        except RefusedError as error:
            if error.status != 404:  # somebody else was faster
                raise
        else:
            steps.answer(job.id, name, {"deleted": row.id})


def age(created: str, now: float) -> float:
    """Return how old a time without a zone is, in seconds, were it UTC; 0 for what is no time."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0.0
    return now - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def doubled(file: FileRow, rows: tuple[RemoteDataset, ...]) -> BlockedError:
    """Return the error for a file whose rows in Alyx a person must look at."""
    shown = ", ".join(f"{row.id} ({_described(row)})" for row in rows)
    return BlockedError("orphan_dataset", f"{show_path(file.path)}: {len(rows)} dataset rows in Alyx: {shown}")


def _described(row: RemoteDataset) -> str:
    records = len(row.file_records)
    return f"{records or 'no'} file record{'s' if records != 1 else ''}{', protected' if row.protected else ''}"
