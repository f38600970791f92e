"""A session's own share of its archive job through Globus.

Plan; look once at the destination before anything is sent there (ruling 18); wait for the tasks that carry the files;
look again when they have arrived; tell Alyx. Whatever a task did is in the journal before this stage runs again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from labferry.archive.base import StoppedError
from labferry.archive.faults import reading
from labferry.archive.globus.overwriting import beneath_missing, directories, first_look
from labferry.archive.globus.paths import join
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Listing, TransferItem
from labferry.archive.globus.verification import missing_or_different
from labferry.config import GlobusArchive
from labferry.engine.asked import Asked
from labferry.engine.context import GLOBUS, Context
from labferry.engine.globus.places import is_current, place_of, source_of
from labferry.engine.globus.preflight import Preflight
from labferry.engine.marking import mark
from labferry.engine.planning import base_of, items_of, new_batch
from labferry.engine.replacing.collection import ExchangeInCollection, choose
from labferry.engine.replacing.order import Replacing, require_registered, settle_older
from labferry.engine.unchanged import require_unchanged
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, UnexplainedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import EarlierRow, ItemRow, TransferRow
from labferry.journal.transfers import ARCHIVED_EARLIER, NewItem
from labferry.model import Done, Outcome, Waiting, first_of, show_path

LOOK_AGAIN = 21_600.0  # seconds: a job is made due when its task ends; this is only the safety net
ASKING = 150.0  # seconds that one question to Globus may take, with its own deadline


class GlobusStage:
    """Bring one session into one Globus collection."""

    def __init__(self, context: Context, settings: GlobusArchive, service: GlobusService, preflight: Preflight) -> None:
        self._context = context
        self._settings = settings
        self._service = service
        self._preflight = preflight

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Do what can be done now; wait where a task must end first."""
        context, transfers = self._context, self._context.journal.transfers
        session = context.session_of(job)
        replacing_of = partial(self._replacing, job, session, beat=beat)
        transfer = transfers.of_job(job.id) or self._plan(job, session)
        self._hear(session, transfer)
        carried = context.journal.tasks.carries(transfer.id)
        if not carried:
            transfer = self._follow(session, transfer)
            settle_older(context, job, transfer.base, transfer.endpoint, replacing_of)
        replacing = replacing_of(transfer)
        replacing.finish()
        if transfer.state != "verified":
            self._look(job, session, transfer, beat)
            waiting = self._under_way(session, transfer, carried=carried)
            if waiting is not None:
                return waiting
            self._verify(session, transfer, beat)
        replacing.replace()
        require_registered(context, session)
        mark(context, session, transfer, beat)
        return Done()

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt; what it heard of a task is heard only now."""
        journal = self._context.journal
        with journal.together():
            moved = journal.jobs.finish_attempt(job, move)
            if moved:
                journal.transfers.forget_trouble(job.id)
            return moved

    # --- plan ---------------------------------------------------------------------------------------------

    def _plan(self, job: JobRow, session: SessionRow) -> TransferRow:
        """Commit what goes where; a session that Globus cannot name as a whole is not begun."""
        context = self._context
        place = place_of(context, session, job.target)
        items = items_of(context, job, session)
        for item in items:
            join("", item.destination)  # refuses names that are not UTF-8
        return context.journal.transfers.plan(
            job.id, job.target, place.base, new_batch(), items, place.source, place.endpoint
        )

    def _follow(self, session: SessionRow, transfer: TransferRow) -> TransferRow:
        """Go where the configuration says now: what was looked at, sent or verified elsewhere counts no more."""
        base = base_of(self._context, session, transfer.target)
        if (transfer.base, transfer.endpoint) == (base, self._settings.endpoint):
            return transfer
        return self._context.journal.transfers.start_over(transfer.id, base, self._settings.endpoint)

    def _hear(self, session: SessionRow, transfer: TransferRow) -> None:
        """Turn how the transfer's last task failed into the end of this attempt."""
        trouble = self._context.journal.transfers.trouble(transfer.id)
        if trouble is None:
            return
        code, text = trouble
        if code == "changed":
            folder = self._context.folder_of(session)
            for row in self._context.journal.transfers.items(transfer.id):
                if row.verified_at is None:
                    with reading(folder, row.path):
                        require_unchanged(folder, row.version)
            return  # it is again what was sealed
        if code == "transfer_failed":
            raise UnexplainedError(code, text)
        raise BlockedError(code, text)

    # --- before -------------------------------------------------------------------------------------------

    def _look(
        self, job: JobRow, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]
    ) -> None:
        """Find out what stands in the place of files that were not looked for yet, and what may become of it.

        Raises
        ------
        BlockedError
            `destination_differs`, `destination_unverified`, `same_session_elsewhere` or `endpoint_readonly`; nothing
            was sent.
        """
        transfers = self._context.journal.transfers
        todo = transfers.unlooked(transfer.id)
        if not todo:
            return
        self._require_unclaimed(transfer)
        self._preflight.require(transfer, beat)
        asked = Asked.from_json(job.options)
        listings = self._listings(session, transfer, _named(transfer, todo), beat)
        ours, known = self._earlier(transfer)
        look = first_look(listings, _named(transfer, todo), ours, {where: row.md5 for where, row in known.items()})
        chosen = choose(self._context, asked, transfer, todo, look, listings, known)
        if chosen:
            transfers.stage(transfer.id, chosen)
            todo = transfers.unlooked(transfer.id)
            look = first_look(listings, _named(transfer, todo), ours, {where: row.md5 for where, row in known.items()})
        trusted = frozenset(look.unverified) if asked.trust_size else frozenset[str]()
        (replace(look, unverified=()) if trusted else look).require_free(f"archive {transfer.target}")
        cargo = _named(transfer, todo)
        there = [row.destination for row, item in zip(todo, cargo, strict=True) if item.destination in look.verified]
        word = [row.destination for row, item in zip(todo, cargo, strict=True) if item.destination in trusted]
        free = [row.destination for row, item in zip(todo, cargo, strict=True) if item.destination in look.ours]
        with self._context.journal.together():
            transfers.verified(transfer.id, [(destination, ARCHIVED_EARLIER) for destination in there])
            transfers.verified(
                transfer.id, [(destination, f"only its size, trusted by {asked.by}") for destination in word]
            )
            transfers.looked(transfer.id, free)

    def _require_unclaimed(self, transfer: TransferRow) -> None:
        """Leave destinations alone that another folder of the same session has, or is about to have.

        Only roots that are registered find out before that two of their folders are one session (ruling 3). The other
        folder's files may still be on their way, so that a look at the collection shows nothing.

        Raises
        ------
        BlockedError
            `same_session_elsewhere`.
        """
        transfers = self._context.journal.transfers
        claimed = transfers.claimed(transfer)
        for item in transfers.items(transfer.id) if claimed else ():
            if item.verified_at is None and item.destination in claimed:
                root, path = claimed[item.destination]
                owner = f"{show_path(path)} below root {root}"
                what = f"archive {transfer.target}: {show_path(item.destination)} is the place of a file of {owner}"
                raise BlockedError("same_session_elsewhere", what)

    def _earlier(self, transfer: TransferRow) -> tuple[set[str], dict[str, EarlierRow]]:
        """Return the destinations that older generations only began to send, and those they verified, as verified.

        The former may be overwritten, the latter never; of several generations the last one that did anything counts.
        """
        base = os.fsdecode(transfer.base)
        ours: set[str] = set()
        known: dict[str, EarlierRow] = {}
        for row in self._context.journal.transfers.earlier(transfer):
            where = join(base, row.destination)
            if row.verified_at is None:
                known.pop(where, None)
                ours.add(where)
            else:
                ours.discard(where)
                known[where] = row
        return ours, known

    def _replacing(
        self, job: JobRow, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]
    ) -> Replacing:
        exchange = ExchangeInCollection(
            self._service, transfer, lambda cargo: self._listings(session, transfer, cargo, beat), beat
        )
        done = self._context.journal.transfers.exchanged

        def exchange_and_record(rows: Sequence[ItemRow]) -> Sequence[ItemRow]:
            try:
                return exchange(rows, lambda ids: done(transfer.id, ids))
            except StoppedError:
                raise StoppedEarly from None

        return Replacing(self._context, job, session, transfer, exchange_and_record, beat)

    def _under_way(self, session: SessionRow, transfer: TransferRow, *, carried: bool) -> Waiting | None:
        """Return what the files that have not arrived wait for; None when there are none."""
        missing, in_task = self._context.journal.transfers.missing(transfer.id)
        if not missing:
            return None
        if in_task == missing:
            return Waiting(LOOK_AGAIN, "in_flight", f"Globus is moving {missing} files to {transfer.target}")
        self._context.folder_of(session)
        if not is_current(self._context, session, transfer):
            if carried:  # first that task ends: it may have to be submitted again just as it is
                return Waiting(LOOK_AGAIN, "in_flight", f"Globus is moving {in_task} files to {transfer.target}")
            self._context.journal.transfers.read_from(transfer.id, source_of(self._context, session))
        return Waiting(LOOK_AGAIN, "in_batch", f"{missing - in_task} files wait for the next task to {transfer.target}")

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
        rows = transfers.unverified(transfer.id)
        cargo = _named(transfer, rows)
        wrong = dict(missing_or_different(self._listings(session, transfer, cargo, beat), cargo))
        again = [row.destination for row, item in zip(rows, cargo, strict=True) if item.destination in wrong]
        with context.journal.together():
            transfers.release(transfer.id, again)
            transfers.confirmed(transfer.id)
            if not wrong:
                transfers.finish(transfer.id, "verified")
        if wrong:
            where, what = next(iter(wrong.items()))
            named = first_of([f"{where}: {what}"], len(wrong))
            raise UnexplainedError(
                "transfer_failed",
                f"archive {transfer.target}: {named}, although its task succeeded; it is sent again",
            )
        context.reachable(f"archive:{transfer.target}")

    # --- the collection -----------------------------------------------------------------------------------

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
                    transfer.endpoint or "", directory, blame=f"archive:{transfer.target}"
                )
                if listings[directory] is None:
                    missing.add(directory)
        except StoppedError:
            raise StoppedEarly from None
        self._context.reachable(GLOBUS)
        return listings


def _named(transfer: TransferRow, rows: Iterable[NewItem]) -> list[TransferItem]:
    """Return files, in their order, by what they are called in the destination collection."""
    base = os.fsdecode(transfer.base)
    return [TransferItem("", join(base, row.destination), row.size, row.md5) for row in rows]
