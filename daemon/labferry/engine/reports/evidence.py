"""How it is known that a transfer's files are in the archive: what `labferry show` prints of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labferry.engine.context import Context
from labferry.journal.transfer_rows import ItemRow, TaskRow, TransferRow
from labferry.model import path_fields, show_path, utc_text

LISTED = 1000  # files listed of one transfer; all are counted
COUNTERS = ("files", "files_transferred", "files_skipped", "bytes_transferred", "skipped_errors", "faults")


def evidence_fields(context: Context, transfer: TransferRow) -> dict[str, Any]:
    """Return the evidence of a transfer as JSON.

    Returns
    -------
    dict
        `summary[]` (`how`, `files`, `bytes`, `marked`, `replaced`), `tasks[]` of Globus with its own counters, and
        `files[]`: the first `LISTED` with `path`, `destination`, `size`, `md5`, `verified_at`, `how`, `marked_at`,
        and `kept`, the name that what stood there has now.
    """
    journal = context.journal
    return {
        "summary": [dict(one) for one in journal.transfers.evidence(transfer.id)],
        "tasks": [_task_fields(task) for task in journal.tasks.of_transfer(transfer.id)],
        "files": [_item_fields(item) for item in journal.transfers.first_items(transfer.id, LISTED)],
    }


def _task_fields(task: TaskRow) -> dict[str, Any]:
    said: Mapping[str, Any] = json.loads(task.evidence or "{}")
    return {
        "task": task.globus_id,
        "label": task.label,
        "state": task.state,
        "fault": task.fault,
        "ended_at": utc_text(task.ended_at),
        "counters": {name: said[name] for name in COUNTERS if name in said},
    }


def _item_fields(item: ItemRow) -> dict[str, Any]:
    return {
        **path_fields(item.path),
        "destination": show_path(item.place),
        "size": item.size,
        "md5": item.md5,
        "verified_at": utc_text(item.verified_at),
        "how": item.verified_how or "",
        "marked_at": utc_text(item.marked_at),
        "kept": show_path(item.kept) if item.kept and item.exchanged_at is not None else None,
    }
