"""A session's own share of its archive job through Globus.

Plan; look once at the destination before anything is sent there (ruling 18); wait for the tasks that carry the files;
look again when they have arrived; tell Alyx. Whatever a task did is in the journal before this stage runs again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from labferry.archive.base import StoppedError
from labferry.archive.globus.overwriting import beneath_missing, directories, first_look
from labferry.archive.globus.paths import CollectionMap, join
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Listing, TransferItem
from labferry.archive.globus.verification import missing_or_different
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.marking import mark
from labferry.engine.planning import base_of, items_of, new_batch
from labferry.engine.unchanged import require_unchanged
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, UnexplainedError
from labferry.journal.jobs import Move
from labferry.journal.rows import ItemRow, JobRow, SessionRow, TransferRow
from labferry.model import Done, Outcome, Waiting, show_path

LOOK_AGAIN = 900.0  # seconds: a job is made due when its task ends; this is only the safety net
ASKING = 150.0  # seconds that one question to Globus may take, with its own deadline


class GlobusStage:
    """Bring one session into one Globus collection."""

    def __init__(self, context: Context, settings: GlobusArchive, service: GlobusService) -> None:
        self._context = context
        self._settings = settings
        self._service = service

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Do what can be done now; wait where a task must end first."""
        context, transfers = self._context, self._context.journal.transfers
        session = context.session_of(job)
        transfer = transfers.of_job(job.id) or self._plan(job, session)
        self._hear(session, transfer)
        if transfer.state != "verified":
            items = transfers.items(transfer.id)
            self._look(session, transfer, items, beat)
            waiting = self._under_way(transfer)
            if waiting is not None:
                return waiting
            self._verify(session, transfer, beat)
        mark(context, session, transfer, beat)
        return Done()

    # --- plan ---------------------------------------------------------------------------------------------

    def _plan(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Commit what goes where; a session that Globus cannot name as a whole is not begun."""
        context = self._context
        globus = context.config.globus
        base = base_of(context, session, job.target)
        items = items_of(context, job, session)
        source = CollectionMap(globus.local_path, globus.endpoint_subdir).to_collection(context.place_of(session))
        for item in items:
            join("", item.destination)  # refuses names that are not UTF-8
        return context.journal.transfers.plan(job.id, job.target, base, new_batch(), items, source)

    def _hear(self, session: SessionRow, transfer: TransferRow) -> None:
        """Turn how the transfer's last task failed into the end of this attempt."""
        trouble = self._context.journal.transfers.take_trouble(transfer.id)
        if trouble is None:
            return
        code, text = trouble
        if code == "changed":
            folder = self._context.folder_of(session)
            for row in self._context.journal.transfers.items(transfer.id):
                if row.verified_at is None:
                    require_unchanged(folder, row.version)
            return  # it is again what was sealed
        if code == "transfer_failed":
            raise UnexplainedError(code, text)
        raise BlockedError(code, text)

    # --- before -------------------------------------------------------------------------------------------

    def _look(
        self,
        session: SessionRow,
        transfer: TransferRow,
        items: Sequence[ItemRow],
        beat: Callable[[str, float], None],
    ) -> None:
        """Find out what stands in the place of files that were not looked for yet.

        Raises
        ------
        BlockedError
            `destination_differs` or `destination_unverified`; nothing was sent.
        """
        todo = [row for row in items if row.ours is None and row.verified_at is None]
        if not todo:
            return
        transfers = self._context.journal.transfers
        named = self._named(transfer, todo)
        older = {row.destination: row for row in transfers.earlier(transfer)}
        # What an older generation verified is never ours to overwrite, what it only began to send is.
        earlier = {where: old for where, row in named.items() if (old := older.get(row.destination)) is not None}
        ours = {where for where, old in earlier.items() if old.ours and old.verified_at is None}
        known = {where: old.md5 for where, old in earlier.items() if old.verified_at is not None}
        cargo = [TransferItem("", where, row.size, row.md5) for where, row in named.items()]
        look = first_look(self._listings(session, transfer, cargo, beat), cargo, ours, known)
        with self._context.journal.together():
            transfers.verified(transfer.id, [(named[where].destination, "archived earlier") for where in look.verified])
            transfers.looked(transfer.id, [named[where].destination for where in look.ours])
        look.require_free(f"archive {transfer.target}")

    def _under_way(self, transfer: TransferRow) -> Waiting | None:
        items = self._context.journal.transfers.items(transfer.id)
        missing = [row for row in items if row.verified_at is None and row.arrived_how is None]
        if not missing:
            return None
        if all(row.task_id is not None for row in missing):
            return Waiting(LOOK_AGAIN, "in_flight", f"Globus is moving {len(missing)} files to {transfer.target}")
        return Waiting(LOOK_AGAIN, "in_batch", f"{len(missing)} files wait for the next task to {transfer.target}")

    # --- after --------------------------------------------------------------------------------------------

    def _verify(self, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]) -> None:
        """Look whether everything that is said to have arrived is there, with its size; then it is evidence.

        The content was compared by Globus: the checksum of every file that was sent, or found equal, is the sealed one.

        Raises
        ------
        UnexplainedError
            `transfer_failed`: something is not there; it will be sent again.
        """
        context, transfers = self._context, self._context.journal.transfers
        rows = [row for row in transfers.items(transfer.id) if row.verified_at is None]
        named = self._named(transfer, rows)
        cargo = [TransferItem("", where, row.size, row.md5) for where, row in named.items()]
        wrong = dict(missing_or_different(self._listings(session, transfer, cargo, beat), cargo))
        with context.journal.together():
            transfers.verified(
                transfer.id,
                [(row.destination, row.arrived_how or "") for where, row in named.items() if where not in wrong],
            )
            if wrong:
                transfers.release(transfer.id, [named[where].destination for where in wrong])
            else:
                transfers.finish(transfer.id, "verified")
        if wrong:
            where, what = next(iter(wrong.items()))
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise UnexplainedError(
                "transfer_failed",
                f"archive {transfer.target}: {where}: {what}{more}, although its task succeeded; it is sent again",
            )
        context.reachable(f"archive:{transfer.target}")

    # --- the collection -----------------------------------------------------------------------------------

    def _named(self, transfer: TransferRow, rows: Iterable[ItemRow]) -> dict[str, ItemRow]:
        """Return the files by their absolute path in the destination collection."""
        base = os.fsdecode(transfer.base)
        return {join(base, row.destination): row for row in rows}

    def _listings(
        self,
        session: SessionRow,
        transfer: TransferRow,
        cargo: Sequence[TransferItem],
        beat: Callable[[str, float], None],
    ) -> dict[str, Listing | None]:
        """List every directory that the files are in, one request each; what is below a missing one is missing."""
        listings: dict[str, Listing | None] = {}
        missing: set[str] = set()
        what = f"looking where {show_path(session.path)} goes in {transfer.target}"
        try:
            for directory in directories(cargo):
                if beneath_missing(directory, missing):
                    listings[directory] = None
                    continue
                beat(what, ASKING)
                listings[directory] = self._service.listing(
                    self._settings.endpoint, directory, blame=f"archive:{transfer.target}"
                )
                if listings[directory] is None:
                    missing.add(directory)
        except StoppedError:
            raise StoppedEarly from None
        self._context.reachable(GLOBUS)
        return listings

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)
