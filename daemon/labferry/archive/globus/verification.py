"""Archive room: whether a finished task really did what was planned. Pure comparisons, nothing is asked here.

Three looks, the cheapest first: the task's own counters, the checksums of what it copied, and what the
destination lists afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labferry.archive.globus.paths import split
from labferry.archive.globus.values import Arrived, Listing, Task, TaskStatus, TransferItem


def counters_differ(task: Task, items: int) -> str:
    """Say in what the task differs from a complete success with `items` files; empty if in nothing."""
    if task.status is not TaskStatus.SUCCEEDED:
        return f"the task is {task.status}"
    if task.fatal_code:
        return f"the task ended with {task.fatal_code}: {task.fatal_text}"
    if task.files != items:
        return f"the task had {task.files} files, {items} were planned"
    if task.files_transferred + task.files_skipped != items:
        return f"{task.files_transferred} files were copied and {task.files_skipped} found equal, {items} were planned"
    if task.skipped_errors:
        return f"{task.skipped_errors} files were left out because of errors"
    return ""


def arrivals_differ(arrived: Iterable[Arrived], items: Iterable[TransferItem]) -> dict[str, str]:
    """Return what differs, by destination, between what a task copied and what was planned.

    Files that it found equal are not among the arrivals, so nothing is said about those.
    """
    planned = {item.destination: item for item in items}
    differences = {}
    for arrival in arrived:
        item = planned.get(arrival.destination)
        if difference := "was not planned" if item is None else _difference(arrival, item):
            differences[arrival.destination] = difference
    return differences


def _difference(arrival: Arrived, item: TransferItem) -> str:
    if arrival.size != item.size:
        return f"{arrival.size} bytes arrived, {item.size} were planned"
    if arrival.algorithm.upper() == "MD5" and arrival.checksum.lower() != item.md5.lower():
        return f"MD5 {arrival.checksum} arrived, {item.md5} was planned"
    return ""


def missing_or_different(
    listing_by_directory: Mapping[str, Listing | None], items: Iterable[TransferItem]
) -> list[tuple[str, str]]:
    """Return the destination of every item that is not there as planned, with what is wrong.

    Parameters
    ----------
    listing_by_directory : mapping
        Every directory of `overwriting.directories`; one that is missing or None holds nothing.
    items : iterable of TransferItem
        What must be there.
    """
    wrong = []
    for item in items:
        directory, name = split(item.destination)
        entry = (listing_by_directory.get(directory) or {}).get(name)
        if entry is None:
            wrong.append((item.destination, "missing"))
        elif not entry.is_file:
            wrong.append((item.destination, "no regular file"))
        elif entry.size != item.size:
            wrong.append((item.destination, f"size {entry.size} instead of {item.size}"))
    return wrong
