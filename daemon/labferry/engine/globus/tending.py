"""The tasks of one Globus target: filled, submitted, watched with one request for all, and ended.

Everything here survives a kill between any two lines: how a task ended is committed in one transaction, and a task
that nobody could look at is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from labferry.archive.globus.faults import FaultClass, fault_class, refuses_checksum
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Task, TaskStatus
from labferry.archive.globus.verification import counters_differ
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.globus import endings
from labferry.engine.globus.filling import ASKING, Beat, Filling
from labferry.engine.globus.places import folder_of
from labferry.engine.unchanged import is_unchanged
from labferry.errors import LabferryError, NotYetError, UnavailableError
from labferry.journal.rows import CargoRow, TaskRow
from labferry.journal.tasks import Ending

NEVER = float("inf")
PAGE = 1000  # files in one answer about what arrived
MEMORY = 86_400.0  # seconds for which Globus certainly remembers a task: it does for weeks
_log = structlog.get_logger()


class Tending:
    """The tasks of one target.

    Parameters
    ----------
    context : Context
    target : str
    settings : GlobusArchive
    service : GlobusService
        Used by one lane only.
    """

    def __init__(self, context: Context, target: str, settings: GlobusArchive, service: GlobusService) -> None:
        self._context = context
        self._target = target
        self._service = service
        self._filling = Filling(context, target, settings, service)
        self._next_poll = -NEVER
        self._suspended = False

    # --- when ---------------------------------------------------------------------------------------------

    def seconds_until_poll(self) -> float:
        """Return the seconds until the open tasks are looked at again; infinity when there are none."""
        if not self._context.journal.tasks.open(self._target):
            return NEVER
        return max(0.0, self._next_poll - self._context.clock.monotonic())

    def can_fill(self) -> bool:
        """Say whether another task may be open, and there is something for it."""
        return not self._suspended and self._filling.can_fill()

    def fill(self, beat: Beat) -> None:
        """Make a task of what is ready and submit it; it is looked at when the others are."""
        self._filling.fill(beat)
        now = self._context.clock.monotonic()
        if self._next_poll < now:
            self._next_poll = now + self._context.config.globus.poll_every

    # --- watch --------------------------------------------------------------------------------------------

    def poll(self, beat: Beat) -> None:
        """Look at all open tasks: ask for the submitted ones with one request, submit those that are not yet.

        What goes wrong with one of them keeps nobody from looking at the others.

        Raises
        ------
        LabferryError
            The first thing that went wrong.
        """
        context, tasks = self._context, self._context.journal.tasks
        self._next_poll = context.clock.monotonic() + context.config.globus.poll_every
        troubles: list[LabferryError] = []
        submitted = {task.globus_id: task for task in tasks.open(self._target) if task.globus_id is not None}
        if submitted:
            beat(f"asking Globus about {len(submitted)} tasks", ASKING)
            remote = self._service.tasks(submitted)
            context.reachable(GLOBUS)
            self._mind_suspension(remote.values())
            for globus_id, task in submitted.items():
                try:
                    self._found(task, remote.get(globus_id), beat)
                except LabferryError as error:
                    troubles.append(error)
        for task in tasks.open(self._target):
            if task.globus_id is None:
                try:
                    self._filling.submit(task, beat)
                except LabferryError as error:
                    troubles.append(error)
        if troubles:
            raise troubles[0]

    def _mind_suspension(self, remote: Iterable[Task]) -> None:
        suspended = any(there.status is TaskStatus.INACTIVE for there in remote)
        if self._suspended and not suspended:
            self._context.reachable(f"archive:{self._target}")
        self._suspended = suspended

    def _found(self, task: TaskRow, there: Task | None, beat: Beat) -> None:
        if there is None:
            self._absent(task)
        elif there.status is TaskStatus.SUCCEEDED:
            self._succeeded(task, there, beat)
        elif there.status is TaskStatus.FAILED:
            self._failed(task, there)
        else:
            self._active(task, there, beat)

    def _absent(self, task: TaskRow) -> None:
        """Send again what Globus has forgotten; a task of today is there, whatever a list says.

        Sending again is safe, what is there is compared and not copied; two tasks for the same files are not.
        """
        text = "Globus does not know this task"
        if self._context.clock.now() - task.created_at < MEMORY:
            self._context.journal.tasks.complains(task.id, "unknown", text)
        else:
            self._end(task, Ending("failed", "unknown", text))

    def _active(self, task: TaskRow, there: Task, beat: Beat) -> None:
        tasks = self._context.journal.tasks
        fault, text = _complaint(there)
        if task.state != "cancelling":
            with self._context.journal.together():
                tasks.seen(task.id, there.progress, min(1.0, there.bytes_transferred / max(1, task.bytes)))
                tasks.complains(task.id, fault, text)
            if there.status is TaskStatus.INACTIVE:
                why = f"task {there.task_id} is suspended until somebody renews credentials"
                raise UnavailableError(
                    f"archive:{self._target}", "globus_login", f"{why} ({there.nice_status}: {there.nice_text})"
                )
            if fault_class(fault) is not FaultClass.OUR_DATA or not self._changed(tasks.cargo(task.id)):
                return
            tasks.cancelling(task.id, fault, text)
            _log.warning("transfer_cancelled", target=self._target, task=there.task_id, code=fault, why=text)
        beat(f"cancelling a task to {self._target}", ASKING)
        self._service.cancel(there.task_id)

    # --- end ----------------------------------------------------------------------------------------------

    def _succeeded(self, task: TaskRow, there: Task, beat: Beat) -> None:
        """Compare what Globus counted and hashed with what was sealed."""
        cargo = self._context.journal.tasks.cargo(task.id)
        if why := counters_differ(there, len(cargo)):
            self._end(task, endings.incomplete(there, cargo, why))
            return
        beat(f"asking Globus what arrived in {self._target}", ASKING * (2 + len(cargo) // PAGE))
        try:
            arrived = self._service.arrived(there.task_id)
        except NotYetError:
            return  # at the next look
        if task.checksums:
            self._end(task, endings.succeeded(there, cargo, arrived))
        else:
            self._end(task, endings.succeeded_by_itself(there, cargo, arrived, self._changed(cargo)))

    def _failed(self, task: TaskRow, there: Task) -> None:
        refusals = ((there.fatal_code, there.fatal_text), (task.fault, task.fault_text))
        if task.checksums and any(refuses_checksum(*said) for said in refusals):
            self._end(task, endings.without_checksums(there.fatal_text or task.fault_text))
            return
        cargo = self._context.journal.tasks.cargo(task.id)
        by_us = task.state == "cancelling"
        self._end(task, endings.failed(there, cargo, self._changed(cargo), by_us=by_us))
        if outage := endings.outage(self._target, there):
            raise outage

    def _changed(self, cargo: Iterable[CargoRow]) -> set[int]:
        """Return the transfers with a file that is not, or cannot be seen to be, the sealed version."""
        folders: dict[int, bytes | None] = {}
        changed: set[int] = set()
        for row in cargo:
            if row.transfer_id not in folders:
                transfer = self._context.journal.transfers.get(row.transfer_id)
                folders[row.transfer_id] = folder_of(self._context, transfer)
            folder = folders[row.transfer_id]
            if row.transfer_id not in changed and (folder is None or not is_unchanged(folder, row.version)):
                changed.add(row.transfer_id)
        return changed

    def _end(self, task: TaskRow, ending: Ending) -> None:
        self._context.journal.tasks.end(task.id, ending)
        log = _log.info if ending.state == "succeeded" and not ending.troubles else _log.warning
        said = {"code": ending.fault, "why": ending.text}
        log(
            "transfer_ended",
            target=self._target,
            task=task.globus_id,
            label=task.label,
            state=ending.state,
            **{name: value for name, value in said.items() if value},
        )


def _complaint(there: Task) -> tuple[str, str]:
    """Return what is not well with a task that has not ended, as code and text; empty when all is well."""
    if there.status is TaskStatus.INACTIVE:
        return "INACTIVE", there.nice_text
    if there.paused:
        return "PAUSED", there.nice_text
    if there.is_ok is False:
        return there.nice_status, there.nice_text
    return "", ""
