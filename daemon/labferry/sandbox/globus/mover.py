"""The mover: takes up tasks in the order of their acceptance, at most three at a time, and moves their files.

Room: sandbox. What cannot be moved now is tried again, as the real service does until a task's deadline: most
faults leave a task ACTIVE. A task that a fault rule caught rests until the rule is removed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field

from labferry.model import Clock
from labferry.sandbox.alyx.store import Row
from labferry.sandbox.faults import Faults, Rule
from labferry.sandbox.globus.collections import Collections
from labferry.sandbox.globus.tasks import Tasks
from labferry.sandbox.globus.work import Work

AT_ONCE = 3
RETRY_EVERY = 0.3  # real seconds, whatever the sandbox's clock says; the real service takes minutes
_LOOK_EVERY = 0.1  # seconds between looks at what rests


class _DroppedError(Exception):
    """The task is nobody's work any more."""


@dataclass
class _Memory:
    """What the mover remembers of tasks, by number; lost with the process, like the rules."""

    working: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    due: dict[int, float] = field(default_factory=dict)
    caught: dict[int, int] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)


class Mover:
    """Threads that move files, from `start` to `stop`.

    Parameters
    ----------
    tasks : Tasks
        What is to be done; continued where it was left.
    collections : Collections
        Between which.
    faults : Faults
        Asked when a task is taken up.
    clock : Clock
        Says when a task expires.
    """

    def __init__(self, tasks: Tasks, collections: Collections, faults: Faults, clock: Clock) -> None:
        self._tasks = tasks
        self._collections = collections
        self._faults = faults
        self._clock = clock
        self._memory = _Memory()
        self._changed = threading.Condition()
        self._stopping = False
        self._resting = False
        self._threads = [
            threading.Thread(target=self._run, name=f"sandbox-mover-{n}", daemon=True) for n in range(AT_ONCE)
        ]

    def start(self) -> None:
        """Begin, with what was left from before."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End in the middle of whatever is done; it stays as it is."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def wake(self) -> None:
        """Look at once whether there is work."""
        with self._changed:
            self._changed.notify_all()

    def works_at(self, task: int) -> bool:
        """Say whether a task is being worked at."""
        with self._changed:
            return task in self._memory.working

    def cancel(self, task: int) -> bool:
        """End a task; when this returns nothing more is written. False if it had ended before."""
        with self._changed:
            self._memory.dropped.add(task)
            self._changed.wait_for(lambda: task not in self._memory.working)
        ended = self._tasks.end(task, "FAILED", "CANCELED", "canceled by the owner")
        with self._changed:
            self._memory.dropped.discard(task)
        return ended

    def forget(self) -> None:
        """Drop everything that is done, and all tasks with it."""
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: not self._memory.working)
            self._tasks.forget()
            self._memory = _Memory()
            self._resting = False
            self._changed.notify_all()

    # --- choosing -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (row := self._next()) is not None:
            number = int(row["number"])
            try:
                with contextlib.suppress(_DroppedError):
                    self._work(row)
            finally:
                with self._changed:
                    self._memory.working.discard(number)
                    self._memory.due[number] = time.monotonic() + RETRY_EVERY
                    self._changed.notify_all()

    def _next(self) -> Row | None:
        """Wait for a task that can be worked at, and take it; None when the mover stops."""
        with self._changed:
            while not self._stopping:
                rows = [] if self._resting else self._tasks.live()
                if chosen := next((row for row in rows if self._is_due(row)), None):
                    self._memory.working.add(int(chosen["number"]))
                    return chosen
                self._changed.wait(_LOOK_EVERY if rows else None)
            return None

    def _is_due(self, row: Row) -> bool:
        task, memory = int(row["number"]), self._memory
        if task in memory.working or task in memory.dropped:
            return False
        if (rule := memory.caught.get(task)) is not None:
            if self._faults.has(rule) and not self._is_over(row):
                return False
            del memory.caught[task]
            memory.begun.discard(task)
            memory.due.pop(task, None)
        return memory.due.get(task, 0.0) <= time.monotonic()

    def _is_over(self, row: Row) -> bool:
        return self._clock.now() >= float(row["deadline"])

    # --- one pass over a task -----------------------------------------------------------------------------

    def _work(self, row: Row) -> None:
        number = int(row["number"])
        if self._is_over(row):
            self._tasks.end(number, "FAILED", "EXPIRED", "the task did not complete by its deadline")
            return
        if number not in self._memory.begun:
            if self._is_caught(row, "before"):
                return
            self._memory.begun.add(number)
            self._tasks.begin(number)
        work = Work(row, self._tasks, self._collections, self._faults, lambda: self._require(number))
        if work.run() and not self._is_caught(row, "after"):
            self._tasks.end(number, "SUCCEEDED", "SUCCEEDED")

    def _require(self, task: int) -> None:
        if self._stopping or self._resting or task in self._memory.dropped:
            raise _DroppedError

    def _is_caught(self, row: Row, when: str) -> bool:
        """Let a fault rule act on a task; say whether one did."""
        line = f"TASK {row['source_endpoint']} {row['destination_endpoint']} {row['label'] or ''}"
        rule = self._faults.take_up(line, when)
        if rule is None:
            return False
        self._carry_out(int(row["number"]), rule)
        return True

    def _carry_out(self, task: int, rule: Rule) -> None:
        if rule.becomes == "FAILED":
            self._tasks.end(task, "FAILED", rule.code, rule.description)
            return
        if rule.becomes == "CANCELED_BY_ADMIN":
            self._tasks.cancel_by_admin(task, rule.description)
            return
        with self._changed:
            self._memory.caught[task] = rule.id
        status = "INACTIVE" if rule.becomes == "INACTIVE" else "ACTIVE"
        self._tasks.rest(task, status, rule.code, rule.description, paused=rule.becomes == "PAUSED")
