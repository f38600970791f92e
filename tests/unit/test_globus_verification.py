from __future__ import annotations

from dataclasses import replace

import pytest

from labferry.archive.globus.values import Arrived, Entry, Task, TaskStatus, TransferItem, task_of
from labferry.archive.globus.verification import arrivals_differ, counters_differ, missing_or_different

MD5 = "0cc175b9c0f1b6a831c399e269772661"
ITEM = TransferItem("/rig/a.npy", "/lab/S/a.npy", 12, MD5)
OTHER = TransferItem("/rig/b.npy", "/lab/S/alf/b.npy", 7, MD5)


def success(**changes: object) -> Task:
    document = {"status": "SUCCEEDED", "files": 3, "files_transferred": 2, "files_skipped": 1}
    return task_of({**document, **changes})


def test_map_08_a_success_has_all_files_copied_or_found_equal() -> None:
    assert counters_differ(success(), 3) == ""


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (success(files=2), "2 files, 3 were planned"),
        (success(files=4), "4 files, 3 were planned"),
        (success(files_transferred=1), "1 files were copied and 1 found equal"),
        (success(files_skipped=2), "2 files were copied and 2 found equal"),
        (success(subtasks_skipped_errors=1), "left out because of errors"),
        (success(fatal_error={"code": "CANCELED", "description": "by you"}), "CANCELED: by you"),
        (replace(success(), status=TaskStatus.FAILED), "FAILED"),
        (replace(success(), status=TaskStatus.ACTIVE), "ACTIVE"),
        (replace(success(), status=TaskStatus.INACTIVE), "INACTIVE"),
    ],
)
def test_map_08_anything_less_is_no_success(task: Task, words: str) -> None:
    assert words in counters_differ(task, 3)


@pytest.mark.parametrize(
    "arrived",
    [
        [],
        [Arrived("/lab/S/a.npy", 12, MD5, "MD5")],
        [Arrived("/lab/S/a.npy", 12, MD5.upper(), "md5")],
        [Arrived("/lab/S/a.npy", 12, "0" * 64, "SHA256"), Arrived("/lab/S/alf/b.npy", 7, MD5, "MD5")],
    ],
)
def test_map_08_what_arrived_as_planned_does_not_differ(arrived: list[Arrived]) -> None:
    assert arrivals_differ(arrived, [ITEM, OTHER]) == {}


@pytest.mark.parametrize(
    ("arrival", "words"),
    [
        (Arrived("/lab/S/a.npy", 11, MD5, "MD5"), "11 bytes arrived, 12 were planned"),
        (Arrived("/lab/S/a.npy", 12, "f" * 32, "MD5"), f"MD5 {'f' * 32} arrived, {MD5} was planned"),
        (Arrived("/lab/S/a.npy", 12, "", "MD5"), "was planned"),
        (Arrived("/lab/S/c.npy", 12, MD5, "MD5"), "was not planned"),
    ],
)
def test_map_08_what_arrived_otherwise_is_named(arrival: Arrived, words: str) -> None:
    differences = arrivals_differ([Arrived("/lab/S/alf/b.npy", 7, MD5, "MD5"), arrival], [ITEM, OTHER])
    assert list(differences) == [arrival.destination]
    assert words in differences[arrival.destination]


def test_map_08_the_destination_lists_everything_as_planned() -> None:
    listings = {
        "/lab/S": {"a.npy": Entry("a.npy", 12, is_file=True), "alf": Entry("alf", 4096, is_file=False)},
        "/lab/S/alf": {"b.npy": Entry("b.npy", 7, is_file=True)},
    }
    assert missing_or_different(listings, [ITEM, OTHER]) == []


def test_map_08_what_the_destination_lacks_is_named() -> None:
    listings = {"/lab/S": {"a.npy": Entry("a.npy", 11, is_file=True)}, "/lab/S/alf": None}
    assert missing_or_different(listings, [ITEM, OTHER]) == [
        ("/lab/S/a.npy", "size 11 instead of 12"),
        ("/lab/S/alf/b.npy", "missing"),
    ]
    folder = {"/lab/S": {"a.npy": Entry("a.npy", 12, is_file=False)}}
    assert missing_or_different(folder, [ITEM]) == [("/lab/S/a.npy", "no regular file")]
