"""`sessions`, `show`, `jobs` and `history`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.history import events_fields, history
from labferry.engine.reports.jobs import jobs
from labferry.engine.reports.sessions import sessions, show
from labferry.errors import LabferryError
from labferry.model import Blocked, Retry, Stage, Waiting, utc_text
from support.world import DATASET, EID, FLAG, REJECTED, SESSION, UNMATCHED, World

# `show.data` of the interface contract
SHOW = {
    "path",
    "root",
    "layout",
    "subject",
    "date",
    "number",
    "lab",
    "eid",
    "state",
    "attention",
    "generation",
    "first_seen",
    "complete_at",
    "registered_at",
    "archived_at",
    "files",
    "jobs",
    "transfers",
}
FILES = {
    "total",
    "datasets",
    "bytes",
    "registered",
    "archived",
    "unmatched",
    "unmatched_bytes",
    "rejected",
    "changed",
    "removed",
    "never_archived",
}
JOB = {
    "id",
    "kind",
    "state",
    "attempts",
    "reason",
    "next_at",
}
EVENT = {
    "id",
    "at",
    "session",
    "job",
    "action",
    "from",
    "to",
    "code",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def paths(found: list[dict[str, Any]]) -> list[str]:
    return [one["path"].rpartition("/s0/")[2].rpartition("/s1/")[2] for one in found]


# --- show ---------------------------------------------------------------------------------------------------


def test_show_has_every_field_of_the_contract(world: World) -> None:
    row = world.archived(files=[("alf/trials.table.pqt", DATASET), ("notes.txt", UNMATCHED)])
    data = show(world.context, row)
    assert data.keys() >= SHOW
    assert data["files"].keys() >= FILES
    assert all(job.keys() >= JOB for job in data["jobs"])
    assert json.loads(json.dumps(data)) == data


def test_ruling_09_ruling_11_show_has_the_remarks(world: World) -> None:
    row = world.archived()
    assert show(world.context, row)["remarks"] == []
    world.journal.sessions.remark(row.id, [("water_skipped", "1 found, 2 expected"), ("concurrent_creator", "twice")])
    assert show(world.context, row)["remarks"] == [
        {"code": "concurrent_creator", "text": "twice"},
        {"code": "water_skipped", "text": "1 found, 2 expected"},
    ]


def test_show_of_an_archived_session(world: World) -> None:
    row = world.archived(files=[("alf/trials.table.pqt", DATASET), ("notes.txt", UNMATCHED)])
    data = show(world.context, row)
    assert (data["path"], data["root"], data["state"], data["attention"]) == (
        str(world.folder_of()),
        "s0",
        "archived",
        None,
    )
    assert (data["subject"], data["date"], data["number"], data["eid"]) == ("KS005", "2019-04-02", 1, EID)
    assert (data["signal"], data["signal_seen_at"], data["generation"], data["sealed"]) == (
        FLAG,
        world.time(),
        1,
        True,
    )
    assert data["files"]["total"] == 2
    assert (data["files"]["datasets"], data["files"]["registered"], data["files"]["unmatched_bytes"]) == (1, 1, 100)
    assert [(job["kind"], job["target"], job["state"]) for job in data["jobs"]] == [
        ("register", "", "done"),
        ("archive", "nas", "done"),
    ]


def test_show_of_a_blocked_session(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two subjects", "rename one"))
    data = show(world.context, world.now(row))
    assert data["state"] == "complete", "blocked never hides how far it is (ruling 22)"
    assert data["attention"] == {"code": "ambiguous_subject", "message": "two subjects", "hint": "rename one"}
    assert data["jobs"][0]["next_at"] is None


def test_show_of_rejected_files_names_them(world: World) -> None:
    row = world.archived(files=[(f"alf/x{number}", REJECTED) for number in range(5)])
    attention = show(world.context, row)["attention"]
    assert attention["code"] == "not_utf8"
    assert "5 of its files" in attention["message"]
    assert "alf/x0" in attention["message"]
    assert "and 2 more" in attention["message"]


def test_show_of_what_detection_waits_for(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no completion signal yet")
    data = show(world.context, world.now(row))
    assert data["waits"] == {"code": "waiting_signal", "message": "no completion signal yet", "since": world.time()}


def test_show_of_a_job_that_waits_says_until_when(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Waiting(60.0, "session_not_on_alyx", "not there yet"))
    (job,) = show(world.context, row)["jobs"]
    assert (job["state"], job["reason"], job["next_at"]) == (
        "waiting",
        "not there yet",
        utc_text(world.clock.now() + 60),
    )


def test_show_of_a_transfer(world: World) -> None:
    row = world.registered()
    job = world.run(Stage.ARCHIVE, None, "nas")
    world.journal.transfers.plan(job.id, "nas", b"/nas", "lf-1", [])
    (transfer,) = show(world.context, row)["transfers"]
    assert (transfer["target"], transfer["state"], transfer["destination"]) == ("nas", "active", "/nas")


# --- the list -----------------------------------------------------------------------------------------------


def test_sessions_are_listed_by_every_filter(world: World) -> None:
    world.archived("KS001/2019-04-02/001")
    world.complete("KS002/2019-05-02/001")
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    world.found("KS001/2020-01-01/001", root="s1")

    def listed(**filters: str) -> list[str]:
        return paths(sessions(world.context, **filters))

    assert listed() == ["KS001/2019-04-02/001", "KS002/2019-05-02/001", "KS001/2020-01-01/001"]
    assert listed(state="archived") == ["KS001/2019-04-02/001"]
    assert listed(state="attention") == ["KS002/2019-05-02/001"]
    assert listed(subject="KS001") == ["KS001/2019-04-02/001", "KS001/2020-01-01/001"]
    assert listed(since="2019-05-02") == ["KS002/2019-05-02/001", "KS001/2020-01-01/001"]
    assert listed(since="2019-05-03T00:00:00Z") == ["KS001/2020-01-01/001"]
    assert listed(root="s1", subject="KS001") == ["KS001/2020-01-01/001"]
    assert listed(state="held") == []


def test_the_list_says_why_a_session_needs_a_person(world: World) -> None:
    world.archived("KS001/2019-04-02/001", files=[("x", REJECTED)])
    world.complete("KS002/2019-05-02/001")
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    assert [one["attention"]["code"] for one in sessions(world.context)] == ["not_utf8", "ambiguous_subject"]


@pytest.mark.parametrize("filters", [{"state": "lost"}, {"since": "yesterday"}, {"since": "2019-02-30"}])
def test_a_filter_that_makes_no_sense_is_refused(world: World, filters: dict[str, str]) -> None:
    with pytest.raises(LabferryError) as caught:
        sessions(world.context, **filters)
    assert caught.value.code == "bad_request"


def test_ruling_25_a_root_that_is_not_utf8_is_shown_and_given_in_base64(world: World) -> None:
    world.found()
    world.journal.sessions.meet_root("old", b"/data/caf\xe9", "ibl")
    world.journal.sessions.add(
        "old", SESSION.encode(), layout="ibl", subject="KS005", date="2019-04-02", number=1, lab=None
    )
    one, other = sessions(world.context)
    assert "path_b64" not in one
    assert other["path"] == f"/data/caf\\xe9/{SESSION}"
    assert other["path_b64"]


# --- jobs ---------------------------------------------------------------------------------------------------


def test_jobs_are_listed_with_their_sessions(world: World) -> None:
    world.archived("KS001/2019-04-02/001")
    row = world.complete("KS002/2019-05-02/001")
    (job,) = jobs(world.context)
    assert (job["session"], job["state"], job["stage"]) == (row.id, "queued", "resolve")
    assert paths([job]) == ["KS002/2019-05-02/001"]
    assert [one["kind"] for one in jobs(world.context, "done")] == ["archive", "register"]
    assert jobs(world.context, "blocked") == []


def test_a_job_state_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(LabferryError, match="no job state"):
        jobs(world.context, "lost")


# --- history ------------------------------------------------------------------------------------------------


def test_history_tells_events_and_attempts(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Retry("unexpected", "KeyError", detail="Traceback\nKeyError: 'x'"))
    data = history(world.context, row)
    assert [event["action"] for event in data["events"]][:3] == ["found", "signal", "complete"]
    assert all(event.keys() >= EVENT for event in data["events"])
    assert all(event["path"] == str(world.folder_of()) for event in data["events"])
    (attempt,) = data["attempts"]
    assert (attempt["outcome"], attempt["code"], attempt["stage"]) == ("retry", "unexpected", "resolve")
    assert attempt["detail"].endswith("KeyError: 'x'")


def test_history_goes_on_after_an_event(world: World) -> None:
    row = world.complete()
    everything = history(world.context, row)["events"]
    assert history(world.context, row, since=everything[1]["id"])["events"] == everything[2:]


def test_events_of_several_sessions_name_each(world: World) -> None:
    world.found("KS001/2019-04-02/001")
    world.found("KS002/2019-04-02/001")
    events = events_fields(world.context, world.journal.events(0))
    assert paths(events) == ["KS001/2019-04-02/001", "KS002/2019-04-02/001"]


def test_ruling_15_a_session_that_is_left_out_waits_for_nothing(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no completion signal yet")
    assert show(world.context, world.now(row))["waits"]
    world.journal.sessions.leave_out("s0", ["KS005"])
    data = show(world.context, world.now(row))
    assert (data["state"], data["waits"]) == ("ignored", None)
