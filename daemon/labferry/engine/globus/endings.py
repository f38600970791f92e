"""What follows from how a task ended: pure decisions, from what Globus says of it and what it carried."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from labferry.archive.globus.faults import FaultClass, fault_class
from labferry.archive.globus.values import Arrived, Task
from labferry.archive.globus.verification import arrivals_differ
from labferry.engine.globus.batches import items_to_carry
from labferry.errors import UnavailableError
from labferry.journal.tasks import Ending
from labferry.journal.transfer_rows import CargoRow

BY_ITSELF = " by Globus alone, no MD5"  # of a copy whose content nobody compared with the sealed MD5
PATIENCE = 600.0  # seconds until a target gets another task after one that met no room there, or no rights


def succeeded(there: Task, cargo: Sequence[CargoRow], arrived: Collection[Arrived]) -> Ending:
    """Compare what Globus hashed with what was sealed; what it did not copy it has found equal."""
    items = items_to_carry(cargo)
    rows = dict(zip((item.destination for item in items), cargo, strict=True))
    different = arrivals_differ(arrived, items)
    sent = {one.destination for one in arrived}
    how = {
        (row.transfer_id, row.file_id): "transferred" if where in sent else "compared"
        for where, row in rows.items()
        if where not in different
    }
    troubles = {
        rows[where].transfer_id: ("transfer_failed", f"task {there.task_id} succeeded, but {where}: {what}")
        for where, what in different.items()
        if where in rows
    }
    return Ending("succeeded", evidence=_evidence(there), arrived=how, troubles=troubles)


def succeeded_by_itself(
    there: Task, cargo: Sequence[CargoRow], arrived: Collection[Arrived], changed: Collection[int]
) -> Ending:
    """Decide as `succeeded` about a task that was not told what the checksums must be.

    That source and destination were equal is Globus' word; what the source was is ours: a session with a file that is
    not the sealed version any more (`changed`) is sent back. Where Globus lists an MD5 all the same, it was compared.
    """
    found = succeeded(there, cargo, arrived)
    known = {one.destination for one in arrived if one.algorithm.upper() == "MD5"}
    places = (item.destination for item in items_to_carry(cargo))
    alone = {(row.transfer_id, row.file_id) for where, row in zip(places, cargo, strict=True) if where not in known}
    how = {
        key: f"{word}{BY_ITSELF}" if key in alone else word
        for key, word in (found.arrived or {}).items()
        if key[0] not in changed
    }
    troubles = {**(found.troubles or {}), **dict.fromkeys(changed, ("changed", ""))}
    return replace(found, arrived=how, troubles=troubles)


def without_checksums(text: str) -> Ending:
    """End a task whose collection cannot compute the checksums it was told of: all of it goes again, without them."""
    return Ending("failed", "checksum_refused", text)


def incomplete(there: Task, cargo: Iterable[CargoRow], why: str) -> Ending:
    """End a task that claims success and lacks something: nothing of it counts."""
    text = f"task {there.task_id} succeeded, but {why}"
    return Ending("failed", "counters", text, _evidence(there), troubles=_all(cargo, "transfer_failed", text))


def failed(there: Task, cargo: Sequence[CargoRow], changed: Collection[int], *, by_us: bool) -> Ending:
    """Decide what the sessions of a failed task do: go again, go alone, hear of it.

    Parameters
    ----------
    there : Task
    cargo : sequence of CargoRow
    changed : collection of int
        Transfers with a file that is not the sealed version any more.
    by_us : bool
        We cancelled it ourselves.
    """
    code = there.fatal_code or "FAILED"
    text = f"task {there.task_id} failed: {code} {there.cancelled_by_admin or there.fatal_text}".rstrip()
    kind = fault_class(code)
    if kind is FaultClass.OUR_DATA and not changed:
        return apart(cargo, "transfer_refused", text, code)
    everybody = {row.transfer_id for row in cargo}
    alone: Collection[int] = ()
    troubles: dict[int, tuple[str, str]] = dict.fromkeys(changed, ("changed", ""))
    if code == "CANCELED" and (there.cancelled_by_admin or not by_us):
        troubles = _all(cargo, "transfer_cancelled", text)
    elif kind is FaultClass.PERMISSION:
        alone = everybody  # it may be the right to read one file only
    elif kind in {FaultClass.WAIT, FaultClass.ENDED} and not by_us:
        troubles = {**_all(cargo, "transfer_failed", text), **troubles}
        alone = everybody
    return Ending("failed", code, text, _evidence(there), troubles=troubles, alone=alone)


def hindered(
    there: Task,
    cargo: Sequence[CargoRow],
    changed: Collection[int],
    blamed: Mapping[int, tuple[str, str]],
    fault: str,
) -> Ending:
    """Decide what follows for the sessions of a task that we cancelled because a fault would not go away.

    Those to blame are told and never sent again as they are; the others travel on at once.

    Parameters
    ----------
    changed : collection of int
        Transfers with a file that is not the sealed version any more.
    blamed : mapping of int to (str, str)
        Transfers with a file that cannot arrive as it is, with fault and words.
    fault : str
        Because of which it was cancelled.
    """
    troubles = {one: (code_of(code), f"task {there.task_id}: {text}") for one, (code, text) in blamed.items()}
    troubles |= dict.fromkeys(changed, ("changed", ""))
    if not troubles:  # Globus does not say which file it is
        return apart(
            cargo, code_of(fault), f"task {there.task_id}: {fault} with a file that Globus does not name", fault
        )
    return Ending("failed", fault, f"cancelled because of {fault}", _evidence(there), troubles=troubles)


def set_free(there: Task, fault: str) -> Ending:
    """End a task that we cancelled because of what is wrong with the target: its sessions wait for that."""
    return Ending("failed", fault, f"cancelled because of {fault}", _evidence(there))


def code_of(fault: str) -> str:
    """Return the code for a session whose file a fault keeps from arriving."""
    return "transfer_denied" if fault_class(fault) is FaultClass.PERMISSION else "transfer_hindered"


def apart(cargo: Iterable[CargoRow], code: str, text: str, fault: str = "") -> Ending:
    """End a task that one file has spoiled: its sessions go one by one, and one that was alone already is told."""
    told = _all(cargo, code, text)
    if len(told) > 1:
        return Ending("failed", fault or code, text, alone=tuple(told))
    return Ending("failed", fault or code, text, troubles=told)


def denied(there: Task, cargo: Iterable[CargoRow]) -> Ending:
    """End a task that lacked a right where the target as a whole can be used: it is one file's, and never ends."""
    text = f"task {there.task_id} failed: {there.fatal_code} {there.fatal_text}".rstrip()
    return apart(cargo, "transfer_denied", text, there.fatal_code)


def outage(target: str, there: Task) -> UnavailableError | None:
    """Return what is wrong with the target as a whole, if that is why a task failed."""
    codes = {FaultClass.SPACE: "target_full", FaultClass.PERMISSION: "collection_denied"}
    code = codes.get(fault_class(there.fatal_code))
    if code is None:
        return None
    why = f"archive {target}: task {there.task_id} failed: {there.fatal_code} {there.fatal_text}".rstrip()
    return UnavailableError(f"archive:{target}", code, why, PATIENCE)


def _all(cargo: Iterable[CargoRow], code: str, text: str) -> dict[int, tuple[str, str]]:
    return {row.transfer_id: (code, text) for row in cargo}


def _evidence(there: Task) -> str:
    return json.dumps(asdict(there))
