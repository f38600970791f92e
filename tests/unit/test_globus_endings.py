"""What follows from how a Globus task ended: who goes again, who goes alone, who is told."""

from __future__ import annotations

import pytest

from labferry.archive.globus.values import Arrived, Task, task_of
from labferry.engine.globus.endings import PATIENCE, apart, failed, incomplete, outage, succeeded
from labferry.journal.transfer_rows import CargoRow


def cargo(*transfers: int) -> list[CargoRow]:
    """Return one file for each of the transfers."""
    return [
        CargoRow(t, 10 + n, f"/data/{t}", b"/lab", b"a.npy", f"{t}/{n}.npy".encode(), 3, "a" * 32, 1, 2, None)
        for n, t in enumerate(transfers)
    ]


def task(code: str = "", text: str = "why", status: str = "FAILED") -> Task:
    fatal = {"code": code, "description": text} if code else None
    return task_of({"task_id": "T", "status": status, "fatal_error": fatal})


def arrived(destination: str, checksum: str = "a" * 32, size: int = 3) -> Arrived:
    return Arrived(destination, size, checksum, "MD5")


def test_what_was_sent_and_what_was_found_equal_arrived() -> None:
    ending = succeeded(task(status="SUCCEEDED"), cargo(1, 2), [arrived("/lab/1/0.npy")])
    assert ending.state == "succeeded"
    assert ending.arrived == {(1, 10): "transferred", (2, 11): "compared"}
    assert ending.troubles == {}
    assert '"task_id": "T"' in ending.evidence


def test_other_content_is_told_to_its_session_only() -> None:
    ending = succeeded(task(status="SUCCEEDED"), cargo(1, 1, 2), [arrived("/lab/1/0.npy", "b" * 32)])
    assert ending.arrived == {(1, 11): "compared", (2, 12): "compared"}
    assert ending.troubles is not None
    assert list(ending.troubles) == [1]
    assert ending.troubles[1][0] == "transfer_failed"


def test_what_was_never_asked_for_is_nobodys_trouble() -> None:
    ending = succeeded(task(status="SUCCEEDED"), cargo(1), [arrived("/lab/other")])
    assert (ending.arrived, ending.troubles) == ({(1, 10): "compared"}, {})


def test_nothing_of_an_incomplete_success_counts() -> None:
    ending = incomplete(task(status="SUCCEEDED"), cargo(1, 2), "1 file is missing")
    assert (ending.state, ending.arrived) == ("failed", None)
    assert ending.troubles is not None
    assert {code for code, _ in ending.troubles.values()} == {"transfer_failed"}


@pytest.mark.parametrize(
    ("code", "changed", "by_us", "told", "alone"),
    [
        ("EXTERNAL_CHECKSUM_MISMATCH", {1}, False, {1: "changed"}, set()),
        ("EXTERNAL_CHECKSUM_MISMATCH", set(), False, {}, {1, 2}),
        ("CANCELED", set(), False, {1: "transfer_cancelled", 2: "transfer_cancelled"}, set()),
        ("CANCELED", {2}, True, {2: "changed"}, set()),
        ("CANCELED", set(), True, {}, set()),
        ("EXPIRED", set(), False, {1: "transfer_failed", 2: "transfer_failed"}, {1, 2}),
        ("EXPIRED", {2}, False, {1: "transfer_failed", 2: "changed"}, {1, 2}),
        ("NOBODY_KNOWS_THIS_ONE", set(), False, {1: "transfer_failed", 2: "transfer_failed"}, {1, 2}),
        ("", set(), False, {1: "transfer_failed", 2: "transfer_failed"}, {1, 2}),
        ("PERMISSION_DENIED", set(), False, {}, {1, 2}),
        ("QUOTA_EXCEEDED", set(), False, {}, set()),
        ("QUOTA_EXCEEDED", {1}, False, {1: "changed"}, set()),
    ],
)
def test_ruling_19_how_a_task_failed_decides_who_goes_how(
    code: str, changed: set[int], by_us: bool, told: dict[int, str], alone: set[int]
) -> None:
    ending = failed(task(code), cargo(1, 1, 2), changed, by_us=by_us)
    assert (ending.state, ending.arrived) == ("failed", None)
    assert {transfer: code for transfer, (code, _) in (ending.troubles or {}).items()} == told
    assert set(ending.alone) == alone
    assert "T failed" in ending.text


def test_ruling_19_one_that_was_alone_is_told() -> None:
    ending = apart(cargo(1, 1), "transfer_refused", "no")
    assert (ending.troubles, tuple(ending.alone)) == ({1: ("transfer_refused", "no")}, ())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("PERMISSION_DENIED", "collection_denied"),
        ("QUOTA_EXCEEDED", "target_full"),
        ("NO_SPACE_LEFT", "target_full"),
        ("EXPIRED", None),
        ("EXTERNAL_CHECKSUM_MISMATCH", None),
        ("", None),
    ],
)
def test_only_room_and_rights_are_a_matter_of_the_whole_target(code: str, expected: str | None) -> None:
    found = outage("hpc", task(code, "ask the centre"))
    assert (found.code if found else None) == expected
    if found:
        assert (found.dependency, found.retry_after) == ("archive:hpc", PATIENCE)
        assert f"{code} ask the centre" in found.message
