"""Archive room: what a transfer task is called and how it is asked for. Nothing is sent here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from labferry.archive.globus.values import Submission, TransferItem

if TYPE_CHECKING:
    from globus_sdk import TransferData

_LABEL_LIMIT = 128  # characters
_NOT_IN_LABELS = re.compile(r"[^A-Za-z0-9 _-]")


def label(server_name: str, batch: str) -> str:
    """Return the label of a batch's task; the batch is always whole in it, so that the task can be found by it."""
    room = _LABEL_LIMIT - len(f"lf  {batch}")
    server = _NOT_IN_LABELS.sub("_", server_name).strip()[:room].rstrip()
    return " ".join(part for part in ("lf", server, batch) if part)


def transfer_document(submission: Submission) -> TransferData:
    """Return the document to submit: for equal submissions an equal one, every option written out.

    What is not said is decided by the service, and its defaults have changed before. There is no deadline, since
    Globus itself extends one that was not set for as long as something moves.
    """
    from globus_sdk import MISSING, TransferData

    document = TransferData(
        source_endpoint=submission.source_endpoint,
        destination_endpoint=submission.destination_endpoint,
        label=submission.label,
        submission_id=submission.submission_id,
        # after an interruption only checksums tell a whole file from a part of one; a probe must leave nothing out
        sync_level=MISSING if submission.probes else "checksum",
        verify_checksum=True,
        preserve_timestamp=True,
        encrypt_data=True,
        fail_on_quota_errors=True,
        skip_source_errors=False,
        notify_on_succeeded=False,
        notify_on_failed=False,
        notify_on_inactive=False,
    )
    checksum = _only_kind if submission.probes else _with_checksum if submission.checksums else _without_checksum
    # what `add_item` would append, without its place for every option there is: that is a third of the memory
    document["DATA"] = [
        {
            "DATA_TYPE": "transfer_item",
            "source_path": item.source,
            "destination_path": item.destination,
            **checksum(item),
        }
        for item in submission.items
    ]
    return document


def _with_checksum(item: TransferItem) -> dict[str, str]:
    return {"external_checksum": item.md5, "checksum_algorithm": "MD5"}


def _only_kind(_: TransferItem) -> dict[str, str]:
    return {"checksum_algorithm": "MD5"}


def _without_checksum(_: TransferItem) -> dict[str, str]:
    return {}
