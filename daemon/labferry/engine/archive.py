"""Last stage of an archive job: the bytes to one target, every item verified, then marked as existing in Alyx.

The plan (what goes where, with which checksum) is committed before the first byte moves. Evidence is kept item by
item. Alyx hears of a copy only after it was verified, and only while it still holds the verified hash (ruling 10).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import uuid4

from labferry.alyx.file_records import ensure_file_record, mark_exists
from labferry.alyx.registration import RemoteDataset, registered_datasets
from labferry.alyx.resolve import server_repository
from labferry.archive.base import Archive, InFlight, StoppedError
from labferry.archive.naming import destination, with_lab
from labferry.archive.plan import Evidence, Item, Plan, Progress
from labferry.config import DirectoryArchive
from labferry.engine.context import ALYX, Context
from labferry.engine.seal import is_carried
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import ItemRow, JobRow, SessionRow, TransferRow
from labferry.journal.transfers import NewItem
from labferry.model import Done, Outcome, Waiting, show_path

PROGRESS_EVERY = 0.5  # seconds between two stored positions of one transfer


class ArchiveStage:
    """Carry one registered session to one target."""

    def __init__(self, context: Context, archive: Archive) -> None:
        self._context = context
        self._archive = archive

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Plan, carry, verify, mark."""
        session = self._context.session_of(job)
        transfer = self._context.journal.transfers.of_job(job.id) or self._plan(job, session)
        if transfer.state != "verified":
            waiting = self._carry(session, transfer, beat)
            if waiting is not None:
                return waiting
        self._mark(session, transfer, beat)
        return Done()

    # --- plan ---------------------------------------------------------------------------------------------

    def _plan(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Commit what goes where."""
        context = self._context
        settings = context.config.archive[job.target]
        assert isinstance(settings, DirectoryArchive), "the service builds no other archives yet"
        session_path = os.fsencode(context.parsed(session).alyx_path)
        items = [
            NewItem(
                row.id,
                destination(settings.naming, session_path, row.path, row.dataset_id),
                row.size,
                row.md5,
            )
            for row in context.journal.files.of_session(session.id)
            if row.md5 is not None and is_carried(row, settings)
        ]
        base = with_lab(os.fsencode(settings.path), session.lab or context.root_of(session).lab)
        return context.journal.transfers.plan(job.id, job.target, base, f"lf-{uuid4().hex[:12]}", items)

    # --- carry and verify ---------------------------------------------------------------------------------

    def _carry(self, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]) -> Waiting | None:
        """Bring the bytes over; None when every item is verified."""
        context, transfers = self._context, self._context.journal.transfers
        folder = context.folder_of(session)
        items = transfers.items(transfer.id)
        plan = Plan(transfer.batch, folder, transfer.base, tuple(as_item(row) for row in items))
        what = f"archiving {show_path(session.path)} to {transfer.target}"
        beat(what, 120.0)
        stored_at = 0.0

        def report(progress: Progress) -> None:
            nonlocal stored_at
            beat(f"{what}: {progress.bytes_done} of {progress.bytes_total} bytes", 120.0)
            now = context.clock.monotonic()
            if now - stored_at >= PROGRESS_EVERY:
                transfers.progress(transfer.id, progress.bytes_done, progress.files_done)
                stored_at = now

        def keep(evidence: Evidence) -> None:
            transfers.verified(transfer.id, [(evidence.destination, str(evidence.means))])

        self._archive.preflight(transfer.base)
        try:
            result = self._archive.advance(
                plan,
                transfer.ticket,
                report,
                lambda: context.wakeup.stopping,
                keep=keep,
                verified=frozenset(row.destination for row in items if row.verified_at is not None),
            )
        except StoppedError:
            raise StoppedEarly from None
        if isinstance(result, InFlight):
            transfers.ticket(transfer.id, result.ticket)
            transfers.progress(transfer.id, result.progress.bytes_done, result.progress.files_done)
            return Waiting(result.look_after, "in_flight", f"{transfer.target} is moving the bytes")
        context.reachable(f"archive:{transfer.target}")
        transfers.finish(transfer.id, "verified")
        return None

    # --- mark ---------------------------------------------------------------------------------------------

    def _mark(self, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]) -> None:
        """Tell Alyx which datasets exist in the target's repository; only verified ones, only under their hash."""
        context = self._context
        wanted = context.config.archive[transfer.target].repository
        if not wanted or session.eid is None:
            return
        todo = [
            row
            for row in context.journal.transfers.items(transfer.id)
            if row.marked_at is None and row.dataset_id is not None
        ]
        if not todo:
            return
        beat(f"telling Alyx about {show_path(session.path)} in {transfer.target}", 5 * context.config.alyx.timeout)
        repository = server_repository(context.words(), session.lab or "", configured=wanted)
        remote = {there.id: there for there in registered_datasets(context.alyx, session.eid).values()}
        context.reachable(ALYX)
        for row in todo:
            there = remote.get(row.dataset_id or "")
            require_same(row, there)
            assert there is not None
            beat(f"telling Alyx about {show_path(row.path)}", 3 * context.config.alyx.timeout)
            self._mark_one(session, row, there, repository)
            context.journal.transfers.marked(transfer.id, row.file_id)

    def _mark_one(self, session: SessionRow, row: ItemRow, there: RemoteDataset, repository: str) -> None:
        record = next((record for record in there.file_records if record.repository == repository), None)
        if record is None:
            relative = f"{self._context.parsed(session).alyx_path}/{os.fsdecode(row.path)}"
            record = ensure_file_record(self._context.alyx, there.id, repository, relative)
        if not record.exists:
            mark_exists(self._context.alyx, record.id)

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def as_item(row: ItemRow) -> Item:
    """Return a journaled item as the archive room takes it."""
    return Item(row.path, row.destination, row.size, row.md5, row.mtime_ns, row.ctime_ns)


def require_same(row: ItemRow, there: RemoteDataset | None) -> None:
    """Look again before Alyx is told that a copy exists.

    Raises
    ------
    BlockedError
        Alyx does not have the dataset, or holds another hash than the one that was verified.
    """
    name = show_path(row.path)
    if there is None:
        raise BlockedError("hash_conflict", f"{name} was registered and Alyx does not have it any more")
    if there.hash != row.md5:
        raise BlockedError("hash_conflict", f"{name}: Alyx holds MD5 {there.hash}, verified was {row.md5}")
