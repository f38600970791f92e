from __future__ import annotations

import pytest

from labferry.archive.globus.values import Arrived, Entry, TaskStatus, arrived_of, entry_of, task_of

ACTIVE = {
    "task_id": "7e3d",
    "label": "lf rig1 b7",
    "status": "ACTIVE",
    "files": 186,
    "files_transferred": 100,
    "files_skipped": 20,
    "bytes_transferred": 5_000,
    "bytes_checksummed": 300,
    "subtasks_succeeded": 7,
    "subtasks_skipped_errors": 0,
    "faults": 15,
    "is_ok": False,
    "is_paused": False,
    "nice_status": "VERIFY_CHECKSUM",
    "nice_status_short_description": "checksum verification failed",
    "fatal_error": None,
}


def test_a_running_task_is_read_as_it_is() -> None:
    task = task_of(ACTIVE)
    assert (task.task_id, task.label, task.status) == ("7e3d", "lf rig1 b7", TaskStatus.ACTIVE)
    assert (task.files, task.files_transferred, task.files_skipped, task.bytes_transferred) == (186, 100, 20, 5_000)
    assert (task.faults, task.skipped_errors, task.is_ok, task.paused) == (15, 0, False, False)
    assert (task.nice_status, task.nice_text) == ("VERIFY_CHECKSUM", "checksum verification failed")
    assert (task.fatal_code, task.fatal_text) == ("", "")


def test_map_03_progress_is_the_sum_of_everything_that_grows_while_a_task_works() -> None:
    assert task_of(ACTIVE).progress == 5_000 + 100 + 20 + 300 + 7
    for name in ("bytes_transferred", "files_transferred", "files_skipped", "bytes_checksummed", "subtasks_succeeded"):
        grown = task_of({**ACTIVE, name: 10**6})
        assert grown.progress == task_of({**ACTIVE, name: 0}).progress + 10**6


def test_a_failed_task_says_why() -> None:
    fatal = {"code": "EXPIRED", "description": "the deadline has passed"}
    task = task_of({**ACTIVE, "status": "FAILED", "is_ok": None, "fatal_error": fatal})
    assert (task.status, task.is_ok) == (TaskStatus.FAILED, None)
    assert (task.fatal_code, task.fatal_text) == ("EXPIRED", "the deadline has passed")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"task_id": None, "files": None, "fatal_error": "none", "is_ok": "yes", "is_paused": None},
        {"task_id": 7, "files": "12", "fatal_error": [], "nice_status": None, "faults": True},
    ],
)
def test_what_is_missing_or_odd_counts_as_nothing(document: dict[str, object]) -> None:
    task = task_of(document)
    assert (task.task_id, task.files, task.faults, task.progress) == ("", 0, 0, 0)
    assert (task.is_ok, task.paused, task.nice_status, task.fatal_code) == (None, False, "", "")


@pytest.mark.parametrize("word", ["", "PENDING", "succeeded", None])
def test_a_word_nobody_knows_is_never_success_nor_failure(word: object) -> None:
    assert task_of({**ACTIVE, "status": word}).status is TaskStatus.ACTIVE


def test_only_files_are_files() -> None:
    assert entry_of({"name": "a.npy", "size": 12, "type": "file"}) == Entry("a.npy", 12, is_file=True)
    for kind in ("dir", "invalid_symlink", None):
        assert not entry_of({"name": "a", "size": 4096, "type": kind}).is_file


def test_an_arrival_is_read_as_it_is() -> None:
    row = {"destination_path": "/S/a.npy", "size": 12, "checksum": "AB", "checksum_algorithm": "MD5", "dynamic": False}
    assert arrived_of(row) == Arrived("/S/a.npy", 12, "AB", "MD5")
