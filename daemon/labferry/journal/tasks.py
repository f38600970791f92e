"""Globus tasks in the journal: which files a task carries, under which submission id, and how far it is.

A task is committed with its files before it is submitted, so that after a kill the very same document can be
submitted again under the very same id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labferry.journal.database import Database, load_queries
from labferry.journal.rows import CargoRow, ReadyRow, TaskRow
from labferry.model import Clock

_SQL = load_queries("tasks")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task about to be submitted.

    Attributes
    ----------
    target : str
        The archive it fills.
    batch : str
        Its own name, part of `label`.
    submission_id : str
        From the service: under one id it accepts one task, however often it is submitted.
    source_endpoint, destination_endpoint : str
        UUIDs of the two collections.
    """

    target: str
    batch: str
    label: str
    submission_id: str
    source_endpoint: str
    destination_endpoint: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended.

    Attributes
    ----------
    state : str
        `succeeded` or `failed`.
    fault, text : str
        Why it failed; empty otherwise.
    evidence : str
        The service's own counters, JSON.
    arrived : mapping of (int, int) to str
        Transfer and file, and what the service says of it; all other files are free for another task.
    troubles : mapping of int to (str, str)
        Transfers whose jobs must hear of it, with code and text.
    alone : collection of int
        Transfers that get a task of their own from now on.
    """

    state: str
    fault: str = ""
    text: str = ""
    evidence: str = ""
    arrived: Mapping[tuple[int, int], str] | None = None
    troubles: Mapping[int, tuple[str, str]] | None = None
    alone: Collection[int] = ()


class Tasks:
    """The task table, and the items' way through it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    # --- reading ------------------------------------------------------------------------------------------

    def get(self, task_id: int) -> TaskRow:
        """Return a task."""
        return TaskRow.of(self._read("get", id=task_id)[0])

    def open(self, target: str = "") -> list[TaskRow]:
        """Return the tasks that have not ended, of one target or of all, oldest first."""
        return [TaskRow.of(row) for row in self._read("open", target=target)]

    def of_transfer(self, transfer_id: int) -> list[TaskRow]:
        """Return the tasks that carry, or carried, files of a transfer, oldest first."""
        return [TaskRow.of(row) for row in self._read("of_transfer", transfer_id=transfer_id)]

    def ready(self, target: str) -> list[ReadyRow]:
        """Return the transfers that wait for a task, in the order of their turn."""
        return [ReadyRow.of(row) for row in self._read("ready", target=target, now=self._clock.now())]

    def cargo(self, task_id: int) -> list[CargoRow]:
        """Return the files of a task, always in the same order."""
        return [CargoRow.of(row) for row in self._read("cargo", id=task_id)]

    # --- a task's way -------------------------------------------------------------------------------------

    def create(self, task: NewTask, loads: Mapping[int, int], max_active: int) -> TaskRow | None:
        """Commit a task with its files, before it is submitted.

        Parameters
        ----------
        task : NewTask
        loads : mapping of int to int
            Transfers, and how many of their waiting files the task takes.
        max_active : int
            So many tasks of all targets may be open at a time.

        Returns
        -------
        TaskRow or None
            None when there is no room for another task, or nothing to carry any more.
        """
        values = {name: getattr(task, name) for name in task.__dataclass_fields__}
        with self._db.write() as connection:
            if connection.execute(_SQL["open_count"]).fetchone()[0] >= max_active:
                return None
            task_id = connection.execute(_SQL["insert"], {**values, "now": self._clock.now()}).lastrowid
            assert task_id is not None
            for transfer_id, files in loads.items():
                connection.execute(_SQL["load"], {"task_id": task_id, "transfer_id": transfer_id, "files": files})
            self._execute("weigh", id=task_id)
            self._execute("tell", id=task_id, code="in_flight", reason=f"on its way in task {task.label}")
            return self.get(task_id)

    def accepted(self, task_id: int, globus_id: str) -> None:
        """Record the service's own id of a task: it has been submitted."""
        with self._db.write():
            self._execute("accepted", id=task_id, globus_id=globus_id)
            self._execute("tickets", id=task_id, globus_id=globus_id)

    def seen(self, task_id: int, progress: int, share: float, fault: str, fault_text: str) -> None:
        """Record how a task does; `share` from 0 to 1 of its bytes has moved."""
        with self._db.write():
            self._execute("seen", id=task_id, progress=progress, fault=fault, fault_text=fault_text)
            self._execute("share", id=task_id, share=share)

    def cancelling(self, task_id: int, fault: str, fault_text: str) -> None:
        """Commit that a task is to be cancelled, before the service is told."""
        self._execute("cancelling", id=task_id, fault=fault, fault_text=fault_text)

    def end(self, task_id: int, ending: Ending) -> None:
        """Record how a task ended, free what it did not bring, and make its jobs due."""
        with self._db.write():
            self._execute("hurry", id=task_id)
            for (transfer_id, file_id), how in (ending.arrived or {}).items():
                self._execute("arrived", transfer_id=transfer_id, file_id=file_id, how=how)
            for transfer_id, (code, text) in (ending.troubles or {}).items():
                self._execute("trouble", transfer_id=transfer_id, trouble=code, trouble_text=text)
            for transfer_id in ending.alone:
                self._execute("alone", transfer_id=transfer_id)
            self._execute("unload", id=task_id)
            self._execute(
                "end",
                id=task_id,
                state=ending.state,
                fault=ending.fault,
                fault_text=ending.text,
                evidence=ending.evidence,
            )

    def leave_out(self, transfers: Iterable[tuple[int, str, str]]) -> None:
        """Tell the jobs of transfers, as code and text each, why they cannot be in a task now."""
        with self._db.write():
            for transfer_id, code, text in transfers:
                self._execute("trouble", transfer_id=transfer_id, trouble=code, trouble_text=text)
                self._execute("hurry_transfer", transfer_id=transfer_id)

    # --- plumbing -----------------------------------------------------------------------------------------

    def _read(self, query: str, **values: Any) -> list[Any]:
        return self._db.read(_SQL[query], values)

    def _execute(self, query: str, **values: Any) -> None:
        with self._db.write() as connection:
            connection.execute(_SQL[query], {**values, "now": self._clock.now()})
