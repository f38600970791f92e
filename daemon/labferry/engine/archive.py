"""Last stage of an archive job: the bytes to one target, every item verified, then marked as existing in Alyx.

The plan (what goes where, with which checksum) is committed before the first byte moves. Evidence is kept item by
item. Alyx hears of a copy only after it was verified, and only while it still holds the verified hash (ruling 10).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from labferry.alyx.file_records import ensure_file_record, mark_exists
from labferry.alyx.registration import RemoteDataset, registered_datasets
from labferry.alyx.resolve import server_repository
from labferry.archive.base import Archive, InFlight, StoppedError
from labferry.archive.naming import destination, with_lab
from labferry.archive.plan import Evidence, Item, Plan, Progress
from labferry.config import DirectoryArchive
from labferry.engine.context import ALYX, Context
from labferry.engine.register import record_at
from labferry.engine.seal import is_carried
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, ChangedError, UnavailableError
from labferry.journal.jobs import Move
from labferry.journal.rows import ItemRow, JobRow, SessionRow, TransferRow
from labferry.journal.transfers import NewItem
from labferry.model import Done, Outcome, Waiting, show_path

LOOK_HOLDS = 2.0  # seconds: what Alyx said longer ago is asked again before it is told that copies exist
PROGRESS_EVERY = 0.5  # seconds between two stored positions of one transfer


class ArchiveStage:
    """Carry one registered session to one target."""

    def __init__(self, context: Context, archive: Archive) -> None:
        self._context = context
        self._archive = archive

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Plan, carry, verify, mark."""
        session = self._context.session_of(job)
        transfer = self._transfer(job, session)
        items = self._context.journal.transfers.items(transfer.id)
        plan = Plan(transfer.batch, self._context.place_of(session), transfer.base, tuple(map(as_item, items)))
        earlier = frozenset(row.destination for row in items if row.verified_at is not None)
        lost = self._lost(transfer, plan, earlier, beat)
        if lost or transfer.state != "verified":
            waiting = self._carry(session, transfer, plan, earlier - lost, beat)
            if waiting is not None:
                return waiting
        self._mark(session, transfer, beat)
        return Done()

    # --- plan ---------------------------------------------------------------------------------------------

    def _transfer(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Return the job's transfer, planned before or now, at the place that the configuration names now."""
        transfers = self._context.journal.transfers
        transfer = transfers.of_job(job.id) or self._plan(job, session)
        base = self._base(job, session)
        if transfer.base != base and transfer.state != "verified" and transfer.ticket is None:
            transfers.move(transfer.id, base)
            transfer = replace(transfer, base=base)
        return transfer

    def _base(self, job: JobRow, session: SessionRow) -> bytes:
        settings = self._context.config.archive[job.target]
        assert isinstance(settings, DirectoryArchive), "the service builds no other archives yet"
        return with_lab(os.fsencode(settings.path), session.lab or self._context.root_of(session).lab)

    def _plan(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Commit what goes where.

        Raises
        ------
        ChangedError
            A file has no checksum: it is not the version that was sealed.
        """
        context = self._context
        settings = context.config.archive[job.target]
        assert isinstance(settings, DirectoryArchive), "the service builds no other archives yet"
        session_path = os.fsencode(context.parsed(session).alyx_path)
        items = []
        for row in context.journal.files.of_session(session.id):
            if not is_carried(row, settings):
                continue
            if row.md5 is None:
                raise ChangedError(row.path, "was not sealed")
            name = destination(settings.naming, session_path, row.path, row.dataset_id)
            items.append(NewItem(row.id, name, row.size, row.md5))
        base = self._base(job, session)
        return context.journal.transfers.plan(job.id, job.target, base, f"lf-{uuid4().hex[:12]}", items)

    # --- carry and verify ---------------------------------------------------------------------------------

    def _lost(
        self, transfer: TransferRow, plan: Plan, earlier: frozenset[bytes], beat: Callable[[str, float], None]
    ) -> frozenset[bytes]:
        """Take back what earlier attempts verified and is not there any more: it may be another disk by now."""
        if not earlier:
            return frozenset()
        context = self._context
        verified = replace(plan, items=tuple(item for item in plan.items if item.destination in earlier))
        self._archive.preflight(transfer.base)
        try:
            differences = self._archive.verify(
                verified,
                lambda _: beat(f"looking for the copies in {transfer.target}", 120.0),
                lambda: context.wakeup.stopping,
                deep=False,
            )
            lost = frozenset(difference.destination for difference in differences)
        except StoppedError:
            raise StoppedEarly from None
        except UnavailableError as error:
            if error.code != "target_missing":
                raise
            lost = earlier  # the target is there, as was just seen; the lab's folder in it is not
        if lost:
            context.journal.transfers.lost(transfer.id, lost)
        return lost

    def _carry(
        self,
        session: SessionRow,
        transfer: TransferRow,
        plan: Plan,
        verified: frozenset[bytes],
        beat: Callable[[str, float], None],
    ) -> Waiting | None:
        """Bring the bytes over; None when every item is verified."""
        context, transfers = self._context, self._context.journal.transfers
        context.folder_of(session)
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
                verified=verified,
            )
        except StoppedError:
            raise StoppedEarly from None
        except ChangedError as error:
            require_really_changed(plan, error)
            raise
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
        looked_at = -LOOK_HOLDS
        for row in todo:
            if context.clock.monotonic() - looked_at >= LOOK_HOLDS:
                remote = {there.id: there for there in registered_datasets(context.alyx, session.eid).values()}
                looked_at = context.clock.monotonic()
                context.reachable(ALYX)
            there = remote.get(row.dataset_id or "")
            require_same(row, there)
            assert there is not None
            beat(f"telling Alyx about {show_path(row.path)}", 3 * context.config.alyx.timeout)
            self._mark_one(session, row, there, repository)
            context.journal.transfers.marked(transfer.id, row.file_id)

    def _mark_one(self, session: SessionRow, row: ItemRow, there: RemoteDataset, repository: str) -> None:
        relative = self._context.alyx_path_of(session, row.path)
        record = record_at(there, repository, relative)
        if record is None:
            record = ensure_file_record(self._context.alyx, there.id, repository, relative)
        if not record.exists:
            mark_exists(self._context.alyx, record.id)

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def as_item(row: ItemRow) -> Item:
    """Return a journaled item as the archive room takes it."""
    return Item(row.path, row.destination, row.size, row.md5, row.mtime_ns, row.ctime_ns)


def require_really_changed(plan: Plan, error: ChangedError) -> None:
    """Tell a file that somebody changed from one whose bytes changed by themselves: settling again would not end.

    Raises
    ------
    BlockedError
        `unreadable`: the file has the sealed size and times, and other content.
    """
    for item in plan.items:
        if item.source == error.path:
            with contextlib.suppress(OSError):
                now = os.lstat(os.path.join(plan.session_dir, item.source))
                if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (item.size, item.mtime_ns, item.ctime_ns):
                    hint = (
                        "Check the root's disk. Put a good copy in its place, or `touch` the file if it is right as it "
                        "is, then `labferry retry SESSION`."
                    )
                    raise BlockedError("unreadable", error.message, hint)


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
