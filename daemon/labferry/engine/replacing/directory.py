"""What of a directory gives its name away, and the exchange there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from labferry.archive.base import Archive, StoppedError
from labferry.archive.exchange import Exchange, kept_name, staged_name
from labferry.archive.plan import Fault, Item, Plan
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.replacing.order import Beat
from labferry.engine.replacing.permission import replaces_changed
from labferry.engine.worker import StoppedEarly
from labferry.errors import UnavailableError
from labferry.journal.rows import JobRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import show_path

LOOKING = 120.0  # seconds between two signs of life
OTHER_CONTENT = frozenset({Fault.SIZE, Fault.CONTENT})


def choose(
    context: Context, archive: Archive, job: JobRow, transfer: TransferRow, plan_of: Callable[[], Plan], beat: Beat
) -> None:
    """Commit which of the files that are still to come replace what stands in their place.

    On an operator's word: whatever other file stands there. By the configuration: what we archived there ourselves, as
    long as it is as we left it. Whatever is not chosen stays, and blocks the job.
    """
    asked = Asked.from_json(job.options)
    if not (asked.replace or replaces_changed(context, transfer.target)):
        return
    plan = plan_of()
    pending = {item.destination for item in context.journal.transfers.unverified(transfer.id)}
    pending -= {row.place for row in context.journal.transfers.staged(transfer.id)}
    items = {item.destination: item for item in plan.items if item.destination in pending}
    old = _archived_before(context, transfer, items)
    doomed = old if not asked.replace else {**items, **old}
    if not doomed:
        return
    found = _faults(context, archive, replace(plan, items=tuple(items[name] for name in doomed)), beat, deep=True)
    if not asked.replace:
        altered = _faults(context, archive, replace(plan, items=tuple(old.values())), beat, deep=False)
        found = {name: fault for name, fault in found.items() if altered.get(name) in {None, Fault.MISSING}}
    chosen = [
        name for name, fault in found.items() if fault in OTHER_CONTENT or (fault is Fault.MISSING and name in old)
    ]
    context.journal.transfers.stage(
        transfer.id, ((name, staged_name(name, transfer.batch), kept_name(name, transfer.batch)) for name in chosen)
    )


def _archived_before(context: Context, transfer: TransferRow, items: dict[bytes, Item]) -> dict[bytes, Item]:
    """Return, as it was verified, what older transfers brought to the places of files with other content now."""
    newest = {
        row.destination: row for row in context.journal.transfers.earlier(transfer) if row.verified_at is not None
    }
    return {
        name: replace(item, size=newest[name].size, md5=newest[name].md5)
        for name, item in items.items()
        if name in newest and newest[name].md5 != item.md5
    }


def _faults(context: Context, archive: Archive, plan: Plan, beat: Beat, *, deep: bool) -> dict[bytes, Fault]:
    """Return what stands in the place of files and is not them, or that nothing does."""
    what = f"looking what stands in the way in {archive.target}"
    try:
        archive.preflight(plan.base)
        differences = archive.verify(plan, lambda _: beat(what, LOOKING), lambda: context.wakeup.stopping, deep=deep)
    except StoppedError:
        raise StoppedEarly from None
    except UnavailableError as error:
        if error.code != "target_missing":
            raise
        return dict.fromkeys((item.destination for item in plan.items), Fault.MISSING)
    return {difference.destination: difference.fault for difference in differences}


def exchange_in(
    context: Context, archive: Archive, transfer: TransferRow, rows: Sequence[ItemRow], beat: Beat
) -> Sequence[ItemRow]:
    """Let verified files have their destinations; return those that are gone and must be brought again."""
    exchanges = {
        Exchange(row.place, row.destination, row.kept or b"", row.size, row.md5, begun=row.exchange_at is not None): row
        for row in rows
    }
    what = f"replacing {show_path(rows[0].destination)} and others in {transfer.target}"
    try:
        gone = archive.exchange(
            transfer.base,
            exchanges,
            lambda one: context.journal.transfers.exchanged(transfer.id, [exchanges[one].file_id]),
            lambda: beat(what, LOOKING),
            lambda: context.wakeup.stopping,
        )
    except StoppedError:
        raise StoppedEarly from None
    return [exchanges[one] for one in gone]
