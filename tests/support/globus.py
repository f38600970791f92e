"""The lane of a Globus target without its thread: one turn at a time, against the sandbox's Globus."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from labferry.archive.naming import dataset_id
from labferry.engine.globus.lane import GlobusLane
from labferry.engine.globus.tending import Tending
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobKind, JobState, Stage
from support.stages import FILES, StageBench
from support.wait import wait_until

POLL = 1.0  # seconds, of the sandbox's configuration
MOST_TURNS = 200
PATH = "KS005/2026-03-02/001"
SECOND = "KS005/2026-03-02/002"
WHEEL = "alf/_ibl_wheel.position.npy"
DATASETS = {name: content for name, content in FILES.items() if name not in {"notes.txt", "raw_session.flag"}}


class GlobusBench(StageBench):
    """A bench whose archive is a Globus collection.

    Everything happens in the thread of the test, but for the sandbox's mover: `rest` waits for it.
    """

    def __init__(self, directory: Path, *, config: Mapping[str, str] | None = None, **environ: str) -> None:
        self._changes = dict(config or {})
        super().__init__(directory, archive="globus", **environ)

    def open(self) -> None:
        """Begin a life of the daemon, with the changes to its configuration file made."""
        self.change_config(self._changes)
        self._changes = {}
        super().open()

    # --- the configuration --------------------------------------------------------------------------------

    def change_config(self, changes: Mapping[str, str]) -> None:
        """Replace text in the configuration file; counts from the next life on."""
        text = self.sandbox.config.read_text()
        for old, new in changes.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.sandbox.config.write_text(text)

    def restart(self, changes: Mapping[str, str] | None = None) -> None:
        """`kill -9`, change the configuration, start."""
        self.end_life()
        self._changes = dict(changes or {})
        self.open()

    # --- the lane -----------------------------------------------------------------------------------------

    @property
    def lane(self) -> GlobusLane:
        """The lane of target `server`."""
        return self.lane_of("server")

    def lane_of(self, target: str) -> GlobusLane:
        """Return a target's lane."""
        lane = self.lanes[target]
        assert isinstance(lane, GlobusLane)
        return lane

    @property
    def tending(self) -> Tending:
        """The tasks of target `server`."""
        return self.lane._tending

    def work(self, target: str = "server") -> float:
        """Let a lane take turns until it wants to sleep; return for how long. One that never does is a failure."""
        for _ in range(MOST_TURNS):
            if pause := self.lane_of(target).turn():
                return pause
        raise AssertionError(f"lane {target} never comes to rest")

    def look(self, target: str = "server") -> float:
        """Let so much time pass that the tasks are looked at again, and let the lane work."""
        self.clock.pass_by(POLL)
        return self.work(target)

    def rest(self, target: str = "server") -> None:
        """Let lane and mover work in turn until all that can be done is done."""
        for _ in range(20):
            before = self.journal.last_event(), len(self.tasks())
            self.work(target)
            self.wait_for_mover()
            self.look(target)
            if before == (self.journal.last_event(), len(self.tasks())):
                return
        raise AssertionError("it never comes to rest")

    # --- sessions -----------------------------------------------------------------------------------------

    def registered(self, path: str = PATH, files: Mapping[str, bytes] = FILES) -> tuple[Path, SessionRow]:
        """Write a session and let everything be done but its archive job."""
        folder, session = self.write(path, files)
        for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL):
            move = self.step(stage)
            assert move.state is not JobState.BLOCKED, move
        return folder, session

    def submitted(self, path: str = PATH, files: Mapping[str, bytes] = FILES) -> tuple[Path, SessionRow]:
        """Write a session and let the lane submit a task with it."""
        folder, session = self.registered(path, files)
        self.work()
        assert self.archive_job(session).code == "in_flight"
        return folder, session

    def archive_job(self, session: SessionRow, target: str = "server") -> JobRow:
        """Return the newest archive job of a session."""
        jobs = self.journal.jobs.of_session(session.id)
        return [job for job in jobs if job.kind is JobKind.ARCHIVE and job.target == target][-1]

    def is_archived(self, session: SessionRow, target: str = "server") -> bool:
        """Say whether the newest archive job of a session is done."""
        return self.archive_job(session, target).state is JobState.DONE

    def settle_again(self, session: SessionRow, files: Mapping[str, bytes]) -> None:
        """Change files of a session and let it become complete again, registered and due for its archive."""
        if (row := self.journal.sessions.get(session.id)) is not None and row.complete_at is not None:
            self.journal.sessions.unsettle(session.id, "changed by a test")
        self.registered(session.path.decode(), files)

    # --- Globus -------------------------------------------------------------------------------------------

    def fault(self, **rule: object) -> int:
        """Add a fault rule; return its id."""
        return self.sandbox.faults.add(rule).id

    def heal(self) -> None:
        """Remove all fault rules."""
        self.sandbox.faults.remove()

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that Globus has accepted, in their order."""
        state = httpx.get(f"{self.sandbox.alyx_url}/_sandbox/state").json()
        found: list[dict[str, Any]] = state["globus"]["tasks"]
        return found

    def wait_for_mover(self) -> None:
        """Wait until every task has ended, or was hindered once."""
        wait_until(lambda: all(task["status"] != "ACTIVE" or task["faults"] for task in self.tasks()), what="the mover")

    def wait_for_end(self) -> None:
        """Wait until every task has ended."""
        ended = {"SUCCEEDED", "FAILED"}
        wait_until(lambda: all(task["status"] in ended for task in self.tasks()), what="the end of all tasks")

    def wait_until_fault(self, code: str) -> None:
        """Wait until a task that has not ended complains of this."""
        wait_until(lambda: code in self._complaints(), what=f"a task to meet {code}")

    def _complaints(self) -> set[str]:
        with closing(sqlite3.connect(self.sandbox.places.globus_database)) as connection:
            return {code for (code,) in connection.execute("SELECT fault_code FROM task WHERE completed IS NULL")}

    def posts(self) -> list[dict[str, Any]]:
        """Return the submissions so far."""
        return self.requests("POST", "/v0.10/transfer")

    def count(self, *words: str) -> int:
        """Return the number of requests so far whose line has all these words."""
        lines = self.sandbox.places.requests.read_text().splitlines()
        entries = map(json.loads, lines)
        return sum(all(word in f"{entry['method']} {entry['path']}" for word in words) for entry in entries)

    def log(self) -> list[tuple[str, str]]:
        """Return every request so far as what it is, and the path it is about."""
        found = []
        for line in self.sandbox.places.requests.read_text().splitlines():
            entry = json.loads(line)
            url = urlsplit(entry["path"])
            kind = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "*", f"{entry['method']} {url.path}")
            found.append((kind, parse_qs(url.query).get("path", [""])[0]))
        return found

    # --- the archive --------------------------------------------------------------------------------------

    def place(self, path: str, target: str = "cortexlab/Subjects") -> Path:
        """Return where a file is in the archive's folder."""
        return self.sandbox.places.archive / target / path

    def archived(self, below: str = "") -> dict[str, bytes]:
        """Return what is in the archive by the name users know, without dataset ids."""
        top = self.sandbox.places.archive / below
        found = {}
        for file in sorted(top.rglob("*")):
            if file.is_file():
                name = str(file.relative_to(top)).encode()
                known = dataset_id(name)
                found[(known[1] if known else name).decode()] = file.read_bytes()
        return found

    def destination(self, session: SessionRow, name: str, target: str = "server") -> Path:
        """Return where a file of a session goes, or went."""
        transfer = self.journal.transfers.of_job(self.archive_job(session, target).id)
        assert transfer is not None
        rows = {row.path.decode(): row for row in self.journal.transfers.items(transfer.id)}
        return self.sandbox.places.archive / transfer.base.decode().lstrip("/") / rows[name].destination.decode()

    def marked(self, session: SessionRow) -> dict[str, bool]:
        """Return of every dataset whether Alyx says that it exists in the server's repository."""
        found = {}
        for dataset in self.datasets(session):
            records = [one for one in dataset["file_records"] if one["data_repository"].startswith("flatiron")]
            found[dataset["name"]] = bool(records) and all(one["exists"] for one in records)
        return found

    # --- the journal --------------------------------------------------------------------------------------

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the journal's file itself, from outside: sees only what is committed."""
        file = Path(self.context.config.state_dir) / "journal.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()


Make = Callable[..., GlobusBench]  # takes what a bench takes, but its directory


@contextmanager
def while_held(bench: GlobusBench, what: str | Mapping[str, Any], *, when: str = "before") -> Iterator[None]:
    """Let the lane work until its next request with `what` in its line, which is held until the block ends."""
    rule = bench.fault(match=what, when=when, action="hold")
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(bench.work)
        try:
            assert bench.sandbox.faults.wait(rule, 1, 10) is not None, what
            yield
        finally:
            bench.sandbox.faults.remove(rule)
        working.result(20)
