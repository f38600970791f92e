"""Globus tasks in the journal: which files a task carries, under which submission id, and how far it is.

A task is committed with its files before it is submitted, so that after a kill the very same document can be
submitted again under the very same id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from labferry.errors import CODES
from labferry.journal.database import Database, load_queries
from labferry.journal.transfer_rows import CargoRow, ParcelRow, ReadyRow, TaskRow
from labferry.model import Clock, FileVersion

PAGE = 1000  # files in memory at a time where all of a task are gone through
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
    checksums : bool
        Globus is told what the checksums must be.
    """

    target: str
    batch: str
    label: str
    submission_id: str
    source_endpoint: str
    destination_endpoint: str
    checksums: bool = True


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
    begun : bool
        False where the service has refused it: nothing of it was sent.
    """

    state: str
    fault: str = ""
    text: str = ""
    evidence: str = ""
    arrived: Mapping[tuple[int, int], str] | None = None
    troubles: Mapping[int, tuple[str, str]] | None = None
    alone: Collection[int] = ()
    begun: bool = True


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
        return [TaskRow.of(row) for row in self._read("open" if target else "open_everywhere", target=target)]

    def open_count(self, targets: Collection[str]) -> int:
        """Return how many tasks of these targets have not ended."""
        return int(self._read("open_count", targets=json.dumps(list(targets)))[0][0])

    def passengers(self, task_id: int) -> list[int]:
        """Return the transfers that a task carries files of."""
        return [row["transfer_id"] for row in self._read("passengers", id=task_id)]

    def carries(self, transfer_id: int) -> bool:
        """Say whether a task that has not ended carries files of a transfer."""
        return bool(self._read("carries", transfer_id=transfer_id)[0][0])

    def of_transfer(self, transfer_id: int) -> list[TaskRow]:
        """Return the tasks that carry, or carried, files of a transfer, oldest first."""
        return [TaskRow.of(row) for row in self._read("of_transfer", transfer_id=transfer_id)]

    def refused_checksums(self, target: str, endpoint: str) -> bool:
        """Say whether a collection has refused to compute our kind of checksums."""
        return bool(self._read("refused_checksums", target=target, endpoint=endpoint)[0][0])

    def ready(self, target: str) -> list[ReadyRow]:
        """Return the transfers that wait for a task, in the order of their turn."""
        return [ReadyRow.of(row) for row in self._read("ready", target=target, now=self._clock.now())]

    def next_files(self, transfer_id: int, files: int) -> list[FileVersion]:
        """Return those files of a transfer, at most so many, that the next task takes."""
        rows = self._read("next_files", transfer_id=transfer_id, files=files)
        return [FileVersion(row["path"], row["size"], row["mtime_ns"], row["ctime_ns"]) for row in rows]

    def cargo(self, task_id: int) -> list[CargoRow]:
        """Return the files of a task, always in the same order."""
        return [CargoRow.of(row) for row in self._read("cargo", id=task_id)]

    def parcels(self, task_id: int) -> Iterator[ParcelRow]:
        """Yield the files of a task as its document needs them, in the same order, a page at a time."""
        last = {"transfer_id": 0, "file_id": 0}
        while rows := self._read("page_of_parcels", id=task_id, limit=PAGE, **last):
            yield from starmap(ParcelRow, rows)
            last = {name: rows[-1][name] for name in last}

    # --- a task's way -------------------------------------------------------------------------------------

    def create(
        self, task: NewTask, loads: Mapping[int, int], targets: Collection[str], max_active: int
    ) -> TaskRow | None:
        """Commit a task with its files, before it is submitted.

        Parameters
        ----------
        task : NewTask
        loads : mapping of int to int
            Transfers, and how many of their waiting files the task takes.
        targets : collection of str
            The archives that are filled through Globus.
        max_active : int
            So many tasks of them may be open at a time.

        Returns
        -------
        TaskRow or None
            None when there is no room for another task, or nothing to carry any more.
        """
        values = {name: getattr(task, name) for name in task.__dataclass_fields__}
        with self._db.write() as connection:
            if self.open_count(targets) >= max_active:
                return None
            task_id = connection.execute(_SQL["insert"], {**values, "now": self._clock.now()}).lastrowid
            assert task_id is not None
            for transfer_id, files in loads.items():
                connection.execute(_SQL["load"], {"task_id": task_id, "transfer_id": transfer_id, "files": files})
            self._execute("weigh", id=task_id)
            made = self.get(task_id)
            if not made.files:
                self._execute("unmake", id=task_id)
                return None
            self._tell(task_id, "in_flight", f"on its way in task {task.label}")
            return made

    def put_off(self, task_id: int, code: str, reason: str) -> None:
        """Record why a task cannot be submitted yet."""
        with self._db.write():
            self._execute("complains", id=task_id, fault=code, fault_text=reason)
            self._tell(task_id, code, reason)

    def accepted(self, task_id: int, globus_id: str) -> None:
        """Record the service's own id of a task: it has been submitted."""
        with self._db.write():
            self._execute("accepted", id=task_id, globus_id=globus_id)
            self._execute("tickets", id=task_id, globus_id=globus_id)
            self._tell(task_id, "in_flight", f"on its way in task {self.get(task_id).label}")

    def seen(self, task_id: int, progress: int, bytes_share: float, files_share: float) -> None:
        """Record how far a task is: what parts, from 0 to 1, of its bytes and of its files have moved."""
        with self._db.write():
            self._execute("seen", id=task_id, progress=progress)
            self._execute("share", id=task_id, bytes_share=bytes_share, files_share=files_share)

    def complains(self, task_id: int, fault: str, fault_text: str) -> None:
        """Record what is not well with a task; empty when all is."""
        self._execute("complains", id=task_id, fault=fault, fault_text=fault_text)

    def cancelling(self, task_id: int, fault: str, fault_text: str, *, hindered: bool) -> None:
        """Commit that a task is to be cancelled, before the service is told.

        Parameters
        ----------
        hindered : bool
            Because the fault does not go away by itself, and not because a file has changed: `fault_since` stays.
        """
        self._execute("cancelling", id=task_id, fault=fault, fault_text=fault_text, hindered=hindered)

    def end(self, task_id: int, ending: Ending) -> None:
        """Record how a task ended, and free what it did not bring.

        Jobs are due that must hear of it, or whose last file has arrived; the others wait for the next task.
        """
        with self._db.write():
            passengers = self.passengers(task_id)
            for (transfer_id, file_id), how in (ending.arrived or {}).items():
                self._execute("arrived", transfer_id=transfer_id, file_id=file_id, how=how)
            for transfer_id, (code, text) in (ending.troubles or {}).items():
                self._execute("trouble", transfer_id=transfer_id, trouble=code, trouble_text=text)
            for transfer_id in ending.alone:
                self._execute("alone", transfer_id=transfer_id)
            if not ending.begun:
                self._execute("unsent", id=task_id)
            self._execute("unload", id=task_id)
            self._execute(
                "end",
                id=task_id,
                state=ending.state,
                fault=ending.fault,
                fault_text=ending.text,
                evidence=ending.evidence,
            )
            for transfer_id in passengers:
                self._execute("recount", transfer_id=transfer_id)
                self._go_on(transfer_id)

    def _go_on(self, transfer_id: int) -> None:
        left = self._read("left", transfer_id=transfer_id)[0]
        if left["trouble"] or not left["missing"]:
            self._execute("hurry_transfer", transfer_id=transfer_id)
        elif left["free"]:
            reason = f"{left['free']} files wait for the next task"
            self._execute(
                "wait_again", transfer_id=transfer_id, code="in_batch", reason=reason, hint=CODES["in_batch"].hint
            )

    def leave_out(self, transfers: Iterable[tuple[int, str, str]]) -> None:
        """Tell the jobs of transfers, as code and text each, why they cannot be in a task now."""
        with self._db.write():
            for transfer_id, code, text in transfers:
                self._execute("trouble", transfer_id=transfer_id, trouble=code, trouble_text=text)
                self._execute("hurry_transfer", transfer_id=transfer_id)

    # --- plumbing -----------------------------------------------------------------------------------------

    def _tell(self, task_id: int, code: str, reason: str) -> None:
        self._execute("tell", id=task_id, code=code, reason=reason, hint=CODES[code].hint)

    def _read(self, query: str, **values: Any) -> list[Any]:
        return self._db.read(_SQL[query], values)

    def _execute(self, query: str, **values: Any) -> None:
        with self._db.write() as connection:
            connection.execute(_SQL[query], {**values, "now": self._clock.now()})
