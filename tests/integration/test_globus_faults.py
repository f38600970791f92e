"""MAP-03: what a Globus task meets on its way: waited for, ended for the others' sake, told once with its file."""

from __future__ import annotations

import pytest

from labferry.engine.dependencies import Health
from labferry.engine.globus.hindrances import GRACE, REPEATED
from labferry.engine.globus.preflight import LOOK_EVERY
from labferry.engine.reports.status import current_conditions
from labferry.errors import CODES
from labferry.model import JobState
from labferry.sandbox.seed import SERVER_ENDPOINT
from support.globus import DATASETS, PATH, SECOND, WHEEL, GlobusBench
from support.trouble import Logs, dependency, explained, pass_time, require_archived, said
from support.wait import wait_until

THIRD = "KS005/2026-03-02/003"
DAY = 86_400.0


def travelled(bench: GlobusBench) -> list[set[str]]:
    """Return the numbers of the sessions in each submission."""
    return [{item["source_path"].split("/")[-3] for item in post["body"]["DATA"]} for post in bench.posts()]


# --- a file that will never arrive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("FILE_NOT_FOUND", "transfer_hindered"),
        ("INVALID_SYMLINK", "transfer_hindered"),
        ("VERIFY_CHECKSUM", "transfer_hindered"),
        ("PERMISSION_DENIED", "transfer_denied"),
    ],
)
def test_map_03_a_file_that_never_arrives_is_named_and_the_others_go_on(
    bench: GlobusBench, logs: Logs, fault: str, code: str
) -> None:
    rule = bench.fault(action="file", match=f"{SECOND}/{WHEEL}", becomes="HINDERED", code=fault, description="no way")
    _, good = bench.registered(PATH)
    _, bad = bench.registered(SECOND)
    bench.work()
    bench.wait_until_fault(fault)
    pass_time(bench, GRACE - 120.0)
    assert bench.count("/cancel") == 0, "it may be put right"
    wait_until(lambda: bench.tasks()[0]["faults"] >= REPEATED, what="the fault to be met again")
    assert len(bench.posts()) == 1
    assert [(line["code"], line["log_level"]) for line in said(logs, "transfer_hindered")] == [(fault, "warning")]
    pass_time(bench, 180.0)
    assert bench.count("/cancel") == 1
    bench.rest()
    assert bench.is_archived(good)
    job = bench.archive_job(bad)
    assert (job.state, job.code, job.hint) == (JobState.BLOCKED, code, CODES[code].hint)
    assert all(word in job.reason for word in (f"{SECOND}/{WHEEL}", fault, "no way"))
    pass_time(bench, DAY, 3600.0)
    assert travelled(bench) == [{"001", "002"}, {"001"}], "what is to blame is never sent again as it is"
    assert dependency(bench, "archive:server").state is not Health.DOWN
    assert len(said(logs, "transfer_cancelled")) == 1
    bench.sandbox.faults.remove(rule)
    assert bench.journal.jobs.revive(job.id)
    require_archived(bench, bad)


def test_map_03_a_fault_that_goes_away_within_the_grace_ends_nothing(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(action="file", match=WHEEL, becomes="HINDERED", code="PERMISSION_DENIED")
    _, session = bench.submitted()
    bench.wait_for_mover()
    pass_time(bench, GRACE - 60.0)
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    assert (len(bench.tasks()), bench.count("/cancel"), bench.count("/event_list")) == (1, 0, 0)


def test_map_03_where_globus_names_no_file_the_sessions_go_one_by_one(bench: GlobusBench) -> None:
    rule = bench.fault(action="file", match=f"{SECOND}/{WHEEL}", becomes="HINDERED")
    event = {"code": "FILE_NOT_FOUND", "is_error": True, "description": "it is a secret", "details": ""}
    bench.fault(match="/event_list", action="status", status=200, body={"DATA": [event]}, times=None)
    good, bad = bench.registered(PATH)[1], bench.registered(SECOND)[1]
    bench.work()
    bench.wait_until_fault("FILE_NOT_FOUND")
    pass_time(bench, GRACE + 120.0)
    bench.rest()
    pass_time(bench, GRACE + 240.0)
    bench.rest()
    assert bench.is_archived(good)
    assert (bench.archive_job(bad).state, bench.archive_job(bad).code) == (JobState.BLOCKED, "transfer_hindered")
    assert sorted(map(sorted, travelled(bench))) == [["001"], ["001", "002"], ["002"]]
    bench.sandbox.faults.remove(rule)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("match", ["/event_list", "/cancel", "/stat?", "/mkdir", "/v0.10/delete"])
def test_map_03_win_02_a_kill_on_the_way_to_the_end_of_a_hindered_task_changes_nothing(
    bench: GlobusBench, match: str, when: str
) -> None:
    good, bad = bench.registered(PATH)[1], bench.registered(SECOND)[1]
    bench.fault(action="file", match=f"{SECOND}/{WHEEL}", becomes="HINDERED", code="FILE_NOT_FOUND")
    bench.work()
    bench.wait_until_fault("FILE_NOT_FOUND")
    bench.look()
    bench.fault(match=match, when=when, action="drop")
    for _ in range(15):
        bench.clock.pass_by(60.0)
        bench.work()
        if any(rule["hits"] for rule in bench.sandbox.faults.list() if rule["match"]["text"] == match):
            break
    bench.restart()
    pass_time(bench, 300.0)
    bench.rest()
    assert bench.is_archived(good)
    assert (bench.archive_job(bad).state, bench.archive_job(bad).code) == (JobState.BLOCKED, "transfer_hindered")
    assert travelled(bench) == [{"001", "002"}, {"001"}]
    assert bench.ask("SELECT * FROM probe") == []
    assert not list(bench.sandbox.places.archive.rglob(".labferry*"))


# --- the target ----------------------------------------------------------------------------------------------------


def test_map_06_write_permission_that_is_taken_away_blocks_and_nothing_is_to_blame(
    bench: GlobusBench, logs: Logs
) -> None:
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    with_rule = bench.fault(action="task", becomes="STALLED", code="ENDPOINT_ERROR")
    bench.work()
    bench.wait_for_mover()
    read_only = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="read_only")
    bench.sandbox.faults.remove(with_rule)
    bench.wait_until_fault("PERMISSION_DENIED")
    pass_time(bench, GRACE + 180.0)
    for session in sessions:
        job = bench.archive_job(session)
        assert (job.state, job.code) == (JobState.BLOCKED, "endpoint_readonly")
    pass_time(bench, 4 * LOOK_EVERY)
    assert (len(bench.posts()), len(said(logs, "transfer_cancelled"))) == (1, 1)
    bench.sandbox.faults.remove(read_only)
    pass_time(bench, LOOK_EVERY + 60.0)
    for session in sessions:
        require_archived(bench, session)
    assert travelled(bench) == [{"001", "002"}, {"001", "002"}]


def test_map_03_no_room_pauses_the_destination_with_one_alert_and_heals(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(
        action="file", match=WHEEL, becomes="HINDERED", code="NO_SPACE_LEFT", description="the disk is full"
    )
    _, session = bench.submitted()
    bench.wait_until_fault("NO_SPACE_LEFT")
    bench.look()
    _, other = bench.registered(SECOND)
    pass_time(bench, 3600.0)
    down = dependency(bench, "archive:server")
    assert (down.state, down.code) == (Health.DOWN, "target_full")
    assert "NO_SPACE_LEFT" in down.detail
    assert explained(bench, session)[0] == "waiting_dependency"
    assert (len(bench.posts()), bench.count("/cancel")) == (1, 0), "no other task that would find no room either"
    assert len(said(logs, "dependency_down")) == 1
    assert said(logs, "dependency_up") == []
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    require_archived(bench, other)
    assert (len(said(logs, "dependency_down")), len(said(logs, "dependency_up"))) == (1, 1)
    assert travelled(bench) == [{"001"}, {"002"}]


def test_map_03_a_pause_is_told_in_the_words_of_the_administrator(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(action="task", becomes="PAUSED", description="maintenance until Monday")
    _, session = bench.submitted()
    bench.wait_for_mover()
    pass_time(bench, 3600.0)
    assert bench.ask("SELECT fault, fault_text FROM task") == [("PAUSED", "maintenance until Monday")]
    assert bench.count("/pause_info") == 1
    assert [line["why"] for line in said(logs, "transfer_hindered")] == ["maintenance until Monday"]
    (stalled,) = [one for one in current_conditions(bench.context, bench.live) if one.code == "transfer_stalled"]
    assert "maintenance until Monday" in stalled.text
    assert len(bench.posts()) == 1
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


def test_map_03_what_an_administrator_cancelled_asks_a_person(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="CANCELED_BY_ADMIN", description="too much traffic")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "transfer_cancelled")
    assert "by the administrator of the destination: too much traffic" in job.reason
    pass_time(bench, DAY, 3600.0)
    assert len(bench.posts()) == 1
    assert bench.journal.jobs.revive(job.id)
    require_archived(bench, session)


def test_map_03_a_suspended_task_that_moved_everything_is_no_success(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="INACTIVE", when="after")
    _, session = bench.submitted()
    bench.wait_for_mover()
    assert set(bench.archived(f"cortexlab/Subjects/{PATH}")) >= set(DATASETS)
    pass_time(bench, 3600.0)
    assert bench.archive_job(session).state is JobState.WAITING
    assert not any(bench.marked(session).values())
    assert len(bench.posts()) == 1
