"""A collection that cannot compute MD5: its files travel without, and the evidence says what is known of them."""

from __future__ import annotations

from typing import Any

import pytest

from labferry.archive.globus.faults import refuses_checksum
from labferry.engine.reports.sessions import show
from labferry.journal.rows import SessionRow
from labferry.sandbox.seed import SERVER_ENDPOINT
from support.globus import DATASETS, PATH, SECOND, WHEEL, GlobusBench

ALONE = "transferred by Globus alone, no MD5"


def without_md5(bench: GlobusBench) -> int:
    return bench.fault(match=SERVER_ENDPOINT, action="collection", becomes="no_md5", times=None)


def with_checksums(bench: GlobusBench) -> list[bool]:
    """Return of each submission whether Globus was told what the checksums must be."""
    return [all("external_checksum" in item for item in post["body"]["DATA"]) for post in bench.posts()]


def evidence(bench: GlobusBench, session: SessionRow) -> list[dict[str, Any]]:
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    found: list[dict[str, Any]] = show(bench.context, row)["transfers"][-1]["evidence"]["files"]
    return found


def test_ruling_30_a_collection_without_md5_gets_its_files_without_and_the_evidence_says_so(bench: GlobusBench) -> None:
    without_md5(bench)
    _, session = bench.registered(PATH)
    bench.rest()
    assert bench.is_archived(session)
    assert with_checksums(bench) == [True, False]
    assert [task["status"] for task in bench.tasks()] == ["FAILED", "SUCCEEDED"]
    assert bench.archive_job(session).failures == 0
    assert {one["how"] for one in evidence(bench, session)} == {ALONE}
    assert bench.archived(f"cortexlab/Subjects/{PATH}") == DATASETS
    assert all(bench.marked(session).values())
    bench.restart()
    _, other = bench.registered(SECOND)
    bench.rest()
    assert bench.is_archived(other)
    assert with_checksums(bench)[2:] == [False], "it is not asked again, not even by another life"


def test_ruling_30_a_submission_that_is_refused_for_its_checksums_is_made_without(bench: GlobusBench) -> None:
    body = {"code": "ClientError.BadRequest", "message": "checksum algorithm MD5 is not supported by the endpoint"}
    bench.fault(match="POST /v0.10/transfer", action="status", status=400, body=body)
    _, session = bench.registered(PATH)
    bench.rest()
    assert bench.is_archived(session)
    assert with_checksums(bench) == [True, False]
    assert {one["how"] for one in evidence(bench, session)} == {"transferred"}, "Globus lists the MD5 all the same"


def test_ruling_30_a_task_that_stands_still_for_its_checksums_is_made_without(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="STALLED", code="CHECKSUM_ALGORITHM_UNSUPPORTED")
    _, session = bench.registered(PATH)
    bench.rest()
    assert bench.is_archived(session)
    assert with_checksums(bench) == [True, False]


def test_ruling_30_without_checksums_a_file_that_changed_on_its_way_sends_its_session_back(bench: GlobusBench) -> None:
    without_md5(bench)
    _, first = bench.registered("ZM_1150/2026-03-02/001")
    bench.rest()
    assert bench.is_archived(first)
    rule = bench.fault(action="task", when="before", becomes="STALLED", times=None)
    folder, changed = bench.registered(PATH)
    _, other = bench.registered(SECOND)
    bench.work()
    bench.wait_for_mover()
    (folder / WHEEL).write_bytes(b"pOsItIoNs")
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    bench.rest()
    assert bench.is_archived(other)
    assert bench.archive_job(changed).code == "changed"
    assert bench.marked(changed)["_ibl_wheel.position.npy"] is False


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("CHECKSUM_ALGORITHM_UNSUPPORTED", "", True),
        ("ENDPOINT_ERROR", "Checksum algorithm 'MD5' is not supported", True),
        ("", "The connector does not support checksum MD5", True),
        ("EXTERNAL_CHECKSUM_MISMATCH", "x: MD5 expected 1, found 2 (algorithm MD5)", False),
        ("VERIFY_CHECKSUM", "x is not what was read", False),
        ("PERMISSION_DENIED", "the operation is not supported", False),
    ],
)
def test_ruling_30_only_what_is_about_the_kind_of_checksum_is_a_refusal(code: str, text: str, expected: bool) -> None:
    assert refuses_checksum(code, text) is expected
