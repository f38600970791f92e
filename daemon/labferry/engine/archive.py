"""Last stage of an archive job to a directory: the bytes copied, every item verified, then marked in Alyx.

The plan (what goes where, with which checksum) is committed before the first byte moves. Evidence is kept item by
item. What replaces something gets its place last (`replacing`). Alyx hears of a copy only after it was verified, and
only while it still holds the verified hash (ruling 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from labferry.archive.base import Archive, StoppedError
from labferry.archive.plan import Item, Plan
from labferry.engine.carrying import Ledger, let_less_work_pass
from labferry.engine.context import Context
from labferry.engine.marking import mark
from labferry.engine.planning import base_of, items_of, new_batch
from labferry.engine.replacing.directory import choose, exchange_in
from labferry.engine.replacing.order import Replacing, require_registered, settle_older
from labferry.engine.resolve import require_key_kept
from labferry.engine.unchanged import is_unchanged
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, ChangedError, UnavailableError, UnexplainedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import Done, Outcome, first_of, show_path


class ArchiveStage:
    """Carry one registered session to one target."""

    def __init__(self, context: Context, archive: Archive) -> None:
        self._context = context
        self._archive = archive

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Plan, carry, verify, mark."""
        session = self._context.session_of(job)
        require_key_kept(self._context, session)
        base = base_of(self._context, session, job.target)

        def replacing_of(transfer: TransferRow) -> Replacing:
            exchange = partial(exchange_in, self._context, self._archive, transfer, beat=beat)
            return Replacing(self._context, job, session, transfer, exchange, beat)

        settle_older(self._context, job, base, None, replacing_of)
        transfer = self._transfer(job, session, base)
        replacing = replacing_of(transfer)
        replacing.finish()
        choose(self._context, self._archive, job, transfer, lambda: self._plan(session, transfer), beat)
        items = self._context.journal.transfers.items(transfer.id)
        plan = self._plan(session, transfer, items)
        earlier = frozenset(row.place for row in items if row.verified_at is not None)
        lost = self._lost(transfer, plan, earlier, beat)
        if lost or transfer.state != "verified" or len(earlier) < len(items):
            self._carry(job, session, transfer, plan, earlier - lost, beat)
        replacing.replace()
        require_registered(self._context, session)
        mark(self._context, session, transfer, beat)
        return Done()

    # --- plan ---------------------------------------------------------------------------------------------

    def _transfer(self, job: JobRow, session: SessionRow, base: bytes) -> TransferRow:
        """Return the job's transfer, planned before or now, at the place that the configuration names now."""
        context, transfers = self._context, self._context.journal.transfers
        transfer = transfers.of_job(job.id)
        if transfer is None:
            with context.journal.together():
                transfer = transfers.plan(job.id, job.target, base, new_batch(), items_of(context, job, session))
                transfers.know_earlier(transfer)
        if transfer.base != base and transfer.state != "verified":
            transfers.move(transfer.id, base)
            transfer = replace(transfer, base=base)
        return transfer

    def _plan(self, session: SessionRow, transfer: TransferRow, items: Sequence[ItemRow] | None = None) -> Plan:
        """Return the transfer as the archive room takes it: what replaces something goes to its own name first."""
        items = self._context.journal.transfers.items(transfer.id) if items is None else items
        return Plan(transfer.batch, self._context.place_of(session), transfer.base, tuple(map(as_item, items)))

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
        job: JobRow,
        session: SessionRow,
        transfer: TransferRow,
        plan: Plan,
        verified: frozenset[bytes],
        beat: Callable[[str, float], None],
    ) -> None:
        """Bring the bytes over and verify them; between two files, whoever has less to do goes first.

        Raises
        ------
        UnexplainedError
            `transfer_failed`: everything was carried, and not for every file is it written down how it was verified.
        """
        context = self._context
        context.folder_of(session)
        what = f"archiving {show_path(session.path)} to {transfer.target}"
        beat(what, 120.0)
        self._archive.preflight(transfer.base)
        ledger = Ledger(context, job, transfer, beat, what)
        try:
            self._archive.advance(
                replace(plan, older=self._older(session, transfer)),
                ledger.report,
                lambda: context.wakeup.stopping,
                keep=ledger.keep,
                between=lambda: let_less_work_pass(context, job),
                verified=verified,
            )
        except StoppedError:
            raise StoppedEarly from None
        except ChangedError as error:
            require_really_changed(plan, error)
            raise
        finally:
            ledger.close()
        context.reachable(f"archive:{transfer.target}")
        if unproven := context.journal.transfers.unverified(transfer.id):
            named = first_of([show_path(unproven[0].destination)], len(unproven))
            raise UnexplainedError("transfer_failed", f"not verified yet: {named}")
        context.journal.transfers.finish(transfer.id, "verified")

    def _older(self, session: SessionRow, transfer: TransferRow) -> tuple[str, ...]:
        """Return the batches that earlier generations brought to the same place, or were interrupted in."""
        return tuple(
            one.batch
            for one in self._context.journal.transfers.of_session(session.id)
            if one.id < transfer.id and (one.target, one.base) == (transfer.target, transfer.base)
        )

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def as_item(row: ItemRow) -> Item:
    """Return a journaled item as the archive room takes it."""
    return Item(row.path, row.place, row.size, row.md5, row.mtime_ns, row.ctime_ns)


def require_really_changed(plan: Plan, error: ChangedError) -> None:
    """Tell a file that somebody changed from one whose bytes changed by themselves: settling again would not end.

    Raises
    ------
    BlockedError
        `unreadable`: the file has the sealed size and times, and other content.
    """
    for item in plan.items:
        if item.source == error.path and is_unchanged(plan.session_dir, item.version):
            hint = (
                "Check the root's disk. Put a good copy in its place, or `touch` the file if it is right as it "
                "is, then `labferry retry SESSION`."
            )
            raise BlockedError("unreadable", error.message, hint)
