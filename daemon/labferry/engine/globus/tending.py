"""The tasks of one Globus target: filled, submitted, watched with one request for all, and ended.

Everything here survives a kill between any two lines: how a task ended is committed in one transaction, and a task
that nobody could look at is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from labferry.archive.globus.faults import FaultClass, fault_class, refuses_checksum
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Task, TaskStatus
from labferry.archive.globus.verification import counters_differ
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.globus import endings
from labferry.engine.globus.filling import ASKING, Beat, Filling
from labferry.engine.globus.hindrances import GRACE, blamed, is_usual, may_be_hopeless
from labferry.engine.globus.places import folder_of
from labferry.engine.globus.preflight import Preflight
from labferry.engine.unchanged import is_unchanged
from labferry.errors import BlockedError, LabferryError, NotYetError, UnavailableError
from labferry.journal.tasks import Ending
from labferry.journal.transfer_rows import CargoRow, TaskRow

NEVER = float("inf")
PAGE = 1000  # files in one answer about what arrived
PAUSED = "PAUSED"
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
    preflight : Preflight
        What is known of the target.
    """

    def __init__(
        self, context: Context, target: str, settings: GlobusArchive, service: GlobusService, preflight: Preflight
    ) -> None:
        self._context = context
        self._target = target
        self._service = service
        self._preflight = preflight
        self._filling = Filling(context, target, settings, service, preflight)
        self._next_poll = -NEVER
        self._suspended = False
        self._told: set[tuple[int, str]] = set()  # tasks, and the faults that the log has of them

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
        suspended = any(there.status is TaskStatus.INACTIVE or _has_no_room(there) for there in remote)
        if self._suspended and not suspended:
            self._context.reachable(f"archive:{self._target}")
        self._suspended = suspended

    def _found(self, task: TaskRow, there: Task | None, beat: Beat) -> None:
        if there is None:
            self._absent(task)
        elif there.status is TaskStatus.SUCCEEDED:
            self._succeeded(task, there, beat)
        elif there.status is TaskStatus.FAILED:
            self._failed(task, there, beat)
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
            if fault == PAUSED:
                text = task.fault_text if task.fault == PAUSED else self._why_paused(there, beat)
            with self._context.journal.together():
                tasks.seen(task.id, there.progress, *_shares(task, there))
                tasks.complains(task.id, fault, text)
            self._note_speeds(task)
            self._tell_once(task, there, fault, text)
            self._require_room_and_login(there, fault, text)
            if not self._is_to_be_cancelled(task, there, fault, text, beat):
                return
            _log.warning("transfer_cancelled", target=self._target, task=there.task_id, code=fault, why=text)
        beat(f"cancelling a task to {self._target}", ASKING)
        self._service.cancel(there.task_id)

    def _require_room_and_login(self, there: Task, fault: str, text: str) -> None:
        """Let the target be down while a task of it is suspended, or waits for room: others would fare no better."""
        archive = f"archive:{self._target}"
        if there.status is TaskStatus.INACTIVE:
            why = f"task {there.task_id} is suspended until somebody renews credentials"
            raise UnavailableError(archive, "globus_login", f"{why} ({there.nice_status}: {there.nice_text})")
        if _has_no_room(there):
            why = f"archive {self._target}: task {there.task_id} finds no room, and waits for it"
            raise UnavailableError(archive, "target_full", f"{why} ({fault}: {text})")

    def _is_to_be_cancelled(self, task: TaskRow, there: Task, fault: str, text: str, beat: Beat) -> bool:
        """Commit that a task is to be cancelled, if it is: it must go again otherwise, or a fault does not go away."""
        tasks = self._context.journal.tasks
        if (task.checksums and refuses_checksum(fault, text)) or (
            fault_class(fault) is FaultClass.OUR_DATA and self._changed(tasks.cargo(task.id))
        ):
            tasks.cancelling(task.id, fault, text, hindered=False)
            return True
        grace = min(GRACE, self._context.config.globus.stall_after)
        if not may_be_hopeless(task, fault, self._context.clock.now(), grace):
            return False
        beat(f"asking Globus what hinders a task to {self._target}", ASKING)
        if is_usual(self._service.faults(there.task_id), fault):
            return False
        tasks.cancelling(task.id, fault, text, hindered=True)
        return True

    def _why_paused(self, there: Task, beat: Beat) -> str:
        beat(f"asking Globus why a task to {self._target} is paused", ASKING)
        return self._service.pause_reason(there.task_id) or there.nice_text

    def _tell_once(self, task: TaskRow, there: Task, fault: str, text: str) -> None:
        """Write one line about each kind of fault that a task meets, however often it does."""
        if fault and (task.id, fault) not in self._told:
            self._told.add((task.id, fault))
            _log.warning("transfer_hindered", target=self._target, task=there.task_id, code=fault, why=text)

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

    def _failed(self, task: TaskRow, there: Task, beat: Beat) -> None:
        refusals = ((there.fatal_code, there.fatal_text), (task.fault, task.fault_text))
        if task.checksums and any(refuses_checksum(*said) for said in refusals):
            self._end(task, endings.without_checksums(there.fatal_text or task.fault_text))
            return
        cargo = self._context.journal.tasks.cargo(task.id)
        by_us = task.state == "cancelling" and not there.cancelled_by_admin
        if by_us and task.fault_since is not None:
            self._end_hindered(task, there, cargo, beat)
            return
        changed = self._changed(cargo)
        outage = endings.outage(self._target, there)
        if outage is not None:
            self._preflight.forget()
            if outage.code == "collection_denied" and not changed and self._may_be_used(cargo, beat):
                self._end(task, endings.denied(there, cargo))
                return
        self._end(task, endings.failed(there, cargo, changed, by_us=by_us))
        if outage is not None:
            raise outage

    def _may_be_used(self, cargo: Sequence[CargoRow], beat: Beat) -> bool:
        """Say whether the target as a whole lets us read and write, so that it is one file that does not.

        Raises
        ------
        UnavailableError
            Globus cannot be asked, and the task is looked at again.
        """
        try:
            self._preflight.require(self._context.journal.transfers.get(cargo[0].transfer_id), beat)
        except BlockedError:
            return False
        except UnavailableError as error:
            if error.dependency == GLOBUS:
                raise
            return False
        return True

    def _end_hindered(self, task: TaskRow, there: Task, cargo: Sequence[CargoRow], beat: Beat) -> None:
        """End a task that met a fault that would not go away: find out whether the target or a file is to blame.

        Raises
        ------
        UnavailableError
            The target is: nobody's files are. Or Globus cannot be asked, and the task is looked at again.
        """
        beat(f"asking Globus what hindered a task to {self._target}", ASKING)
        to_blame = blamed(self._service.faults(there.task_id), cargo)
        self._preflight.forget()
        try:
            self._preflight.require(self._context.journal.transfers.get(cargo[0].transfer_id), beat)
        except BlockedError:
            self._end(task, endings.set_free(there, task.fault))  # its sessions hear of it when they are to go again
            return
        except UnavailableError as outage:
            if outage.dependency != GLOBUS:
                self._end(task, endings.set_free(there, task.fault))
            raise
        self._end(task, endings.hindered(there, cargo, self._changed(cargo), to_blame, task.fault))

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

    def _note_speeds(self, task: TaskRow) -> None:
        for transfer_id in self._context.journal.tasks.passengers(task.id):
            self._context.speeds.note(transfer_id, self._context.journal.transfers.get(transfer_id).bytes_done)

    def _end(self, task: TaskRow, ending: Ending) -> None:
        for transfer_id in self._context.journal.tasks.passengers(task.id):
            self._context.speeds.forget(transfer_id)
        self._context.journal.tasks.end(task.id, ending)
        self._told = {(told, fault) for told, fault in self._told if told != task.id}
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


def _has_no_room(there: Task) -> bool:
    """Say whether a task is waiting for room at its destination."""
    code, _ = _complaint(there)
    return there.status is TaskStatus.ACTIVE and fault_class(code) is FaultClass.SPACE


def _shares(task: TaskRow, there: Task) -> tuple[float, float]:
    """Return the parts, from 0 to 1, of its bytes and of its files that a task has brought so far."""
    files = there.files_transferred + there.files_skipped
    return min(1.0, there.bytes_transferred / max(1, task.bytes)), min(1.0, files / max(1, task.files))


def _complaint(there: Task) -> tuple[str, str]:
    """Return what is not well with a task that has not ended, as code and text; empty when all is well."""
    if there.status is TaskStatus.INACTIVE:
        return "INACTIVE", there.nice_text
    if there.paused:
        return PAUSED, there.nice_text
    if there.is_ok is False:
        return there.nice_status, there.nice_text
    return "", ""
