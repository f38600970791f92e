"""Files in the way of a Globus archive whose content nobody knows (ruling 18): a deep look finds it out.

Those that are the session's own after all are evidence from then on, and the job that was blocked for them goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from labferry.archive.globus.overwriting import directories
from labferry.archive.globus.paths import join
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import TransferItem
from labferry.archive.globus.verification import missing_or_different
from labferry.archive.plan import Fault
from labferry.engine.context import Context
from labferry.engine.verifying.contents import Contents
from labferry.engine.verifying.findings import Finding
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import JobKind, JobState

UNVERIFIED = "destination_unverified"
HOW = "found there, read by verify --deep"  # how a copy was verified


def strangers(
    context: Context,
    session: SessionRow,
    target: str,
    service: GlobusService,
    contents_of: Callable[[str], Contents],
) -> list[Finding]:
    """Compare the files that a session is blocked for; take over those that are right, return the others.

    `contents_of` makes what learns the content of files, for the folder that destinations are relative to.
    """
    found: list[Finding] = []
    for job, transfer, rows in _blocked(context, session, target):
        named = {join(os.fsdecode(transfer.base), row.place): row for row in rows}
        cargo = [TransferItem("", where, row.size, row.md5) for where, row in named.items()]
        blame = f"archive:{target}"
        listings = {one: service.listing(transfer.endpoint or "", one, blame=blame) for one in directories(cargo)}
        other = dict(missing_or_different(listings, cargo))
        sizes = {where: row.size for where, row in named.items() if where not in other}
        md5s = contents_of(os.fsdecode(transfer.base)).md5_of(sizes) if sizes else {}
        equal = [row for where, row in named.items() if where in sizes and md5s.get(where) == row.md5]
        with context.journal.together():
            context.journal.transfers.verified(transfer.id, [(row.place, HOW) for row in equal])
            if equal:
                context.journal.jobs.revive(job.id)
        context.wakeup.ring()
        found += _others(target, {where: row for where, row in named.items() if where in sizes}, md5s)
    return found


def _blocked(context: Context, session: SessionRow, target: str) -> Iterator[tuple[JobRow, TransferRow, list[ItemRow]]]:
    journal = context.journal
    for job in journal.jobs.of_generation(session.id, JobKind.ARCHIVE):
        transfer = journal.transfers.of_job(job.id)
        if transfer is not None and (job.target, job.state, job.code) == (target, JobState.BLOCKED, UNVERIFIED):
            rows = journal.transfers.items(transfer.id)
            yield job, transfer, [row for row in rows if row.ours is None and row.verified_at is None]


def _others(target: str, rows: dict[str, ItemRow], md5s: dict[str, str]) -> Iterator[Finding]:
    for where, row in rows.items():
        if md5s.get(where) != row.md5:
            known = f"with MD5 {md5s[where]}" if md5s.get(where) else "with unknown content"
            detail = (
                f"archive {target}: {where}: a file that is not from here stands there, {known}; ours has {row.md5}"
            )
            yield Finding(row.path, Fault.CONTENT.value, detail)
