"""Archive jobs of a target that Alyx fills itself: nothing is moved, it is waited for and looked at (ruling 17)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from labferry.alyx.dataset_rows import RemoteDataset, registered_datasets
from labferry.engine.context import ALYX, Context
from labferry.engine.marking import require_same
from labferry.engine.planning import base_of, items_of, new_batch, repository_of
from labferry.errors import BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import Done, Outcome, Waiting, first_of, show_path

OBSERVED = "observed"  # how a copy was verified: Alyx says it is there, with the size and hash that were registered
SOONEST_LOOK = 5.0  # seconds
LATEST_LOOK = 3600.0
PATIENCE = 0.25  # of the time waited so far: the next look is the later, the longer it takes


class ObserveStage:
    """Wait until every dataset of a session exists in the lab's server repository."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Look once at what Alyx says."""
        context, transfers = self._context, self._context.journal.transfers
        session = context.session_of(job)
        if session.eid is None:
            raise BlockedError("no_eid", f"{show_path(session.path)} is not registered, so Alyx moves nothing of it")
        beat(f"asking Alyx what of {show_path(session.path)} has arrived", 3 * context.config.alyx.timeout)
        repository = repository_of(context, session, job.target)
        transfer = self._transfer(job, session)
        remote = {there.id: there for there in registered_datasets(context.alyx, session.eid).values()}
        context.reachable(ALYX)
        missing = self._take(transfer, repository, remote)
        if missing:
            waited = max(0.0, context.clock.now() - transfer.started_at)
            after = min(LATEST_LOOK, max(SOONEST_LOOK, PATIENCE * waited))
            return Waiting(after, "not_observed", _named(missing, repository))
        transfers.finish(transfer.id, "verified")
        return Done()

    def _transfer(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Return the job's transfer, planned before or now; what was seen in another repository counts no more."""
        context, transfers = self._context, self._context.journal.transfers
        base = base_of(context, session, job.target)
        transfer = transfers.of_job(job.id) or transfers.plan(
            job.id, job.target, base, new_batch(), items_of(context, job, session)
        )
        if transfer.base != base:
            transfers.move(transfer.id, base)
        return transfer

    def _take(self, transfer: TransferRow, repository: str, remote: Mapping[str, RemoteDataset]) -> list[ItemRow]:
        """Record what Alyx says is there, and return what is not."""
        transfers = self._context.journal.transfers
        there, missing = [], []
        for row in transfers.items(transfer.id):
            dataset = require_same(row, remote.get(row.dataset_id or ""))
            if not any(record.repository == repository and record.exists for record in dataset.file_records):
                missing.append(row)
                continue
            if dataset.size not in {row.size, None}:  # registered by another program, Alyx may not know it
                raise BlockedError(
                    "destination_differs",
                    f"{show_path(row.path)} has {row.size} bytes, and {dataset.size} in {repository} as Alyx says",
                )
            if row.verified_at is None:
                there.append((row.destination, OBSERVED))
        with self._context.journal.together():
            transfers.verified(transfer.id, there)
            transfers.progress(transfer.id, *_done(transfers.items(transfer.id)))
        return missing

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def _done(items: Iterable[ItemRow]) -> tuple[int, int]:
    arrived = [row.size for row in items if row.verified_at is not None]
    return sum(arrived), len(arrived)


def _named(missing: list[ItemRow], repository: str) -> str:
    return f"{first_of([show_path(missing[0].path)], len(missing))} not in {repository} yet"
