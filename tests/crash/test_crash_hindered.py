"""Ruling 32, MAP-03: the daemon may die, or lose an answer, at any request on the way to the end of a hindered task.

A session has a file that Globus never gets. Its task is cancelled, both collections are looked at, the session is
blocked, and nothing is sent twice; the crash points are the requests that such a task has and no other one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.compare import without_ids
from support.crashes import WAYS, Crashes, Point, World
from support.lab import Lab

PATH = "KS005/2026-03-02/001"
FILES = {
    "alf/_ibl_trials.intervals.npy": b"intervals",
    "alf/_ibl_wheel.position.npy": b"positions",
    "raw_session.flag": b"",
}
AT_ONCE = 3
HOW_FAR = "GET /v0.10/task_list"
ERRORS = "GET /v0.10/task/UUID/event_list"
CANCEL = "POST /v0.10/task/UUID/cancel"
OF_ANY_TASK = {HOW_FAR, "POST /v0.10/transfer", "GET /v0.10/operation/endpoint/UUID/ls", "POST /v2/oauth2/token"}


def prepare(lab: Lab) -> None:
    lab.add_fault(action="file", match="wheel.position", becomes="HINDERED", code="FILE_NOT_FOUND")
    lab.write(PATH, FILES)


def needs_a_person(lab: Lab) -> bool:
    lab.require_running()
    return lab.attention() > 0


def outcome(lab: Lab) -> World:
    jobs = lab.journal("SELECT kind, state, code FROM job ORDER BY kind")
    return {**without_ids(lab), "jobs": jobs, "probes": lab.journal("SELECT path FROM probe")}


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    quick = {"LABFERRY_GLOBUS__STALL_AFTER": "0.5", "LABFERRY_GLOBUS__POLL_EVERY": "0.2"}
    crashes = Crashes(prepare, outcome, "", "globus", quick, optional={HOW_FAR}, ended=needs_a_person)
    with crashes.labs(tmp_path_factory.mktemp("lab") for _ in range(AT_ONCE)):
        yield crashes


@pytest.fixture(scope="module")
def undisturbed(crashes: Crashes) -> tuple[World, list[Point]]:
    """What is there at the end of a run that nobody disturbs, and the crash points on its way."""
    expected, found = crashes.undisturbed()
    assert expected["tasks"] == [("FAILED", "CANCELED")]
    assert list(map(tuple, expected["jobs"])) == [
        ("archive", "blocked", "transfer_hindered"),
        ("register", "done", ""),
    ]
    assert expected["probes"] == []
    own = [one for one in found if one.is_to_globus and one.kind not in OF_ANY_TASK]
    kinds = [one.kind for one in own]
    assert (kinds.count(ERRORS), kinds.count(CANCEL)) == (2, 1)
    begins = kinds.index(ERRORS)  # what comes before, the other crash matrix has as well
    return expected, own[begins:]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
def test_ruling_32_map_03_every_request_about_a_hindered_task_is_a_crash_point(
    crashes: Crashes, undisturbed: tuple[World, list[Point]], way: str
) -> None:
    expected, found = undisturbed
    chosen = [one for one in found if way != "late" or one.changes_something]
    assert crashes.differences(expected, chosen, way, AT_ONCE) == []
