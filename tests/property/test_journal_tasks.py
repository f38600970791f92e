"""Globus tasks in the journal as a machine of states: whatever happens in whatever order, no file is in two."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from labferry.journal import Journal
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow
from labferry.journal.tasks import Ending, NewTask
from labferry.journal.transfer_rows import TaskRow
from labferry.journal.transfers import NewItem
from labferry.model import Decision, FileFate, FileVersion, JobState, Stage
from support.clock import FakeClock

TARGETS = ("hpc", "tape")
MAX_ACTIVE = 2
DATASET = Decision(FileFate.DATASET, pattern="*", dataset_type="t", data_format="f")
Key = tuple[int, int]  # transfer and file


@dataclass
class Carried:
    """What the model knows of one transfer: where each of its files is."""

    session: int
    target: str
    where: dict[int, str] = field(default_factory=dict)  # by file: "free", "arrived", or the id of a task that is open
    trouble: bool = False
    superseded: bool = False


class TaskMachine(RuleBasedStateMachine):
    """One journal, two Globus archives, and everything that the lanes and operators do to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.open()
        for target in TARGETS:
            self.journal.sessions.meet_root(target, f"/{target}".encode(), "ibl")
        self.transfers: dict[int, Carried] = {}
        self.tasks: dict[int, set[Key]] = {}  # what the open ones carry
        self.held: set[int] = set()
        self.names = 0

    def open(self) -> None:
        self.journal = Journal(self.folder, self.clock)
        self.journal.jobs.begin_life()

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)

    # --- sessions on their way to a batch -----------------------------------------------------------------

    @precondition(lambda self: len(self.transfers) < 6)
    @rule(archive=st.sampled_from(TARGETS), files=st.integers(1, 4))
    def a_session_is_planned(self, archive: str, files: int) -> None:
        self.names += 1
        path = f"KS005/2019-04-02/{self.names:03d}"
        session = self.journal.sessions.add(
            archive, path.encode(), layout="ibl", subject="KS005", date="2019-04-02", number=self.names, lab=None
        )
        self.plan(session, archive, [FileVersion(f"{n}.npy".encode(), 10 + n, 1, 1) for n in range(files)])

    def current(self) -> list[int]:
        """Return the transfers of sessions as they are now, that nobody holds."""
        return [t for t, one in self.transfers.items() if not one.superseded and one.session not in self.held]

    @precondition(lambda self: self.current())
    @rule(data=st.data())
    def a_session_changes_and_is_planned_again(self, data: st.DataObject) -> None:
        old = self.transfers[data.draw(st.sampled_from(self.current()))]
        files = [row.version for row in self.journal.files.of_session(old.session)]
        self.journal.sessions.unsettle(old.session, "changed")
        old.superseded = True
        self.plan(old.session, old.target, files)

    def plan(self, session: int, target: str, files: list[FileVersion]) -> None:
        """Bring a session to where its files wait for a task."""
        journal = self.journal
        assert journal.sessions.complete(session, b"", register=False, targets=[target])
        row = journal.sessions.get(session)
        assert row is not None
        journal.files.list_files(session, row.generation, [(file, DATASET) for file in files])
        self.claimed(Stage.SEAL, session, "done", JobState.QUEUED, Stage.ARCHIVE)
        job = self.claimed(Stage.ARCHIVE, session, "in_batch", JobState.WAITING, Stage.ARCHIVE, target)
        items = [NewItem(f.id, f.path, f.size, "0" * 32) for f in journal.files.of_session(session)]
        transfer = journal.transfers.plan(job.id, target, b"/base", f"lf-{job.id}", items, "/source", target)
        journal.transfers.looked(transfer.id, [item.destination for item in items])
        self.transfers[transfer.id] = Carried(session, target, {item.file_id: "free" for item in items})

    def claimed(
        self, stage: Stage, session: int, code: str, state: JobState, following: Stage, target: str = ""
    ) -> JobRow:
        """Claim the session's job and end the attempt so."""
        while True:
            job = self.journal.jobs.claim(stage, target)
            assert job is not None
            ours = job.session_id == session
            end = Move(state, following, self.clock.now(), 0, 0, "waiting", code=code)
            self.journal.jobs.finish_attempt(job, end if ours else self.as_it_was(job))
            if ours:
                return job

    def as_it_was(self, job: JobRow) -> Move:
        return Move(JobState.WAITING, job.stage, self.clock.now() + 1000, 0, 0, "waiting", code="in_batch")

    # --- what operators do --------------------------------------------------------------------------------

    @precondition(lambda self: self.transfers)
    @rule(data=st.data())
    def an_operator_holds_or_releases(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([one.session for one in self.transfers.values()]))
        if session in self.held:
            self.journal.sessions.release(session)
        else:
            self.journal.sessions.hold(session)
        self.held ^= {session}

    @rule()
    def the_daemon_is_killed_and_starts_again(self) -> None:
        self.journal.close()
        self.open()

    # --- a task's way -------------------------------------------------------------------------------------

    def free(self, transfer: int) -> set[Key]:
        one = self.transfers[transfer]
        return {(transfer, file) for file, where in one.where.items() if where == "free"}

    def may_travel(self, transfer: int) -> bool:
        one = self.transfers[transfer]
        older_under_way = any(
            other.session == one.session and other is not one and any(w.isdigit() for w in other.where.values())
            for other in self.transfers.values()
        )
        return not (one.superseded or one.trouble or one.session in self.held or older_under_way)

    @rule(data=st.data(), archive=st.sampled_from(TARGETS))
    def a_task_is_filled(self, data: st.DataObject, archive: str) -> None:
        ready = {row.transfer_id: row for row in self.journal.tasks.ready(archive)}
        expected = {t for t, one in self.transfers.items() if one.target == archive and self.may_travel(t)}
        assert set(ready) == {t for t in expected if self.free(t) and self.job_of(t).code == "in_batch"}
        assert all(row.files == len(self.free(t)) for t, row in ready.items())
        if ready:
            loads = {t: data.draw(st.integers(1, row.files + 1), label="files") for t, row in ready.items()}
            self.create(archive, loads)

    def only_ones(self) -> list[int]:
        """Return the transfers of sessions that have no other."""
        sessions = Counter(one.session for one in self.transfers.values())
        return [t for t, one in self.transfers.items() if sessions[one.session] == 1]

    @precondition(lambda self: self.only_ones())
    @rule(data=st.data(), files=st.integers(1, 5))
    def a_task_is_filled_with_what_was_ready_once(self, data: st.DataObject, files: int) -> None:
        """Let loads be out of date: of a transfer whose files are in a task, have arrived, or are held by now."""
        transfer = data.draw(st.sampled_from(self.only_ones()))
        self.create(self.transfers[transfer].target, {transfer: files})

    def create(self, target: str, loads: dict[int, int]) -> None:
        self.names += 1
        name = str(self.names)
        task = self.journal.tasks.create(
            NewTask(target, name, f"lf {name}", name, "a", "b"), loads, TARGETS, MAX_ACTIVE
        )
        able = {t: n for t, n in loads.items() if self.transfers[t].session not in self.held and self.free(t)}
        if len(self.tasks) >= MAX_ACTIVE or not able:
            assert task is None
            return
        assert task is not None
        carried = self.cargo(task.id)
        assert (task.state, task.files) == ("submitting", len(carried))
        assert Counter(t for t, _ in carried) == {t: min(n, len(self.free(t))) for t, n in able.items()}
        assert carried <= set().union(*map(self.free, able)), "only what was free"
        self.tasks[task.id] = carried
        for transfer, file in carried:
            self.transfers[transfer].where[file] = str(task.id)

    def cargo(self, task: int) -> set[Key]:
        rows = self.journal.tasks.cargo(task)
        assert rows == self.journal.tasks.cargo(task), "always in the same order"
        return {(row.transfer_id, row.file_id) for row in rows}

    def some_task(self, data: st.DataObject) -> TaskRow:
        return self.journal.tasks.get(data.draw(st.sampled_from(sorted(self.tasks)), label="task"))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def a_task_is_accepted(self, data: st.DataObject) -> None:
        task = self.some_task(data)
        self.journal.tasks.accepted(task.id, f"globus-{task.id}")
        assert self.journal.tasks.get(task.id).globus_id == f"globus-{task.id}"

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), progress=st.integers(0, 9), share=st.floats(0, 1))
    def a_task_moves(self, data: st.DataObject, progress: int, share: float) -> None:
        task = self.some_task(data)
        self.clock.pass_by(60)
        self.journal.tasks.seen(task.id, progress, share, share)
        after = self.journal.tasks.get(task.id)
        assert after.progress_at == (self.clock.now() if progress > task.progress else task.progress_at)
        assert all(
            0 <= transfer.bytes_done <= transfer.bytes_total
            for transfer in map(self.journal.transfers.get, {t for t, _ in self.tasks[task.id]})
        )

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def a_task_ends(self, data: st.DataObject) -> None:
        task = self.some_task(data)
        succeeded = task.globus_id is not None and data.draw(st.booleans(), label="succeeded")
        keys = sorted(self.tasks[task.id])
        brought = data.draw(st.sets(st.sampled_from(keys)), label="arrived") if succeeded else set()
        heard = data.draw(st.sets(st.sampled_from(sorted({t for t, _ in keys}))), label="troubles")
        ending = Ending(
            "succeeded" if succeeded else "failed",
            arrived=dict.fromkeys(brought, "transferred"),
            troubles=dict.fromkeys(heard, ("transfer_failed", "why")),
            alone=heard,
        )
        self.journal.tasks.end(task.id, ending)
        for transfer, file in self.tasks.pop(task.id):
            self.transfers[transfer].where[file] = "arrived" if (transfer, file) in brought else "free"
        for transfer in heard:
            self.transfers[transfer].trouble = True
        for transfer in {t for t, _ in keys if not self.transfers[t].superseded}:
            one, job = self.transfers[transfer], self.job_of(transfer)
            if one.trouble or set(one.where.values()) == {"arrived"}:
                assert job.not_before <= self.clock.now(), "there is something to hear, or to verify"
            elif self.free(transfer):
                assert job.code == "in_batch", "the rest waits for the next task"

    def job_of(self, transfer: int) -> JobRow:
        return self.journal.jobs.get(self.journal.transfers.get(transfer).job_id)

    @precondition(lambda self: any(one.trouble for one in self.transfers.values()))
    @rule(data=st.data())
    def a_job_hears_of_its_trouble(self, data: st.DataObject) -> None:
        transfer = data.draw(st.sampled_from([t for t, one in self.transfers.items() if one.trouble]))
        assert self.journal.transfers.trouble(transfer) == ("transfer_failed", "why")
        self.journal.transfers.forget_trouble(self.journal.transfers.get(transfer).job_id)
        self.transfers[transfer].trouble = False

    def due(self) -> list[int]:
        """Return the transfers whose jobs are due, with files that wait for a task."""
        now = self.clock.now()
        return [t for t in self.current() if self.free(t) and self.job_of(t).not_before <= now]

    @precondition(lambda self: self.due())
    @rule(data=st.data())
    def a_session_is_attended_to(self, data: st.DataObject) -> None:
        """Let the stage run of a session whose files are not all in a task."""
        one = self.transfers[data.draw(st.sampled_from(self.due()))]
        self.claimed(Stage.ARCHIVE, one.session, "in_batch", JobState.WAITING, Stage.ARCHIVE, one.target)

    # --- what always holds --------------------------------------------------------------------------------

    @invariant()
    def no_file_is_in_two_open_tasks(self) -> None:
        found = self.journal.tasks.open()
        assert {task.id for task in found} == set(self.tasks)
        assert self.journal.tasks.open_count(TARGETS) == len(found) <= MAX_ACTIVE
        carried = Counter((task.target, file) for task in found for _, file in self.cargo(task.id))
        assert not carried or max(carried.values()) == 1

    @invariant()
    def every_file_is_where_it_should_be(self) -> None:
        for transfer, one in self.transfers.items():
            items: dict[int, Any] = {item.file_id: item for item in self.journal.transfers.items(transfer)}
            for file, where in one.where.items():
                item = items[file]
                assert (item.arrived_how is not None) == (where == "arrived")
                assert (item.task_id is None) == (where == "free")
                assert not where.isdigit() or item.task_id == int(where)


def test_map_03_ruling_19_whatever_happens_no_file_is_in_two_tasks() -> None:
    often = settings(max_examples=15, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(TaskMachine, settings=often)
