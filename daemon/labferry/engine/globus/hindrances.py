"""A task that meets the same fault again and again: whether it is hopeless, and which files are to blame. Pure.

Most faults never fail a task: Globus goes on trying for days. Some go away by themselves. Others do not, since the
file or a permission is not as the task needs it, and all that time the rest of the task may be held up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from labferry.archive.globus.faults import FaultClass, fault_class
from labferry.archive.globus.values import Fault
from labferry.engine.globus.batches import items_to_carry
from labferry.journal.transfer_rows import CargoRow, TaskRow

GRACE = 600.0  # seconds that such a fault may last; permissions are being changed, files are being put back
REPEATED = 3  # so many errors of this kind with one file: the first ones are what checksums are there for
_USUAL = "VERIFY_CHECKSUM"
_HOPELESS = frozenset({FaultClass.OUR_DATA, FaultClass.PERMISSION})


def may_be_hopeless(task: TaskRow, fault: str, now: float, grace: float = GRACE) -> bool:
    """Say whether a task has met a fault for so long that it will not go away; its errors tell the rest."""
    since = task.fault_since
    return fault_class(fault) in _HOPELESS and fault == task.fault and since is not None and now - since >= grace


def blamed(faults: Iterable[Fault], cargo: Sequence[CargoRow]) -> dict[int, tuple[str, str]]:
    """Return the transfers with a file that will never arrive as it is, each with its fault and a sentence about it.

    Parameters
    ----------
    faults : iterable of Fault
        The task's errors, the newest first. Their wording may change, so the path of a file is all that is read of it.
    cargo : sequence of CargoRow
        The files of the task.
    """
    rows = dict(zip(items_to_carry(cargo), cargo, strict=True))
    counted = Counter(fault for fault in faults if fault_class(fault.code) in _HOPELESS)
    found: dict[int, tuple[str, str]] = {}
    for fault, times in counted.items():
        if fault.code == _USUAL and times < REPEATED:
            continue
        named = [item for item in rows if item.source in fault.text or item.destination in fault.text]
        if not named:
            continue
        item = max(named, key=lambda one: len(one.source))  # a path may begin with another one
        found.setdefault(rows[item].transfer_id, (fault.code, f"{item.source}: {fault.code}: {fault.text}"))
    return found


def is_usual(faults: Iterable[Fault], fault: str) -> bool:
    """Say whether a fault is only what comparing checksums is there for: no file met it often enough."""
    counted = Counter(one for one in faults if one.code == _USUAL)
    return fault == _USUAL and max(counted.values(), default=0) < REPEATED
