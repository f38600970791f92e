"""Tasks, events and files as Transfer's documents.

Room: sandbox. Pure functions of rows.
"""

from __future__ import annotations

from labferry.sandbox.alyx.store import Row
from labferry.sandbox.globus.answers import moment
from labferry.sandbox.globus.auth import CLIENT_ID
from labferry.sandbox.globus.collections import Collection
from labferry.sandbox.globus.tasks import LIVE


def task(row: Row, source: Collection, destination: Collection, *, working: bool, now: float) -> dict[str, object]:
    """Describe a task.

    Parameters
    ----------
    working : bool
        Whether it is one of the few that are worked at now; otherwise it is queued.
    now : float
        Epoch seconds.
    """
    live = row["status"] in LIVE
    fault = row["fault_code"] if live else None
    status = (fault or ("OK" if working else "Queued")) if live else None
    seconds = max((row["completed"] or now) - row["requested"], 1.0)
    return {
        "DATA_TYPE": "task",
        "task_id": row["id"],
        "type": "TRANSFER",
        "status": row["status"],
        "label": row["label"],
        "owner_id": CLIENT_ID,
        "username": f"u_{CLIENT_ID[:8]}",
        "command": "API 0.10",
        "source_endpoint_id": source.id,
        "source_endpoint_display_name": source.name,
        "destination_endpoint_id": destination.id,
        "destination_endpoint_display_name": destination.name,
        "request_time": moment(row["requested"]),
        "completion_time": moment(row["completed"]),
        "deadline": moment(row["deadline"]),
        "sync_level": row["sync_level"],
        **{
            name: bool(row[name])
            for name in (
                "verify_checksum",
                "preserve_timestamp",
                "encrypt_data",
                "skip_source_errors",
                "fail_on_quota_errors",
            )
        },
        "delete_destination_extra": False,
        "recursive_symlinks": "ignore",
        "filter_rules": None,
        "files": row["files"],
        "directories": 0,
        "symlinks": 0,
        "files_transferred": row["files_transferred"],
        "files_skipped": row["files_skipped"],
        "bytes_transferred": row["bytes_transferred"],
        "bytes_checksummed": row["bytes_checksummed"],
        "effective_bytes_per_second": int(row["bytes_transferred"] / seconds),
        **_subtasks(row, live=live),
        "faults": row["faults"],
        "is_ok": fault is None if live else None,
        "is_paused": bool(row["is_paused"]),
        "nice_status": status,
        "nice_status_short_description": status and status.replace("_", " ").lower(),
        "nice_status_details": row["fault_description"] if fault else None,
        "nice_status_expires_in": -1 if live else None,
        "fatal_error": _fatal_error(row),
        "canceled_by_admin": None if row["admin_message"] is None else "DESTINATION",
        "canceled_by_admin_message": row["admin_message"],
        "history_deleted": False,
    }


def _subtasks(row: Row, *, live: bool) -> dict[str, int]:
    """Count the steps: one for each file, and one for looking what there is to do."""
    total = row["files"] + 1
    succeeded = row["files_transferred"] + row["files_skipped"] + (row["status"] == "SUCCEEDED")
    left = total - succeeded - row["skipped_errors"]
    ending = {"CANCELED": "subtasks_canceled", "EXPIRED": "subtasks_expired"}
    counted = {
        "subtasks_total": total,
        "subtasks_succeeded": succeeded,
        "subtasks_skipped_errors": row["skipped_errors"],
        "subtasks_pending": 0,
        "subtasks_retrying": int(live and row["fault_code"] is not None),
        "subtasks_canceled": 0,
        "subtasks_expired": 0,
        "subtasks_failed": 0,
    }
    return counted | {"subtasks_pending" if live else ending.get(row["fatal_code"], "subtasks_failed"): left}


def _fatal_error(row: Row) -> dict[str, object] | None:
    if row["fatal_code"] is None:
        return None
    return {"code": row["fatal_code"], "description": row["fatal_description"]}


def event(row: Row) -> dict[str, object]:
    """Describe an event."""
    return {
        "DATA_TYPE": "event",
        "time": moment(row["time"]),
        "code": row["code"],
        "is_error": bool(row["is_error"]),
        "description": row["description"],
        "details": row["details"],
    }


def successful_transfer(row: Row) -> dict[str, object]:
    """Describe a file that was moved."""
    return {
        "DATA_TYPE": "successful_transfer",
        "source_path": row["source_path"],
        "destination_path": row["destination_path"],
        "size": row["size"],
        "checksum": row["checksum"],
        "checksum_algorithm": None if row["checksum"] is None else row["algorithm"],
        "dynamic": False,
    }


def skipped_error(row: Row) -> dict[str, object]:
    """Describe a file that was given up."""
    return {
        "DATA_TYPE": "skipped_error",
        "source_path": row["source_path"],
        "destination_path": row["destination_path"],
        "error_code": row["error_code"],
        "error_details": "",
        "is_directory": False,
        "is_symlink": False,
        "is_delete_destination_extra": False,
        "external_checksum": row["external_checksum"],
        "checksum_algorithm": row["algorithm"],
    }
