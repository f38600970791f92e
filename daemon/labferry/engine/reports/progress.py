"""How far transfers are, how fast, and how long they still take; what nobody knows is None."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labferry.engine.context import Context
from labferry.engine.reports.places import session_folder
from labferry.engine.speed import seconds_left
from labferry.journal.transfer_rows import TransferRow
from labferry.model import path_fields, utc_text

LISTED = 20  # transfers named in one answer: those that have the least left


def transfers_fields(context: Context) -> dict[str, Any]:
    """Return `status.data.transfers`: all active ones together, and each of those that move now."""
    totals = dict(context.journal.transfers.totals())
    moving = list(_moving(context))
    speeds = [speed for _, speed in moving if speed is not None]
    speed = sum(speeds) if speeds else None
    moving.sort(key=lambda one: one[0].bytes_total - one[0].bytes_done)
    return {
        **totals,
        **_speed_fields(totals["bytes_total"] - totals["bytes_done"], speed),
        "moving": [
            {**where_fields(context, transfer), **progress_fields(context, transfer)} for transfer, _ in moving[:LISTED]
        ],
    }


def _moving(context: Context) -> Iterator[tuple[TransferRow, float | None]]:
    for transfer_id in context.speeds.moving():
        transfer = context.journal.transfers.get(transfer_id)
        if transfer.state == "active":
            yield transfer, context.speeds.of(transfer_id)


def where_fields(context: Context, transfer: TransferRow) -> dict[str, Any]:
    """Return whose transfer it is."""
    job = context.journal.jobs.get(transfer.job_id)
    session = context.journal.sessions.get(job.session_id)
    folder = path_fields(session_folder(context, session)) if session else {}
    return {"id": transfer.id, "job": job.id, "session": job.session_id, **folder, "target": transfer.target}


def progress_fields(context: Context, transfer: TransferRow) -> dict[str, Any]:
    """Return how far a transfer is, as its lane last wrote it down, and how fast it moves now."""
    return {
        "bytes_done": transfer.bytes_done,
        "bytes_total": transfer.bytes_total,
        "files_done": transfer.files_done,
        "files_total": transfer.files_total,
        **_speed_fields(transfer.bytes_total - transfer.bytes_done, context.speeds.of(transfer.id)),
    }


def _speed_fields(left: int, speed: float | None) -> dict[str, float | None]:
    return {
        "bytes_per_s": None if speed is None else round(speed, 1),
        "seconds_left": seconds_left(left, speed),
    }


class ProgressNews:
    """What those who follow events are told of transfers: each as often as it has moved since they last heard of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[int, tuple[int, int]] = {}

    def since_last_time(self, event_id: int) -> list[dict[str, Any]]:
        """Return a record for each transfer that has moved, like an event with the id of the last real one."""
        records = []
        moving = {transfer.id: transfer for transfer, _ in _moving(self._context)}
        for transfer in moving.values():
            done = transfer.bytes_done, transfer.files_done
            if done != self._told.get(transfer.id):
                records.append(self._record(event_id, transfer))
        self._told = {one.id: (one.bytes_done, one.files_done) for one in moving.values()}
        return records

    def _record(self, event_id: int, transfer: TransferRow) -> dict[str, Any]:
        where = where_fields(self._context, transfer)
        transfer_id, target = where.pop("id"), where.pop("target")
        return {
            "id": event_id,
            "at": utc_text(self._context.clock.now()),
            "action": "progress",
            "from": None,
            "to": None,
            "code": "",
            **where,
            "transfer": {"id": transfer_id, "target": target, **progress_fields(self._context, transfer)},
        }
