"""The order in which something is replaced: when names may be exchanged, and what Alyx hears before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from labferry.alyx.dataset_rows import RemoteDataset, registered_datasets
from labferry.alyx.file_records import mark_missing
from labferry.engine.context import ALYX, Context
from labferry.engine.planning import repository_of
from labferry.engine.replacing.permission import filled_by_us
from labferry.errors import BlockedError, NotYetError, UnexplainedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import JobKind, JobState, first_of, show_path

REPLACING = "replacing"
LOOK_AGAIN = 600.0  # seconds: whoever is waited for makes the job due; this is only the safety net
Beat = Callable[[str, float], None]


class Replacing:
    """The files of one transfer that take the place of something else.

    Parameters
    ----------
    context : Context
    job, session, transfer : JobRow, SessionRow, TransferRow
    exchange : callable
        Lets files have their destinations, records each, and returns those that must be brought again.
    beat : callable
    """

    def __init__(
        self,
        context: Context,
        job: JobRow,
        session: SessionRow,
        transfer: TransferRow,
        exchange: Callable[[Sequence[ItemRow]], Sequence[ItemRow]],
        beat: Beat,
    ) -> None:
        self._context = context
        self._job = job
        self._session = session
        self._transfer = transfer
        self._exchange = exchange
        self._beat = beat

    def finish(self) -> None:
        """Go on with exchanges that an interruption may have left half-way: before anything is looked for or sent."""
        self._let_have(self._begun())

    def settle(self) -> None:
        """Go on with what a generation left half-way that another one followed; what cannot be ended is given up.

        Raises
        ------
        BlockedError
            `hash_conflict`.
        """
        transfers = self._context.journal.transfers
        try:
            gone = self._exchange_names([row for row in self._begun() if row.verified_at is not None])
        except BlockedError as problem:
            if problem.code != "destination_differs":
                raise
            gone = self._begun()
        if gone:
            transfers.lost(self._transfer.id, [row.place for row in gone])
            transfers.finish(self._transfer.id, "failed")

    def replace(self) -> None:
        """Exchange what is verified, once that may be.

        Raises
        ------
        NotYetError
            `replacing`: another archive has to be ready first. `files_left`: an operator ended or held the job.
        BlockedError
            `hash_conflict`, or `destination_differs`: a third file has appeared.
        UnexplainedError
            `transfer_failed`: a staged file is gone; it is brought again.
        """
        rows = [row for row in self._staged() if row.verified_at is not None]
        if rows and self._session.eid is not None:
            require_staged_everywhere(self._context, self._session, self._job, rows)
        if rows and self._context.journal.jobs.is_over(self._job.id):
            raise NotYetError("files_left", "an operator ended or held it", 0.0)
        self._let_have(rows)

    def _staged(self) -> list[ItemRow]:
        return self._context.journal.transfers.staged(self._transfer.id)

    def _begun(self) -> list[ItemRow]:
        return [row for row in self._staged() if row.exchange_at is not None]

    def _exchange_names(self, rows: Sequence[ItemRow]) -> Sequence[ItemRow]:
        """Commit what is about to happen, tell Alyx, and let it happen; return what must be brought again."""
        self._context.journal.transfers.exchanging(self._transfer.id, [row.file_id for row in rows])
        withdraw(self._context, self._session, self._transfer, rows, self._beat)
        return self._exchange(rows)

    def _let_have(self, rows: Sequence[ItemRow]) -> None:
        if not rows:
            return
        journal = self._context.journal
        gone = self._exchange_names(rows)
        if gone:
            journal.transfers.lost(self._transfer.id, [row.place for row in gone])
            named = first_of([show_path(gone[0].place)], len(gone))
            raise UnexplainedError("transfer_failed", f"gone, and sent again: {named}")
        journal.jobs.hurry_session(self._session.id, REPLACING)


def settle_older(
    context: Context, job: JobRow, base: bytes, endpoint: str | None, replacing_of: Callable[[TransferRow], Replacing]
) -> None:
    """Bring the exchanges of older generations to an end: only then is it known what has the names.

    Parameters
    ----------
    base, endpoint : bytes, str or None
        Where the job's transfer goes: what is elsewhere is left as it is.
    replacing_of : callable
        As for the job's own transfer, for that of an older job.
    """
    for transfer in context.journal.transfers.half_exchanged(job, base, endpoint):
        replacing_of(transfer).settle()


# --- when -------------------------------------------------------------------------------------------------


def require_staged_everywhere(context: Context, session: SessionRow, job: JobRow, rows: Iterable[ItemRow]) -> None:
    """Wait until every archive that holds another version has the new one beside it: what is seen changes at once.

    Raises
    ------
    NotYetError
        `replacing`.
    """
    journal = context.journal
    staged: dict[str, set[int]] = {}
    for other in journal.jobs.of_generation(session.id, JobKind.ARCHIVE):
        transfer = journal.transfers.of_job(other.id)
        if other.id != job.id and transfer is not None:
            rows_there = journal.transfers.items(transfer.id)
            staged[other.target] = {row.file_id for row in rows_there if row.verified_at is not None}
    filled = set(filled_by_us(context, context.root_of(session))) - {job.target}
    for row in rows:
        for target, copy in journal.transfers.holding(row.file_id).items():
            if target in filled and copy.md5 != row.md5 and row.file_id not in staged.get(target, ()):
                why = f"{show_path(row.path)} must be brought to {target} too before anything is replaced"
                raise NotYetError(REPLACING, why, LOOK_AGAIN)


def require_registered(context: Context, session: SessionRow) -> None:
    """Wait until Alyx holds the hashes of what the archives hold now.

    Raises
    ------
    NotYetError
        `replacing`: the registration that waited for the archives is not done.
    """
    for job in context.journal.jobs.of_generation(session.id, JobKind.REGISTER):
        if job.state is not JobState.DONE:
            why = f"{show_path(session.path)} is in place; its new content is registered next"
            raise NotYetError(REPLACING, why, LOOK_AGAIN)


# --- what Alyx hears ---------------------------------------------------------------------------------------


def withdraw(
    context: Context,
    session: SessionRow,
    transfer: TransferRow,
    rows: Iterable[ItemRow],
    beat: Callable[[str, float], None],
) -> None:
    """Tell Alyx that copies do not exist, before their names are given away; may be repeated.

    Raises
    ------
    BlockedError
        `hash_conflict`: Alyx holds a hash that is neither the old nor the new one, so the new one could not be
        registered.
    """
    if session.eid is None:
        return
    known = [row for row in rows if row.dataset_id is not None]
    if not known:
        return
    beat(f"asking Alyx what it says of {show_path(session.path)}", 5 * context.config.alyx.timeout)
    repository = repository_of(context, session, transfer.target)
    remote = {there.id: there for there in registered_datasets(context.alyx, session.eid).values()}
    context.reachable(ALYX)
    for row in known:
        there = _require_ours(row, remote.get(row.dataset_id or ""))
        record = there.record_at(repository, context.alyx_path_of(session, row.path)) if repository else None
        if record is not None and record.exists:
            beat(f"telling Alyx that {show_path(row.path)} is being replaced", 3 * context.config.alyx.timeout)
            mark_missing(context.alyx, record.id)


def _require_ours(row: ItemRow, there: RemoteDataset | None) -> RemoteDataset:
    name = show_path(row.path)
    if there is None:
        raise BlockedError("hash_conflict", f"{name} was registered and Alyx does not have it any more")
    if there.hash not in {row.md5, row.registered_hash}:
        raise BlockedError("hash_conflict", f"{name}: Alyx holds MD5 {there.hash}, which was not written from here")
    return there
