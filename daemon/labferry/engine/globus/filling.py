"""New tasks of one Globus target: filled with what is ready, committed, submitted.

A task is committed with its files and its submission id before it is submitted, and submitting it again under that
id is harmless: the same document makes one task, however often a kill or a lost answer lets it be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from labferry.archive.globus.document import label
from labferry.archive.globus.faults import ConflictError, refuses_checksum
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Submission
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.globus.batches import choose, items_to_carry
from labferry.engine.globus.endings import PATIENCE, apart, without_checksums
from labferry.engine.globus.places import carried_session, is_current
from labferry.engine.globus.preflight import Preflight
from labferry.engine.planning import filled_through_globus, new_batch
from labferry.engine.unchanged import is_unchanged
from labferry.errors import BlockedError, UnavailableError
from labferry.journal.tasks import Ending, NewTask
from labferry.journal.transfer_rows import TaskRow

CONFLICT = "transfer_conflict"
CONFLICT_WAIT = 600.0  # seconds until a task is submitted again whose paths another task is carrying
ASKING = 150.0  # seconds that one question to Globus may take, with its own deadline
LOOKING = 600.0  # seconds that a look at the files of one task may take on a slow disk
_log = structlog.get_logger()
Beat = Callable[[str, float], None]


class Filling:
    """Makes and submits the tasks of one target; parameters as for `Tending`."""

    def __init__(
        self, context: Context, target: str, settings: GlobusArchive, service: GlobusService, preflight: Preflight
    ) -> None:
        self._context = context
        self._preflight = preflight
        self._target = target
        self._settings = settings
        self._service = service
        self._targets = filled_through_globus(context.config)
        self._not_before: dict[int, float] = {}  # tasks whose submission was put off, monotonic

    @property
    def _archive(self) -> str:
        """The dependency that is down when the collection cannot do something."""
        return f"archive:{self._target}"

    # --- fill ---------------------------------------------------------------------------------------------

    def can_fill(self) -> bool:
        """Say whether another task may be open, and there is something for it."""
        tasks = self._context.journal.tasks
        if tasks.open_count(self._targets) >= self._context.config.globus.max_active:
            return False
        if any(task.globus_id is None and task.fault != CONFLICT for task in tasks.open(self._target)):
            return False  # it goes first
        return bool(tasks.ready(self._target))

    def fill(self, beat: Beat) -> None:
        """Make a task of what is ready and submit it."""
        context, tasks = self._context, self._context.journal.tasks
        loads = choose(tasks.ready(self._target), context.config.globus.max_items)
        loads = self._without_changed(loads, beat)
        loads = self._without_refused(loads, beat)
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
                checksums=not tasks.refused_checksums(self._target, self._settings.endpoint),
            ),
            loads,
            self._targets,
            context.config.globus.max_active,
        )
        if task is not None:
            self.submit(task, beat)

    def _without_changed(self, loads: dict[int, int], beat: Beat) -> dict[int, int]:
        """Leave sessions out that are not as they were planned: one changed file would fail the whole task."""
        tasks = self._context.journal.tasks
        beat(f"looking at the files of the next task to {self._target}", LOOKING)
        changed = [transfer_id for transfer_id, files in loads.items() if not self._is_as_planned(transfer_id, files)]
        tasks.leave_out((transfer_id, "changed", "") for transfer_id in changed)
        return {transfer_id: files for transfer_id, files in loads.items() if transfer_id not in changed}

    def _is_as_planned(self, transfer_id: int, files: int) -> bool:
        """Say whether a session still goes from where to where it was planned, with the files that were sealed."""
        context = self._context
        transfer = context.journal.transfers.get(transfer_id)
        session = carried_session(context, transfer)
        if not is_current(context, session, transfer):
            return False
        folder = context.place_of(session)
        return all(is_unchanged(folder, file) for file in context.journal.tasks.next_files(transfer_id, files))

    def _without_refused(self, loads: dict[int, int], beat: Beat) -> dict[int, int]:
        """Leave sessions out whose folder is read-only: what had trouble is looked at before it gets a task."""
        journal = self._context.journal
        refused: list[tuple[int, str, str]] = []
        for transfer_id in loads:
            try:
                self._preflight.require(journal.transfers.get(transfer_id), beat)
            except BlockedError as refusal:
                refused.append((transfer_id, refusal.code, refusal.message))
        journal.tasks.leave_out(refused)
        told = {transfer_id for transfer_id, _, _ in refused}
        return {transfer_id: files for transfer_id, files in loads.items() if transfer_id not in told}

    # --- submit -------------------------------------------------------------------------------------------

    def submit(self, task: TaskRow, beat: Beat) -> None:
        """Submit a task, for the first time or again: the same document under the same id.

        Raises
        ------
        UnavailableError
            Globus cannot be asked: the task stays as it is. Or the collection refuses: the task has ended.
        """
        context, tasks = self._context, self._context.journal.tasks
        if context.clock.monotonic() < self._not_before.get(task.id, 0.0):
            return
        submission = Submission(
            submission_id=task.submission_id,
            label=task.label,
            source_endpoint=task.source_endpoint,
            destination_endpoint=task.destination_endpoint,
            items=items_to_carry(tasks.parcels(task.id)),
            checksums=bool(task.checksums),
        )
        beat(f"submitting {task.files} files to {self._target}", ASKING)
        try:
            globus_id = self._service.submit(submission, blame=self._archive)
        except ConflictError as conflict:
            beat(f"looking for task {task.label}", ASKING)
            found = self._service.find(task.label)
            if not found:
                # Somebody else moves the same files. The id is still ours: nothing is lost by trying later.
                self._put_off(task, CONFLICT, conflict.message, CONFLICT_WAIT)
                return
            globus_id = found[0].task_id
        except BlockedError as refused:
            if task.checksums and refuses_checksum("", refused.message):
                self._refused(task, without_checksums(refused.message))
                return
            self._refused(task, apart(tasks.cargo(task.id), refused.code, refused.message))
            return
        except UnavailableError as error:
            if error.code == "globus_busy":  # the service itself is well
                self._put_off(task, error.code, error.message, error.retry_after)
                return
            if error.dependency == GLOBUS:
                raise
            self._refused(task, Ending("failed", error.code, error.message))  # an answer: nothing was begun
            raise UnavailableError(error.dependency, error.code, error.message, PATIENCE) from error
        tasks.accepted(task.id, globus_id)
        self._not_before.pop(task.id, None)
        context.reachable(GLOBUS)
        _log.info("transfer_submitted", target=self._target, task=globus_id, label=task.label, files=task.files)

    def _put_off(self, task: TaskRow, code: str, why: str, seconds: float) -> None:
        if task.id not in self._not_before:
            _log.warning("transfer_put_off", target=self._target, task=task.label, code=code, why=why)
        self._not_before[task.id] = self._context.clock.monotonic() + seconds
        self._context.journal.tasks.put_off(task.id, code, why)

    def _refused(self, task: TaskRow, ending: Ending) -> None:
        """End a task that the service did not take: what it was made with is not ours for that."""
        self._context.journal.tasks.end(task.id, replace(ending, begun=False))
        self._not_before.pop(task.id, None)
        _log.warning("transfer_refused", target=self._target, task=task.label, code=ending.fault, why=ending.text)
