"""Who travels with whom: pure decisions about the next task."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from labferry.archive.globus.paths import join
from labferry.archive.globus.values import TransferItem
from labferry.journal.transfer_rows import CargoRow, ParcelRow, ReadyRow

BATCH_BYTES = 50 * 10**9  # what is already in a task waits for all that is: a giant session gets a task of its own


def choose(ready: Sequence[ReadyRow], max_items: int) -> dict[int, int]:
    """Return the transfers of the next task, and how many files it takes of each.

    Parameters
    ----------
    ready : sequence of ReadyRow
        In the order of their turn.
    max_items : int
        Files that one task may have; a session with more gets several tasks.
    """
    loads: dict[int, int] = {}
    files = size = 0
    for row in ready:
        if row.alone and loads:
            continue  # its turn comes when it is the first
        if loads and size + row.bytes > BATCH_BYTES:
            break
        loads[row.transfer_id] = min(row.files, max_items - files)
        files += loads[row.transfer_id]
        size += row.bytes
        if row.alone or files >= max_items:
            break
    return loads


def items_to_carry(cargo: Iterable[CargoRow | ParcelRow]) -> tuple[TransferItem, ...]:
    """Return the files of a task as its document names them."""
    return tuple(
        TransferItem(
            join(row.source, row.path), join(os.fsdecode(row.base), row.destination), size=row.size, md5=row.md5
        )
        for row in cargo
    )
