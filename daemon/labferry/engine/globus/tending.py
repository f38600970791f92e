"""The tasks of one Globus target: filled, submitted, watched with one request for all, and ended.

Everything here survives a kill between any two lines: a task is committed with its files and its submission id before
it is submitted, and submitting it again under that id is harmless; how it ended is committed in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import structlog

from labferry.archive.globus.document import label
from labferry.archive.globus.faults import ConflictError, FaultClass, fault_class
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Submission, Task, TaskStatus
from labferry.archive.globus.verification import arrivals_differ, counters_differ
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.globus.batches import choose, items_to_carry
from labferry.engine.planning import new_batch
from labferry.engine.unchanged import is_unchanged
from labferry.errors import BlockedError, NotYetError, UnavailableError
from labferry.journal.rows import CargoRow, TaskRow
from labferry.journal.tasks import Ending, NewTask

CONFLICT_WAIT = 600.0  # seconds until a task is submitted again whose paths another task is carrying
ASKING = 150.0  # seconds that one question to Globus may take, with its own deadline
NEVER = float("inf")
_log = structlog.get_logger()
Beat = Callable[[str, float], None]


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
        self._settings = settings
        self._service = service
        self._next_poll = -NEVER
        self._not_before: dict[int, float] = {}  # tasks whose submission must wait, monotonic

    # --- when ---------------------------------------------------------------------------------------------

    def seconds_until_poll(self) -> float:
        """Return the seconds until the open tasks are looked at again; infinity when there are none."""
        if not self._context.journal.tasks.open(self._target):
            return NEVER
        return max(0.0, self._next_poll - self._context.clock.monotonic())

    def can_fill(self) -> bool:
        """Say whether another task may be open, and there is something for it."""
        tasks = self._context.journal.tasks
        return len(tasks.open()) < self._context.config.globus.max_active and bool(tasks.ready(self._target))

    # --- fill and submit ----------------------------------------------------------------------------------

    def fill(self, beat: Beat) -> None:
        """Make a task of what is ready and submit it."""
        context, tasks = self._context, self._context.journal.tasks
        loads = choose(tasks.ready(self._target), context.config.globus.max_items)
        loads = self._without_changed(loads, beat)
        if not loads:
            return
        beat(f"asking Globus for a task to {self._target}", ASKING)
        submission_id = self._service.new_submission_id()
        context.reachable(GLOBUS)
        batch = new_batch()
        task = tasks.create(
            NewTask(
                target=self._target,
                batch=batch,
                label=label(context.config.server_name, batch),
                submission_id=submission_id,
                source_endpoint=context.config.globus.endpoint,
                destination_endpoint=self._settings.endpoint,
            ),
            loads,
            context.config.globus.max_active,
        )
        if task is not None:
            self._submit(task, beat)

    def _without_changed(self, loads: dict[int, int], beat: Beat) -> dict[int, int]:
        """Leave sessions out whose files are not the sealed ones any more: one would fail the whole task."""
        transfers = self._context.journal.transfers
        beat(f"looking at the files of the next task to {self._target}", 600.0)
        changed = []
        for transfer_id in loads:
            folder = self._folder(transfer_id)
            rows = [row for row in transfers.items(transfer_id) if row.task_id is None and row.verified_at is None]
            if not all(is_unchanged(folder, row.version) for row in rows):
                changed.append((transfer_id, "changed", ""))
        self._context.journal.tasks.leave_out(changed)
        left_out = {transfer_id for transfer_id, _, _ in changed}
        return {transfer_id: files for transfer_id, files in loads.items() if transfer_id not in left_out}

    def _folder(self, transfer_id: int) -> bytes:
        journal = self._context.journal
        job = journal.jobs.get(journal.transfers.get(transfer_id).job_id)
        return self._context.place_of(self._context.session_of(job))

    def _submit(self, task: TaskRow, beat: Beat) -> None:
        """Submit a task, for the first time or again: the same document under the same id."""
        tasks, now = self._context.journal.tasks, self._context.clock.monotonic()
        if now < self._not_before.get(task.id, now):
            return
        cargo = tasks.cargo(task.id)
        submission = Submission(
            submission_id=task.submission_id,
            label=task.label,
            source_endpoint=task.source_endpoint,
            destination_endpoint=task.destination_endpoint,
            items=items_to_carry(cargo),
        )
        beat(f"submitting {task.files} files to {self._target}", ASKING)
        try:
            globus_id = self._service.submit(submission, blame=f"archive:{self._target}")
        except ConflictError as conflict:
            found = self._service.find(task.label)
            if not found:
                # Somebody else moves the same files. The id is still ours: nothing is lost by trying later.
                self._not_before[task.id] = now + CONFLICT_WAIT
                _log.warning("transfer_conflict", target=self._target, task=task.label, why=conflict.message)
                return
            globus_id = found[0].task_id
        except BlockedError as refused:
            tasks.end(task.id, self._apart(cargo, refused.code, refused.message))
            _log.warning("transfer_refused", target=self._target, task=task.label, why=refused.message)
            return
        except UnavailableError as error:
            if error.dependency != GLOBUS:  # an answer, and it says no: nothing was begun
                tasks.end(task.id, Ending("failed", error.code, error.message))
            raise
        tasks.accepted(task.id, globus_id)
        self._context.reachable(GLOBUS)
        self._next_poll = min(self._next_poll, now + self._context.config.globus.poll_every)
        self._next_poll = max(self._next_poll, now)
        _log.info("transfer_submitted", target=self._target, task=globus_id, label=task.label, files=task.files)

    # --- watch --------------------------------------------------------------------------------------------

    def poll(self, beat: Beat) -> None:
        """Look at all open tasks: submit those that are not yet, and ask for the others with one request."""
        tasks = self._context.journal.tasks
        self._next_poll = self._context.clock.monotonic() + self._context.config.globus.poll_every
        for task in tasks.open(self._target):
            if task.globus_id is None:
                self._submit(task, beat)
        submitted = {task.globus_id: task for task in tasks.open(self._target) if task.globus_id is not None}
        if not submitted:
            return
        beat(f"asking Globus about {len(submitted)} tasks", ASKING)
        remote = self._service.tasks(submitted)
        suspended = next((there for there in remote.values() if there.status is TaskStatus.INACTIVE), None)
        if suspended is None:
            self._context.reachable(GLOBUS)
        for globus_id, task in submitted.items():
            self._found(task, remote.get(globus_id), beat)
        if suspended is not None:
            raise UnavailableError(
                GLOBUS,
                "globus_login",
                f"task {suspended.task_id} is suspended until somebody renews credentials"
                f" ({suspended.nice_status}: {suspended.nice_text})",
            )

    def _found(self, task: TaskRow, there: Task | None, beat: Beat) -> None:
        if there is None:
            # Globus forgets tasks after some weeks. Sending again is safe: what is there is compared, not copied.
            self._end(task, Ending("failed", "unknown", "Globus does not know this task any more"))
        elif there.status is TaskStatus.SUCCEEDED:
            self._succeeded(task, there, beat)
        elif there.status is TaskStatus.FAILED:
            self._failed(task, there)
        else:
            self._active(task, there, beat)

    def _active(self, task: TaskRow, there: Task, beat: Beat) -> None:
        tasks = self._context.journal.tasks
        fault, text = _complaint(there)
        if task.state != "cancelling":
            tasks.seen(task.id, there.progress, min(1.0, there.bytes_transferred / max(1, task.bytes)), fault, text)
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
        evidence = json.dumps(asdict(there))
        wrong_count = counters_differ(there, len(cargo))
        if wrong_count:
            text = f"task {there.task_id} succeeded, but {wrong_count}"
            self._end(task, Ending("failed", "counters", text, evidence, troubles=_all(cargo, "transfer_failed", text)))
            return
        beat(f"asking Globus what arrived in {self._target}", 4 * ASKING)
        try:
            arrived = self._service.arrived(there.task_id)
        except NotYetError:
            return  # at the next look
        items = dict(zip((item.destination for item in items_to_carry(cargo)), cargo, strict=True))
        different = arrivals_differ(arrived, items_to_carry(cargo))
        sent = {one.destination for one in arrived}
        how = {
            (row.transfer_id, row.file_id): "transferred" if where in sent else "compared"
            for where, row in items.items()
            if where not in different
        }
        troubles = {
            items[where].transfer_id: ("transfer_failed", f"task {there.task_id} succeeded, but {where}: {what}")
            for where, what in different.items()
            if where in items
        }
        self._end(task, Ending("succeeded", evidence=evidence, arrived=how, troubles=troubles))

    def _failed(self, task: TaskRow, there: Task) -> None:
        """Decide what the sessions of a failed task do: go again, go alone, hear of it."""
        cargo = self._context.journal.tasks.cargo(task.id)
        code, text = there.fatal_code or "FAILED", f"task {there.task_id} failed: {there.fatal_code} {there.fatal_text}"
        kind = fault_class(code)
        changed = self._changed(cargo)
        troubles: dict[int, tuple[str, str]] = dict.fromkeys(changed, ("changed", ""))
        if kind is FaultClass.OUR_DATA and not changed:
            self._end(task, self._apart(cargo, "transfer_refused", text, code))
            return
        if code == "CANCELED" and task.state != "cancelling":
            troubles = _all(cargo, "transfer_cancelled", text)
        elif kind in {FaultClass.WAIT, FaultClass.ENDED} and task.state != "cancelling":
            troubles = {**_all(cargo, "transfer_failed", text), **troubles}
        self._end(task, Ending("failed", code, text, troubles=troubles))
        if kind is FaultClass.SPACE:
            raise UnavailableError(f"archive:{self._target}", "target_full", f"archive {self._target}: {text}")
        if kind is FaultClass.PERMISSION:
            raise UnavailableError(f"archive:{self._target}", "target_readonly", f"archive {self._target}: {text}")

    def _apart(self, cargo: Sequence[CargoRow], code: str, text: str, fault: str = "") -> Ending:
        """One file spoils a task: its sessions go one by one, and one that was alone already is told."""
        transfers = {row.transfer_id for row in cargo}
        if len(transfers) > 1:
            return Ending("failed", fault or code, text, alone=transfers)
        return Ending("failed", fault or code, text, troubles=_all(cargo, code, text))

    def _changed(self, cargo: Iterable[CargoRow]) -> set[int]:
        """Return the transfers with a file that is not the sealed version any more."""
        folders: dict[int, bytes] = {}
        changed: set[int] = set()
        for row in cargo:
            if row.transfer_id not in folders:
                folders[row.transfer_id] = self._folder(row.transfer_id)
            if row.transfer_id not in changed and not is_unchanged(folders[row.transfer_id], row.version):
                changed.add(row.transfer_id)
        return changed

    def _end(self, task: TaskRow, ending: Ending) -> None:
        self._context.journal.tasks.end(task.id, ending)
        self._not_before.pop(task.id, None)
        log = _log.info if ending.state == "succeeded" and not ending.troubles else _log.warning
        log("transfer_ended", target=self._target, task=task.globus_id, state=ending.state, why=ending.text)


def _all(cargo: Iterable[CargoRow], code: str, text: str) -> dict[int, tuple[str, str]]:
    return {row.transfer_id: (code, text) for row in cargo}


def _complaint(there: Task) -> tuple[str, str]:
    """Return what is not well with a task that has not ended, as code and text; empty when all is well."""
    if there.status is TaskStatus.INACTIVE:
        return "INACTIVE", there.nice_text
    if there.paused:
        return "PAUSED", there.nice_text
    if there.is_ok is False:
        return there.nice_status, there.nice_text
    return "", ""
