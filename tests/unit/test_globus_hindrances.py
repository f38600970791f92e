"""Which fault of a task is hopeless, and whose file it is."""

from __future__ import annotations

import pytest

from labferry.archive.globus.values import Fault, fault_of, pause_of, task_of
from labferry.engine.globus.endings import hindered
from labferry.engine.globus.hindrances import GRACE, REPEATED, blamed, is_usual, may_be_hopeless
from labferry.journal.transfer_rows import CargoRow, TaskRow

CANCELED = task_of({"task_id": "T", "status": "FAILED", "fatal_error": {"code": "CANCELED"}})


def row(fault: str, since: float | None) -> TaskRow:
    names = dict.fromkeys(("target", "batch", "label", "submission_id", "source_endpoint", "destination_endpoint"), "")
    return TaskRow(
        **names,
        id=1,
        globus_id="T",
        state="active",
        files=1,
        bytes=1,
        progress=0,
        progress_at=0.0,
        fault=fault,
        fault_text="",
        evidence="",
        created_at=0.0,
        updated_at=0.0,
        ended_at=None,
        fault_since=since,
        checksums=1,
    )


def cargo(*paths: str) -> list[CargoRow]:
    return [
        CargoRow(n, n, "/data", b"/lab", path.encode(), path.encode(), 3, "a" * 32, 1, 2, None)
        for n, path in enumerate(paths)
    ]


@pytest.mark.parametrize(
    ("known", "since", "fault", "age", "hopeless"),
    [
        ("FILE_NOT_FOUND", 0.0, "FILE_NOT_FOUND", GRACE, True),
        ("FILE_NOT_FOUND", 0.0, "FILE_NOT_FOUND", GRACE - 1.0, False),
        ("PERMISSION_DENIED", 0.0, "PERMISSION_DENIED", GRACE, True),
        ("PERMISSION_DENIED", 0.0, "FILE_NOT_FOUND", GRACE, False),
        ("GC_NOT_CONNECTED", 0.0, "GC_NOT_CONNECTED", 100 * GRACE, False),
        ("NO_SPACE_LEFT", 0.0, "NO_SPACE_LEFT", 100 * GRACE, False),
        ("", None, "", GRACE, False),
        ("NEVER_SEEN", 0.0, "NEVER_SEEN", 100 * GRACE, False),
    ],
)
def test_map_03_a_fault_is_hopeless_only_after_a_while_and_never_if_it_is_not_ours(
    known: str, since: float | None, fault: str, age: float, hopeless: bool
) -> None:
    assert may_be_hopeless(row(known, since), fault, age) is hopeless


def test_map_03_the_file_is_found_by_its_whole_path() -> None:
    files = cargo("a.npy", "a.npy.bak", "b c.npy")
    faults = [
        Fault("FILE_NOT_FOUND", "no such file: /data/a.npy.bak"),
        Fault("PERMISSION_DENIED", "denied '/lab/b c.npy'"),
        Fault("GC_NOT_CONNECTED", "/data/a.npy"),
    ]
    found = blamed(faults, files)
    assert {transfer: code for transfer, (code, _) in found.items()} == {1: "FILE_NOT_FOUND", 2: "PERMISSION_DENIED"}
    assert found[1][1] == "/data/a.npy.bak: FILE_NOT_FOUND: no such file: /data/a.npy.bak"


def test_a_checksum_that_differs_once_or_twice_is_what_checksums_are_for() -> None:
    once = Fault("VERIFY_CHECKSUM", "/data/a.npy")
    for times in range(REPEATED):
        assert blamed([once] * times, cargo("a.npy")) == {}
        assert is_usual([once] * times, "VERIFY_CHECKSUM")
    assert set(blamed([once] * REPEATED, cargo("a.npy"))) == {0}
    assert not is_usual([once] * REPEATED, "VERIFY_CHECKSUM")
    assert not is_usual([], "FILE_NOT_FOUND")


def test_map_03_what_changed_settles_again_and_is_not_blamed_beside() -> None:
    told = {0: ("FILE_NOT_FOUND", "/data/a.npy: gone"), 1: ("PERMISSION_DENIED", "/data/b.npy: denied")}
    ending = hindered(CANCELED, cargo("a.npy", "b.npy", "c.npy"), {0}, told, "FILE_NOT_FOUND")
    assert ending.troubles == {0: ("changed", ""), 1: ("transfer_denied", "task T: /data/b.npy: denied")}
    assert (ending.alone, ending.arrived) == ((), None)


def test_map_03_one_that_was_alone_is_told_though_no_file_is_named() -> None:
    ending = hindered(CANCELED, cargo("a.npy"), (), {}, "FILE_NOT_FOUND")
    assert ending.troubles is not None
    assert ending.troubles[0][0] == "transfer_hindered"
    assert "FILE_NOT_FOUND" in ending.troubles[0][1]


@pytest.mark.parametrize("document", [{}, {"pause_rules": None}, {"pause_rules": [3, {}]}, {"source_pause_message": 3}])
def test_bad_input_a_pause_without_a_reason_has_none(document: dict[str, object]) -> None:
    assert pause_of(document) == ""


def test_bad_input_an_event_of_several_lines_becomes_one() -> None:
    assert fault_of({"code": "X", "description": "a\nb", "details": None}) == Fault("X", "a b")
