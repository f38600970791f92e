"""Telling Alyx which datasets are in an archive: only verified ones, and only under the hash that was verified."""

from __future__ import annotations

from collections.abc import Callable

from labferry.alyx.dataset_rows import RemoteDataset, registered_datasets
from labferry.alyx.file_records import ensure_file_record, mark_exists
from labferry.engine.context import ALYX, Context
from labferry.engine.planning import repository_of
from labferry.errors import BlockedError
from labferry.journal.rows import SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import show_path

LOOK_HOLDS = 2.0  # seconds: what Alyx said longer ago is asked again before it is told that copies exist


def mark(context: Context, session: SessionRow, transfer: TransferRow, beat: Callable[[str, float], None]) -> None:
    """Set the file records of a verified transfer to `exists`; may be repeated after any interruption.

    Raises
    ------
    BlockedError
        `hash_conflict` (ruling 10), or the target's repository cannot be found.
    """
    if not context.config.archive[transfer.target].repository or session.eid is None:
        return
    todo = [
        row
        for row in context.journal.transfers.items(transfer.id)
        if row.verified_at is not None and row.marked_at is None and row.dataset_id is not None
    ]
    if not todo:
        return
    beat(f"telling Alyx about {show_path(session.path)} in {transfer.target}", 5 * context.config.alyx.timeout)
    repository = repository_of(context, session, transfer.target)
    looked_at = -LOOK_HOLDS
    remote: dict[str, RemoteDataset] = {}
    for row in todo:
        if context.clock.monotonic() - looked_at >= LOOK_HOLDS:
            remote = {there.id: there for there in registered_datasets(context.alyx, session.eid).values()}
            looked_at = context.clock.monotonic()
            context.reachable(ALYX)
        there = require_same(row, remote.get(row.dataset_id or ""))
        beat(f"telling Alyx about {show_path(row.path)}", 3 * context.config.alyx.timeout)
        _mark_one(context, session, row, there, repository)
        context.journal.transfers.marked(transfer.id, row.file_id)


def _mark_one(context: Context, session: SessionRow, row: ItemRow, there: RemoteDataset, repository: str) -> None:
    relative = context.alyx_path_of(session, row.path)
    record = there.record_at(repository, relative)
    if record is None:
        record = ensure_file_record(context.alyx, there.id, repository, relative)
    if not record.exists:
        mark_exists(context.alyx, record.id)


def require_same(row: ItemRow, there: RemoteDataset | None) -> RemoteDataset:
    """Return Alyx' dataset for a verified file, looked at again before Alyx is told that a copy exists.

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
    return there
