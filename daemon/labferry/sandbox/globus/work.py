"""One time through the items of a task that are not done.

Room: sandbox. Every item stands for itself: what hinders one leaves the others alone, unless a whole collection
is in no condition.
"""

from __future__ import annotations

from collections.abc import Callable

from labferry.sandbox.alyx.store import Row
from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.answers import RefusedError
from labferry.sandbox.globus.collections import DENIED, FULL, NO_MD5, OFFLINE, PAUSED, READ_ONLY, UNSHARED, Collections
from labferry.sandbox.globus.copying import MISMATCH, QUOTA, FileFaultError, Wish, move
from labferry.sandbox.globus.tasks import Tasks

UNSUPPORTED = "CHECKSUM_ALGORITHM_UNSUPPORTED"  # assumed: the real service's word for it is not known
_MOST_EVENTS = 10  # of faults in one pass; the others are tried again without a word
_SKIPPABLE = {"FILE_NOT_FOUND", "PERMISSION_DENIED", "AMBIGUOUS_PATH"}


class Work:
    """A pass over one task; also counts what is moved.

    Parameters
    ----------
    row : Row
        The task.
    tasks : Tasks
        Where it is written down.
    collections : Collections
        Between which files are moved.
    faults : Faults
        Asked of every file.
    require : Callable
        Raises when the task is not to be worked at any more.
    """

    def __init__(
        self, row: Row, tasks: Tasks, collections: Collections, faults: Faults, require: Callable[[], None]
    ) -> None:
        self._row = row
        self._task = int(row["number"])
        self._tasks = tasks
        self._collections = collections
        self._rules = faults
        self._require = require
        self._source = collections.get(row["source_endpoint"])
        self._destination = collections.get(row["destination_endpoint"])
        self._faults = 0
        self._ended = False

    def run(self) -> bool:
        """Move what can be moved; say whether nothing is left to do."""
        for item in self._tasks.items(self._task, "pending"):
            self._require()
            if fault := self._fault_of_collections():
                self._note(item, fault)
                return False
            self._move(item)
            if self._ended:
                return False
        return self._faults == 0

    # --- the counters of a copy ---------------------------------------------------------------------------

    def transferred(self, size: int) -> None:
        """Count bytes that were written."""
        self._require()
        self._tasks.progress(self._task, transferred=size)

    def checksummed(self, size: int) -> None:
        """Count bytes that were read for their checksum."""
        self._require()
        self._tasks.progress(self._task, checksummed=size)

    # --- one item -----------------------------------------------------------------------------------------

    def _move(self, item: Row) -> None:
        algorithm = self._algorithm(item)
        if algorithm is None:
            self._ended = True
            description = f"{self._destination.name}: the checksum algorithm MD5 is not supported by this connector"
            self._tasks.end(self._task, "FAILED", UNSUPPORTED, description)
            return
        wish = Wish(
            self._row["sync_level"],
            bool(self._row["verify_checksum"]),
            bool(self._row["preserve_timestamp"]),
            item["external_checksum"],
            algorithm,
        )
        if rule := self._rules.hinders(item["source_path"], item["destination_path"]):
            self._note(item, FileFaultError(rule.code, rule.description))
            return
        try:
            source = self._source.locate(item["source_path"])
            destination = self._destination.locate_to_write(item["destination_path"])
            moved = move(source, destination, wish, self)
        except RefusedError as error:
            self._note(item, FileFaultError("PERMISSION_DENIED", error.message))
        except FileFaultError as fault:
            self._note(item, fault)
        else:
            self._tasks.item_done(self._task, int(item["number"]), moved)

    def _algorithm(self, item: Row) -> str | None:
        """Return the algorithm of a file's checksums; None where the destination does not have the one asked for."""
        if self._collections.condition(self._destination) != NO_MD5 or item["algorithm"] != "MD5":
            return str(item["algorithm"])
        return None if item["external_checksum"] is not None else "SHA256"

    def _fault_of_collections(self) -> FileFaultError | None:
        for collection, to_write in ((self._source, False), (self._destination, True)):
            condition = self._collections.condition(collection)
            if condition == OFFLINE:
                return FileFaultError("GC_NOT_CONNECTED", f"{collection.name} is not connected")
            if condition == PAUSED:
                return FileFaultError("GC_PAUSED", f"{collection.name} is paused by its owner")
            if condition in {DENIED, UNSHARED} or (to_write and condition == READ_ONLY):
                return FileFaultError("PERMISSION_DENIED", f"{collection.name} does not permit it")
            if to_write and condition == FULL:
                return FileFaultError(QUOTA, f"{collection.name}: no space is left to you")
        return None

    def _note(self, item: Row, fault: FileFaultError) -> None:
        """Write down that an item cannot be moved now, and what follows for the task."""
        description = str(fault)
        if fault.code == MISMATCH or (fault.code == QUOTA and self._row["fail_on_quota_errors"]):
            self._ended = True
            self._tasks.end(self._task, "FAILED", fault.code, description)
            return
        if self._row["skip_source_errors"] and fault.at_source and fault.code in _SKIPPABLE:
            self._tasks.item_skipped_for_error(self._task, int(item["number"]), fault.code)
            return
        self._faults += 1
        details = f"{item['source_path']} -> {item['destination_path']}: {description}"
        self._tasks.fault(self._task, fault.code, description, details, silent=self._faults > _MOST_EVENTS)
