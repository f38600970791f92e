"""A Globus task in the journal: made whole or not at all, and what its end leaves behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.errors import UnavailableError
from labferry.journal import Journal, tasks
from labferry.journal.jobs import Move
from labferry.journal.tasks import Ending, NewTask
from labferry.journal.transfer_rows import ParcelRow, TaskRow, TransferRow
from labferry.journal.transfers import NewItem
from labferry.model import Decision, FileFate, FileVersion, JobState, Stage
from support.clock import FakeClock

DATASET = Decision(FileFate.DATASET, pattern="*", dataset_type="t", data_format="f")
HPC, TAPE = "hpc", "tape"


class Rig:
    """A journal whose sessions wait for a task; one root for each archive."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder, FakeClock())
        self.journal.jobs.begin_life()
        for target in (HPC, TAPE):
            self.journal.sessions.meet_root(target, f"/{target}".encode(), "ibl")
        self.sessions = 0

    def waiting(self, target: str = HPC, files: int = 3) -> TransferRow:
        """Bring a new session to where its files wait for a task."""
        self.sessions += 1
        session = self.journal.sessions.add(
            target,
            b"%03d" % self.sessions,
            layout="ibl",
            subject="S",
            date="2019-04-02",
            number=self.sessions,
            lab=None,
        )
        return self.planned(session, target, files)

    def planned(self, session: int, target: str = HPC, files: int = 3) -> TransferRow:
        """Bring the next generation of a session to where its files wait for a task."""
        journal = self.journal
        journal.sessions.unsettle(session, "new, or changed")
        journal.sessions.complete(session, b"", register=False, targets=[target])
        row = journal.sessions.get(session)
        assert row is not None
        journal.files.list_files(
            session, row.generation, [(FileVersion(b"%d" % n, 10, 1, 1), DATASET) for n in range(files)]
        )
        later = journal._clock.now() + 900.0
        for stage, state, code in ((Stage.SEAL, JobState.QUEUED, ""), (Stage.ARCHIVE, JobState.WAITING, "in_batch")):
            job = journal.jobs.claim(stage, target)
            assert job is not None
            due = later if code else 0.0
            journal.jobs.finish_attempt(job, Move(state, Stage.ARCHIVE, due, 0, 0, "waiting", code=code))
        items = [NewItem(file.id, file.path, file.size, "0" * 32) for file in journal.files.of_session(row.id)]
        transfer = journal.transfers.plan(job.id, target, b"/base", f"lf-{job.id}", items, "/source", target)
        journal.transfers.looked(transfer.id, [item.destination for item in items])
        return transfer

    def create(self, name: str, *loads: TransferRow, files: int = 3, max_active: int = 2) -> TaskRow | None:
        new = NewTask(loads[0].target, name, f"lf {name}", f"submission {name}", "a", "b")
        return self.journal.tasks.create(new, {load.id: files for load in loads}, (HPC, TAPE), max_active)

    def in_tasks(self, transfer: TransferRow) -> list[int | None]:
        return [item.task_id for item in self.journal.transfers.items(transfer.id)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.journal.close()


@pytest.mark.parametrize("broken", ["weigh", "tell"])
def test_map_03_a_task_is_made_whole_or_not_at_all(rig: Rig, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    first, second = rig.waiting(), rig.waiting()
    with monkeypatch.context() as patch:
        patch.setitem(tasks._SQL, broken, "SELECT no_such_function(:id)")
        with pytest.raises(UnavailableError):
            rig.create("one", first, second)
    assert rig.journal.tasks.open() == []
    assert rig.in_tasks(first) + rig.in_tasks(second) == [None] * 6
    assert {row.transfer_id for row in rig.journal.tasks.ready(HPC)} == {first.id, second.id}
    assert rig.create("one", first, second) is not None, "its name is still free"


def test_map_03_a_file_that_a_task_carries_is_put_into_no_other(rig: Rig) -> None:
    transfer = rig.waiting()
    task = rig.create("one", transfer, files=2)
    assert task is not None
    assert [row.files for row in rig.journal.tasks.ready(HPC)] == [1]
    other = rig.create("two", transfer, files=3)
    assert other is not None
    assert rig.in_tasks(transfer) == [task.id, task.id, other.id]
    assert rig.create("three", transfer, max_active=3) is None, "nothing is left"


def test_map_03_a_session_waits_while_its_older_files_are_on_their_way_to_the_same_place(rig: Rig) -> None:
    older = rig.waiting()
    task = rig.create("one", older)
    assert task is not None
    newer = rig.planned(rig.sessions)
    assert rig.journal.tasks.ready(HPC) == []
    rig.journal.tasks.end(task.id, Ending("failed"))
    assert [row.transfer_id for row in rig.journal.tasks.ready(HPC)] == [newer.id]


def test_map_03_a_submission_id_is_used_once(rig: Rig) -> None:
    first, second = rig.waiting(), rig.waiting()
    assert rig.create("one", first) is not None
    with pytest.raises(sqlite3.IntegrityError):
        rig.create("one", second)
    assert rig.in_tasks(second) == [None] * 3
    assert len(rig.journal.tasks.open()) == 1


@pytest.mark.parametrize("page", [1, 2, 5, 6, 7])
def test_the_files_of_a_task_are_the_same_page_by_page(rig: Rig, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    loads = [rig.waiting(), rig.waiting()]
    task = rig.create("one", *loads)
    assert task is not None
    monkeypatch.setattr(tasks, "PAGE", page)
    cargo = rig.journal.tasks.cargo(task.id)
    assert list(rig.journal.tasks.parcels(task.id)) == [
        ParcelRow(*(getattr(row, name) for name in ParcelRow._fields)) for row in cargo
    ]
    assert len(cargo) == 6


def test_ruling_19_so_many_tasks_of_all_archives_together(rig: Rig) -> None:
    first, second, third = rig.waiting(HPC), rig.waiting(TAPE), rig.waiting(TAPE)
    one, two = rig.create("one", first), rig.create("two", second)
    assert one is not None
    assert two is not None
    assert rig.create("three", third) is None
    assert rig.in_tasks(third) == [None] * 3
    rig.journal.tasks.end(one.id, Ending("failed"))
    assert rig.create("three", third) is not None, "a place of another archive"


def test_map_03_what_did_not_arrive_travels_again_and_what_did_does_not(rig: Rig) -> None:
    transfer = rig.waiting()
    task = rig.create("one", transfer)
    assert task is not None
    rig.journal.tasks.accepted(task.id, "globus-1")
    first, second, third = rig.journal.tasks.cargo(task.id)
    how = {(transfer.id, first.file_id): "transferred", (transfer.id, third.file_id): "compared"}
    rig.journal.tasks.end(task.id, Ending("succeeded", arrived=how))
    items = rig.journal.transfers.items(transfer.id)
    assert [item.arrived_how for item in items] == ["transferred", None, "compared"]
    again = rig.create("two", transfer)
    assert again is not None
    assert [row.file_id for row in rig.journal.tasks.cargo(again.id)] == [second.file_id]


def test_ruling_19_who_failed_alone_lets_the_others_go_first(rig: Rig) -> None:
    first, second = rig.waiting(), rig.waiting()
    for number in range(2):  # with others, then alone
        task = rig.create(f"lf-{number}", first)
        assert task is not None
        rig.journal.tasks.end(task.id, Ending("failed", "EXPIRED", "too long", alone={first.id}))
        turns = [row.transfer_id for row in rig.journal.tasks.ready(HPC)]
        assert turns == ([second.id, first.id] if number else [first.id, second.id])


def test_map_03_a_task_that_failed_is_over_and_its_session_goes_alone(rig: Rig) -> None:
    transfer = rig.waiting()
    task = rig.create("one", transfer)
    assert task is not None
    rig.journal.tasks.end(task.id, Ending("failed", "FILE_NOT_FOUND", "gone", alone={transfer.id}))
    ended = rig.journal.tasks.get(task.id)
    assert (ended.state, ended.fault, ended.ended_at) == ("failed", "FILE_NOT_FOUND", rig.journal._clock.now())
    assert rig.journal.tasks.open() == []
    assert rig.journal.transfers.get(transfer.id).alone == 1


def test_map_03_success_without_the_services_own_id_cannot_be(rig: Rig) -> None:
    task = rig.create("one", rig.waiting())
    assert task is not None
    with pytest.raises(sqlite3.IntegrityError):
        rig.journal.tasks.end(task.id, Ending("succeeded"))
    assert [one.id for one in rig.journal.tasks.open()] == [task.id]
