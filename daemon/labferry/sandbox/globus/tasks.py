"""The tasks: accepted once each, with their items, their events and how far they are.

Room: sandbox. Every method is one transaction, so a sandbox that is killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from labferry.model import Clock
from labferry.sandbox.alyx.store import Database, Row, Value, new_id
from labferry.sandbox.globus.answers import RefusedError, bad_request
from labferry.sandbox.globus.copying import Moved
from labferry.sandbox.globus.store import Store
from labferry.sandbox.globus.submission import Transfer

MAX_PENDING = 100
LIFE = 24 * 3600.0  # seconds until a task without a deadline of its own expires; the real one moves this ahead
LIVE = ("ACTIVE", "INACTIVE")
_SHOWN = "SELECT task.*, message AS admin_message FROM task LEFT JOIN cancellation ON cancellation.task = task.number"
_IS_LIVE = "status IN ('ACTIVE', 'INACTIVE')"


class Tasks:
    """All tasks in one store.

    Parameters
    ----------
    store : Store
        Where they are kept.
    clock : Clock
        What time it is.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # --- submitting ---------------------------------------------------------------------------------------

    def new_submission(self) -> str:
        """Return an id under which one transfer can be submitted, as often as need be."""
        value = new_id()
        with self._store.transaction() as db:
            db.insert("submission", {"id": value})
        return value

    def submitted(self, submission: object) -> str | None:
        """Return the task that was submitted under an id; None if there is none yet.

        Raises
        ------
        RefusedError
            The id was never given out.
        """
        with self._store.transaction() as db:
            return _submitted(db, submission)

    def submit(self, submission: str, transfer: Transfer) -> tuple[str, bool]:
        """Make a task of a transfer; return its id, and whether it is new.

        Raises
        ------
        RefusedError
            Too many tasks are pending, or one with the same paths has not ended.
        """
        now = self._clock.now()
        paths = transfer.paths
        with self._store.transaction() as db:
            if known := _submitted(db, submission):
                return known, False
            if db.one(f"SELECT 1 FROM task WHERE {_IS_LIVE} AND paths = ?", paths):
                message = "A transfer with identical paths has not yet completed"
                raise RefusedError(409, "Conflict", message)
            if db.count(f"SELECT count(*) FROM task WHERE {_IS_LIVE}") >= MAX_PENDING:
                raise RefusedError(409, "TooManyPendingJobs", f"You already have {MAX_PENDING} pending jobs")
            task = {
                "id": new_id(),
                "label": transfer.label,
                "source_endpoint": transfer.source.id,
                "destination_endpoint": transfer.destination.id,
                "paths": paths,
                "sync_level": transfer.sync_level,
                "verify_checksum": transfer.verify_checksum,
                "preserve_timestamp": transfer.preserve_timestamp,
                "encrypt_data": transfer.encrypt_data,
                "skip_source_errors": transfer.skip_source_errors,
                "fail_on_quota_errors": transfer.fail_on_quota_errors,
                "requested": now,
                "deadline": transfer.deadline if transfer.deadline is not None else now + LIFE,
                "files": len(transfer.items),
            }
            db.insert("task", task)
            number = db.count("SELECT number FROM task WHERE id = ?", task["id"])
            for position, item in enumerate(transfer.items):
                db.insert("item", {"task": number, "number": position, **vars(item)})
            db.update("submission", ("id", submission), {"task": number})
        return str(task["id"]), True

    # --- removing -----------------------------------------------------------------------------------------

    def deleted(self, submission: object) -> str | None:
        """Return the deletion that was submitted under an id; None if there is none yet.

        Raises
        ------
        RefusedError
            The id was never given out.
        """
        with self._store.transaction() as db:
            _submitted(db, submission)
            known = db.one("SELECT id FROM deletion WHERE submission = ?", str(submission))
        return None if known is None else str(known["id"])

    def delete(self, submission: str, endpoint: str, path: str) -> str:
        """Note a deletion that was carried out, and return its id."""
        deletion = new_id()
        with self._store.transaction() as db:
            db.insert("deletion", {"id": deletion, "submission": submission, "endpoint": endpoint, "path": path})
        return deletion

    # --- looking ------------------------------------------------------------------------------------------

    def get(self, task_id: str) -> Row:
        """Return a task.

        Raises
        ------
        RefusedError
            There is none.
        """
        with self._store.transaction() as db:
            row = db.one(f"{_SHOWN} WHERE id = ?", task_id)
        if row is None:
            raise RefusedError(404, "TaskNotFound", f"No task found with id '{task_id}'")
        return row

    def newest_first(self) -> list[Row]:
        """Return all tasks."""
        with self._store.transaction() as db:
            return db.all(f"{_SHOWN} ORDER BY number DESC")

    def live(self) -> list[Row]:
        """Return the tasks that have not ended, oldest first."""
        with self._store.transaction() as db:
            return db.all(f"SELECT * FROM task WHERE {_IS_LIVE} ORDER BY number")

    def items(self, task: int, state: str | None = None, after: int = -1, limit: int = -1) -> list[Row]:
        """Return a task's items in their order: those in a state, behind a number, at most so many (-1: all)."""
        wanted = (
            "SELECT * FROM item WHERE task = ? AND state = coalesce(?, state) AND number > ? ORDER BY number LIMIT ?"
        )
        with self._store.transaction() as db:
            return db.all(wanted, task, state, after, limit)

    def events(self, task: int, limit: int, offset: int, *, errors_only: bool) -> tuple[list[Row], int]:
        """Return a page of a task's events, newest first, and how many there are."""
        which = "FROM event WHERE task = ? AND is_error >= ?"
        with self._store.transaction() as db:
            page = db.all(f"SELECT * {which} ORDER BY number DESC LIMIT ? OFFSET ?", task, errors_only, limit, offset)
            return page, db.count(f"SELECT count(*) {which}", task, errors_only)

    def summary(self) -> dict[str, object]:
        """Return what a test compares: the tasks in the order of their acceptance, and how many ids were given out."""
        shown = (
            "id AS task_id, label, status, source_endpoint, destination_endpoint, files, files_transferred, "
            "files_skipped, bytes_transferred, faults, fatal_code AS fatal_error"
        )
        paths = "SELECT source_path, destination_path, external_checksum FROM item WHERE task = ? ORDER BY number"
        with self._store.transaction() as db:
            rows = db.all(f"SELECT number, {shown} FROM task ORDER BY number")
            tasks = [{**dict(row), "items": [dict(item) for item in db.all(paths, row["number"])]} for row in rows]
            submissions = db.count("SELECT count(*) FROM submission")
        for task in tasks:
            del task["number"]
        return {"tasks": tasks, "submissions": submissions}

    # --- working ------------------------------------------------------------------------------------------

    def begin(self, task: int) -> None:
        """Note that a task is worked at, unhindered as far as is known."""
        cleared: dict[str, Value] = {"status": "ACTIVE", "is_paused": 0, "fault_code": None, "fault_description": None}
        with self._store.transaction() as db:
            db.update("task", ("number", task), cleared)
            if not db.one("SELECT 1 FROM event WHERE task = ? AND code = 'STARTED'", task):
                self._event(db, task, "STARTED", "started", "")

    def progress(self, task: int, *, transferred: int = 0, checksummed: int = 0) -> None:
        """Add bytes to the counters."""
        more = "bytes_transferred = bytes_transferred + ?, bytes_checksummed = bytes_checksummed + ?"
        with self._store.transaction() as db:
            db.run(f"UPDATE task SET {more} WHERE number = ?", transferred, checksummed, task)

    def item_done(self, task: int, number: int, moved: Moved | None) -> None:
        """Note that an item was moved, or could stay as it was."""
        done: Mapping[str, Value] = {"state": "skipped"}
        if moved is not None:
            done = {
                "state": "transferred",
                "size": moved.size,
                "checksum": moved.checksum,
                "algorithm": moved.algorithm,
            }
        with self._store.transaction() as db:
            _end_item(db, task, number, done, "files_skipped" if moved is None else "files_transferred")

    def item_skipped_for_error(self, task: int, number: int, code: str) -> None:
        """Note that an item was given up."""
        with self._store.transaction() as db:
            _end_item(db, task, number, {"state": "error", "error_code": code}, "skipped_errors")

    def fault(self, task: int, code: str, description: str, details: str, *, silent: bool = False) -> None:
        """Note that something hinders a task; `silent` adds no event."""
        with self._store.transaction() as db:
            self._hindered(db, task, code, description)
            if not silent:
                self._faulted(db, task, code, description, details)

    def rest(self, task: int, status: str, code: str, description: str, *, paused: bool) -> None:
        """Note that a task is not worked at, in a status that is not its end."""
        with self._store.transaction() as db:
            db.update("task", ("number", task), {"status": status, "is_paused": paused})
            self._hindered(db, task, code, description)
            self._faulted(db, task, code, description, "")

    def end(self, task: int, status: str, code: str, description: str = "") -> bool:
        """End a task, with its fatal error unless it SUCCEEDED; say whether it had not ended before."""
        ended: dict[str, Value] = {"status": status, "is_paused": 0, "completed": self._clock.now()}
        failed = status == "FAILED"
        if failed:
            ended |= {"fatal_code": code, "fatal_description": description}
        with self._store.transaction() as db:
            if not db.one(f"SELECT 1 FROM task WHERE number = ? AND {_IS_LIVE}", task):
                return False
            db.update("task", ("number", task), ended)
            self._event(db, task, code, description or code.lower(), "", is_error=failed)
            return True

    def cancel_by_admin(self, task: int, message: str) -> None:
        """End a task as an administrator of one of its collections does."""
        with self._store.transaction() as db:
            db.insert("cancellation", {"task": task, "message": message})
        self.end(task, "FAILED", "CANCELED", "canceled by an administrator")

    def forget(self) -> None:
        """Remove all tasks and submission ids."""
        with self._store.transaction() as db:
            for table in ("submission", "task"):
                db.run(f"DELETE FROM {table}")

    def _hindered(self, db: Database, task: int, code: str, description: str) -> None:
        db.update("task", ("number", task), {"fault_code": code, "fault_description": description})

    def _faulted(self, db: Database, task: int, code: str, description: str, details: str) -> None:
        db.run("UPDATE task SET faults = faults + 1 WHERE number = ?", task)
        self._event(db, task, code, description, details, is_error=True)

    def _event(
        self, db: Database, task: int, code: str, description: str, details: str, *, is_error: bool = False
    ) -> None:
        event: dict[str, Value] = {"task": task, "time": self._clock.now(), "code": code, "is_error": is_error}
        db.insert("event", {**event, "description": description, "details": details})


def _submitted(db: Database, submission: object) -> str | None:
    known = db.one("SELECT task FROM submission WHERE id = ?", str(submission))
    if known is None:
        raise bad_request("InvalidSubmissionId", f"submission_id {submission!r} was not given out by this service")
    row = db.one("SELECT id FROM task WHERE number = ?", known["task"])
    return None if row is None else str(row["id"])


def _end_item(db: Database, task: int, number: int, values: Mapping[str, Value], counter: str) -> None:
    changes = ", ".join(f"{name} = ?" for name in values)
    db.run(f"UPDATE item SET {changes} WHERE task = ? AND number = ?", *values.values(), task, number)
    db.run(f"UPDATE task SET {counter} = {counter} + 1 WHERE number = ?", task)
