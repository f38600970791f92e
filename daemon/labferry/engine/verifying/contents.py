"""What is in the files of a Globus collection: copied beside themselves, so that Globus computes their MD5.

A collection hashes nothing without a transfer, and a transfer from here would overwrite what differs. So the copies are
copied once more, into a folder of ours below the session's own, and that folder is deleted again. A kill leaves it
there: a look names it, and the next one that goes deep deletes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from labferry.archive.base import StoppedError
from labferry.archive.globus.document import label
from labferry.archive.globus.faults import ConflictError, FaultClass, fault_class
from labferry.archive.globus.paths import join
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Arrived, Submission, Task, TaskStatus, TransferItem
from labferry.archive.globus.verification import counters_differ
from labferry.engine.context import GLOBUS, Context
from labferry.engine.planning import new_batch
from labferry.errors import LabferryError, NotYetError, UnavailableError

FOLDER = ".labferry-verify"
OFTEN = 1.0  # seconds after which it is noticed that nobody waits any more


class Contents:
    """Learns the MD5 of files in one collection.

    Parameters
    ----------
    context : Context
    service : GlobusService
    target, endpoint : str
        The archive, and its collection.
    folder : str
        The session's own in that collection: below it there is room for copies.
    stop : callable
        Asked again and again; True ends the look.
    """

    def __init__(
        self,
        context: Context,
        service: GlobusService,
        target: str,
        endpoint: str,
        folder: str,
        stop: Callable[[], bool],
    ) -> None:
        self._context = context
        self._service = service
        self._target = target
        self._endpoint = endpoint
        self._scratch = join(folder, FOLDER.encode())
        self._stop = stop
        self._batch = new_batch()

    def md5_of(self, files: Mapping[str, int]) -> dict[str, str]:
        """Return the MD5 of files by their paths, empty where the collection computes no MD5; `files` has their sizes.

        Raises
        ------
        UnavailableError
            The collection cannot do it now: offline, no room, not permitted.
        LabferryError
            `busy`: somebody else does it just now.
        StoppedError
            `stop` said so.
        """
        found: dict[str, str] = {}
        self._delete()
        try:
            for some in _portions(files, self._context.config.globus.max_items):
                found.update(self._of_some(some))
        finally:
            self._delete()
        return found

    def _of_some(self, files: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        copies = {f"{self._scratch}/{number}": where for number, where in enumerate(files)}
        submission = Submission(
            submission_id=self._service.new_submission_id(),
            label=label(self._context.config.server_name, f"verify-{self._batch}"),
            source_endpoint=self._endpoint,
            destination_endpoint=self._endpoint,
            items=tuple(TransferItem(where, copy, files[where], "") for copy, where in copies.items()),
            probes=True,
        )
        try:
            task_id = self._service.submit(submission, blame=self._blame)
        except ConflictError as conflict:
            raise LabferryError("busy", f"{conflict.message} It is being verified already.", "Ask later.") from conflict
        return ((copies[one.destination], _md5(one)) for one in self._ended(task_id, len(files)))

    def _ended(self, task_id: str, files: int) -> list[Arrived]:
        """Wait for a task and return what it hashed; one that will not end well is cancelled."""
        try:
            there = self._wait_for(task_id)
            if why := counters_differ(there, files):
                raise self._cannot(f"task {task_id}: {why}")
            return self._arrived(task_id)
        except (LabferryError, StoppedError):
            self._service.cancel(task_id)
            raise

    def _wait_for(self, task_id: str) -> Task:
        while True:
            there = self._service.tasks([task_id]).get(task_id)
            if there is None:
                raise self._cannot(f"Globus does not know task {task_id} any more")
            if there.status is TaskStatus.FAILED:
                raise self._cannot(f"task {task_id} failed: {there.fatal_code} {there.fatal_text}")
            hindered = there.is_ok is False and fault_class(there.nice_status) is not FaultClass.WAIT
            if there.status is TaskStatus.INACTIVE or (there.status is TaskStatus.ACTIVE and hindered):
                raise self._cannot(f"task {task_id}: {there.nice_status} {there.nice_text}")
            if there.status is TaskStatus.SUCCEEDED:
                return there
            self._pause(self._context.config.globus.poll_every)

    def _arrived(self, task_id: str) -> list[Arrived]:
        while True:
            try:
                return self._service.arrived(task_id)
            except NotYetError as ending:
                self._pause(ending.after)

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if self._stop():
                raise StoppedError
            time.sleep(min(OFTEN, left))

    def _delete(self) -> None:
        submission = self._service.new_submission_id()
        name = label(self._context.config.server_name, f"tidy-{self._batch}")
        self._service.delete_directory(self._endpoint, self._scratch, submission, label=name, blame=self._blame)

    @property
    def _blame(self) -> str:
        return f"archive:{self._target}"

    def _cannot(self, why: str) -> UnavailableError:
        return UnavailableError(GLOBUS, "target_error", f"archive {self._target} cannot be read deeply: {why}")


def _md5(one: Arrived) -> str:
    return one.checksum.lower() if one.algorithm.upper() == "MD5" else ""


def _portions(files: Mapping[str, int], most: int) -> Iterator[dict[str, int]]:
    rest = iter(files.items())
    while some := dict(islice(rest, most)):
        yield some
