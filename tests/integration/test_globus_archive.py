"""The Globus archive when all goes well, and when an answer is not what it should be: what is sent, when it counts."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from labferry.engine.globus.endings import PATIENCE
from labferry.engine.globus.lane import FILL_EVERY
from labferry.engine.reports.status import current_conditions
from labferry.model import JobState, Stage
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.globus import DATASETS, PATH, WHEEL, GlobusBench, Make, while_held

OTHER_LAB = "ZM_1150/2026-03-02/001"
ALL_MARKED = dict.fromkeys((name.rpartition("/")[2] for name in DATASETS), True)
NONE_MARKED = dict.fromkeys(ALL_MARKED, False)
PLAIN = {'naming = "alyx"\nrepository = "auto"': 'naming = "plain"\nrepository = ""', 'path = "auto"': 'path = "/all"'}


def plant(bench: GlobusBench, **facts: object) -> None:
    """Put facts into Alyx, and let the daemon read its vocabulary again."""
    httpx.post(f"{bench.sandbox.alyx_url}/_sandbox/state", json=facts).raise_for_status()
    bench.context.vocabulary.expire()


# --- one task, once ----------------------------------------------------------------------------------------------


def test_map_03_a_session_reaches_the_archive_and_alyx_hears_of_it(bench: GlobusBench) -> None:
    _, session = bench.registered()
    with capture_logs() as logs:
        bench.rest()
    said = [(record["event"], record.get("why", "nothing to say")) for record in logs if "target" in record]
    assert said == [("transfer_submitted", "nothing to say"), ("transfer_ended", "nothing to say")]
    assert bench.is_archived(session)
    assert bench.archived() == {f"cortexlab/Subjects/{PATH}/{name}": content for name, content in DATASETS.items()}
    assert bench.marked(session) == ALL_MARKED
    assert [(task["status"], task["files_transferred"]) for task in bench.tasks()] == [("SUCCEEDED", len(DATASETS))]
    transfer = bench.journal.transfers.of_job(bench.archive_job(session).id)
    assert transfer is not None
    assert (transfer.state, transfer.bytes_done) == ("verified", transfer.bytes_total)


def test_map_03_submission_id_and_files_are_committed_before_the_first_submission(bench: GlobusBench) -> None:
    bench.registered()
    with while_held(bench, "POST /v0.10/transfer"):
        rows = bench.ask("SELECT submission_id, label, state, globus_id FROM task")
        loaded = bench.ask("SELECT count(*) FROM item WHERE task_id = 1")
    (post,) = bench.posts()
    assert rows == [(post["body"]["submission_id"], post["body"]["label"], "submitting", None)]
    assert loaded == [(len(post["body"]["DATA"]),)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_map_03_a_kill_around_the_submission_leaves_one_task(bench: GlobusBench, when: str) -> None:
    bench.fault(match="POST /v0.10/transfer", when=when, action="drop")
    _, session = bench.registered()
    bench.work()
    bench.restart()
    bench.rest()
    first, second = bench.posts()
    assert first["body"] == second["body"]
    assert (first["applied"], second["status"]) == ((False, 202) if when == "before" else (True, 200))
    assert len(bench.tasks()) == 1
    assert bench.ask("SELECT count(*), state, globus_id FROM task") == [(1, "succeeded", bench.tasks()[0]["task_id"])]
    assert bench.is_archived(session)


@pytest.mark.parametrize("what", ["submission_id", "task_list", "successful_transfers", "/ls"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_map_03_any_other_lost_answer_leaves_one_task_too(bench: GlobusBench, what: str, when: str) -> None:
    bench.fault(match=what, when=when, action="drop")
    _, session = bench.registered()
    bench.rest()
    bench.restart()
    bench.rest()
    assert len(bench.tasks()) == len({post["body"]["submission_id"] for post in bench.posts()}) == 1
    assert bench.is_archived(session)
    assert bench.archive_job(session).failures == 0


def test_map_03_every_option_is_explicit(bench: GlobusBench) -> None:
    folder, session = bench.registered()
    bench.work()
    (post,) = bench.posts()
    document = dict(post["body"])
    items = document.pop("DATA")
    assert document.pop("submission_id")
    assert re.fullmatch(r"lf sandbox lf-[0-9a-f]{12}", document.pop("label"))
    assert document == {
        "DATA_TYPE": "transfer",
        "source_endpoint": LOCAL_ENDPOINT,
        "destination_endpoint": SERVER_ENDPOINT,
        "sync_level": 3,
        "verify_checksum": True,
        "preserve_timestamp": True,
        "encrypt_data": True,
        "fail_on_quota_errors": True,
        "skip_source_errors": False,
        "notify_on_succeeded": False,
        "notify_on_failed": False,
        "notify_on_inactive": False,
    }, "and neither a deadline nor anything that deletes"
    assert {item["source_path"]: item for item in items} == {
        f"{folder}/{name}": {
            "DATA_TYPE": "transfer_item",
            "source_path": f"{folder}/{name}",
            "destination_path": "/" + str(bench.destination(session, name).relative_to(bench.sandbox.places.archive)),
            "external_checksum": hashlib.md5(content).hexdigest(),
            "checksum_algorithm": "MD5",
        }
        for name, content in DATASETS.items()
    }


def test_map_03_a_task_that_works_for_days_is_waited_for(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", becomes="STALLED")
    _, session = bench.submitted()
    with capture_logs() as logs:
        for _ in range(50):
            bench.clock.pass_by(3600.0)
            bench.work()
    assert len(logs) < 10, "looks at a task are not worth a line"
    job = bench.archive_job(session)
    assert (job.state, job.code, job.failures) == (JobState.WAITING, "in_flight", 0)
    assert len(bench.posts()) == len(bench.tasks()) == 1
    assert job.attempts < 15, "a safety net, no cadence"
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    bench.rest()
    assert bench.is_archived(session)


def test_map_03_a_failed_task_is_no_success_and_says_why(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", when="after", becomes="FAILED", description="the disk is on fire")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code, job.failures) == (JobState.QUEUED, "transfer_failed", 1)
    assert "ENDPOINT_ERROR the disk is on fire" in job.reason
    assert bench.marked(session) == NONE_MARKED
    bench.sandbox.faults.remove(rule)
    bench.rest()
    assert bench.is_archived(session)
    assert [task["files_skipped"] for task in bench.tasks()] == [0, 3], "what had arrived was compared, not copied"


# --- what, and where ---------------------------------------------------------------------------------------------


def test_ruling_15_alyx_naming_sends_exactly_the_registered_datasets(bench: GlobusBench) -> None:
    folder, session = bench.registered()
    bench.work()
    ids = {dataset["name"]: dataset["url"][-36:] for dataset in bench.datasets(session)}
    (post,) = bench.posts()
    found = {item["source_path"]: item["destination_path"] for item in post["body"]["DATA"]}
    assert set(found) == {f"{folder}/{name}" for name in DATASETS}
    for source, destination in found.items():
        stem, _, extension = source.removeprefix(f"{folder}/").rpartition(".")
        name = source.rpartition("/")[2]
        assert destination == f"/cortexlab/Subjects/{PATH}/{stem}.{ids[name]}.{extension}"


def test_ruling_15_plain_naming_sends_every_regular_file_but_what_is_excluded(make: Make) -> None:
    exclude = {'naming = "alyx"\nrepository = "auto"': 'naming = "plain"\nrepository = ""\nexclude = ["notes.*"]'}
    bench = make(config={**PLAIN, **exclude})
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    expected = set(bench.archived(f"all/{PATH}"))
    assert expected == {*DATASETS, "raw_session.flag"}
    assert bench.marked(session) == NONE_MARKED, "without a repository Alyx hears of nothing"


def test_a_session_of_which_nothing_is_taken_is_archived_without_a_task(make: Make) -> None:
    bench = make(config={'naming = "alyx"': 'naming = "alyx"\ninclude = ["nothing/*"]'})
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    assert bench.tasks() == []


def test_ruling_16_each_lab_gets_its_own_place(bench: GlobusBench) -> None:
    _, one = bench.registered(PATH)
    _, other = bench.registered(OTHER_LAB)
    bench.rest()
    assert bench.is_archived(one)
    assert bench.is_archived(other)
    assert set(bench.archived()) == {
        *(f"cortexlab/Subjects/{PATH}/{name}" for name in DATASETS),
        *(f"mainenlab/Subjects/{OTHER_LAB}/{name}" for name in DATASETS),
    }
    assert len(bench.tasks()) == 1, "they travel together all the same"
    marked = {
        (record["data_repository"], record["exists"])
        for dataset in bench.datasets(other)
        for record in dataset["file_records"]
    }
    assert marked == {("mainenlab_SR", True), ("flatiron_mainenlab", True)}


def test_ruling_16_a_lab_with_two_repositories_on_the_endpoint_is_blocked(bench: GlobusBench) -> None:
    _, session = bench.registered()
    second = {"name": "flatiron_two", "labs": ["cortexlab"], "globus_path": "/two/", "globus_is_personal": False}
    plant(bench, repositories=[{**second, "globus_endpoint_id": SERVER_ENDPOINT, "hostname": "x"}])
    bench.work()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "ambiguous_repository")
    assert "flatiron_cortexlab, flatiron_two" in job.reason
    assert bench.posts() == []


def test_ruling_16_a_lab_without_a_repository_on_the_endpoint_is_blocked(make: Make) -> None:
    bench = make(config={SERVER_ENDPOINT: "11111111-2222-4333-8444-555555555555"})
    _, session = bench.registered()
    bench.work()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "lab_without_repository")
    assert bench.posts() == []


def test_ruling_16_the_lab_in_a_path_is_the_sessions(make: Make) -> None:
    bench = make(config={'path = "auto"': 'path = "/copies/{lab}/raw"'})
    bench.registered(PATH)
    bench.registered(OTHER_LAB)
    bench.rest()
    assert set(bench.archived()) == {
        *(f"copies/cortexlab/raw/{PATH}/{name}" for name in DATASETS),
        *(f"copies/mainenlab/raw/{OTHER_LAB}/{name}" for name in DATASETS),
    }


# --- verification ------------------------------------------------------------------------------------------------


def test_map_14_nothing_is_marked_before_everything_was_looked_at_again(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.clock.pass_by(1.0)
    with while_held(bench, "/ls?"):
        assert bench.marked(session) == NONE_MARKED
        assert bench.ask("SELECT count(*) FROM item WHERE verified_at IS NOT NULL") == [(0,)]
    assert bench.is_archived(session)
    order = [kind for kind, _ in bench.log()]
    submitted = order.index("POST /v0.10/transfer")
    arrived = order.index("GET /v0.10/task/*/successful_transfers")
    looks = [n for n, kind in enumerate(order) if kind.endswith("/ls") and n > submitted]
    marks = [n for n, kind in enumerate(order) if kind == "PATCH /files/*"]
    assert submitted < arrived < min(looks) <= max(looks) < min(marks)
    directories = {name.rpartition("/")[0] for name in DATASETS}
    assert len(looks) == len(directories), "one listing for each directory"
    assert len(marks) == len(DATASETS)


def spoil(bench: GlobusBench, match: str, rows: list[dict[str, Any]]) -> None:
    """Let Globus answer the next such request with these rows."""
    body = {"DATA": rows, "next_marker": None, "total": len(rows)}
    bench.fault(match=match, when="after", action="status", status=200, body=body)


def require_sent_again(bench: GlobusBench, session: Any, text: str) -> None:
    """Require that the session does not count as archived, and that it does after another task."""
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.QUEUED, "transfer_failed")
    assert text in job.reason
    assert bench.marked(session) == NONE_MARKED
    bench.rest()
    assert bench.is_archived(session)
    assert bench.marked(session) == ALL_MARKED
    assert len(bench.tasks()) == 2
    assert set(bench.archived(f"cortexlab/Subjects/{PATH}").items()) == set(DATASETS.items())


@pytest.mark.parametrize(
    ("counters", "text"),
    [
        ({"files": 3, "files_transferred": 2}, "2 files were copied and 0 found equal, 3 were planned"),
        ({"files": 2, "files_transferred": 2}, "the task had 2 files, 3 were planned"),
        ({"files": 3, "files_transferred": 3, "subtasks_skipped_errors": 1}, "1 files were left out"),
    ],
)
def test_map_03_a_success_that_does_not_count_all_files_is_none(
    bench: GlobusBench, counters: dict[str, int], text: str
) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    spoil(bench, "/task_list", [{"task_id": bench.tasks()[0]["task_id"], "status": "SUCCEEDED", **counters}])
    require_sent_again(bench, session, text)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"checksum": "0" * 32}, "MD5 " + "0" * 32 + " arrived"),
        ({"size": 8}, "8 bytes arrived, 9 were planned"),
    ],
)
def test_map_03_other_content_that_arrived_is_not_taken_for_ours(
    bench: GlobusBench, found: dict[str, Any], text: str
) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    (post,) = bench.posts()
    item = next(item for item in post["body"]["DATA"] if WHEEL in item["source_path"])
    row = {"destination_path": item["destination_path"], "size": 9, "checksum_algorithm": "MD5"}
    spoil(bench, "successful_transfers", [{**row, "checksum": item["external_checksum"], **found}])
    require_sent_again(bench, session, text)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [3, 1], "the others need not travel again"


def test_map_12_a_file_that_is_gone_after_the_transfer_is_sent_again(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.destination(session, WHEEL).unlink()
    require_sent_again(bench, session, "missing, although its task succeeded")


def test_map_12_a_file_of_another_size_after_the_transfer_is_sent_again(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.destination(session, WHEEL).write_bytes(b"half")
    require_sent_again(bench, session, "size 4 instead of 9")


def test_ruling_10_nothing_is_marked_under_another_hash_than_was_verified(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    dataset = next(one for one in bench.datasets(session) if one["name"] == "_ibl_wheel.position.npy")
    bench.alyx("PATCH", f"/datasets/{dataset['url'][-36:]}", {"hash": "f" * 32})
    bench.wait_for_mover()
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "hash_conflict")
    assert bench.marked(session)["_ibl_wheel.position.npy"] is False


def test_a_mark_that_alyx_could_not_take_is_made_later_without_another_task(bench: GlobusBench) -> None:
    bench.fault(match="PATCH /files/", action="status", status=503)
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    assert not bench.is_archived(session)
    asked = bench.count("/v0.10/")
    bench.restart()
    bench.clock.pass_by(900.0)
    bench.work()
    assert bench.is_archived(session)
    assert bench.marked(session) == ALL_MARKED
    assert bench.count("/v0.10/") == asked, "the bytes are nobody's concern any more"


# --- batches -----------------------------------------------------------------------------------------------------


def paths(count: int, subject: str = "KS005") -> list[str]:
    return [f"{subject}/2026-03-02/{number:03}" for number in range(1, count + 1)]


def test_ruling_19_sessions_travel_together_and_are_asked_about_together(bench: GlobusBench) -> None:
    sessions = [bench.registered(path)[1] for path in paths(5)]
    bench.rest()
    assert all(bench.is_archived(session) for session in sessions)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [5 * len(DATASETS)]


def test_ruling_19_one_request_asks_about_all_tasks(make: Make) -> None:
    bench = make(LABFERRY_GLOBUS__MAX_ITEMS="3", LABFERRY_GLOBUS__MAX_ACTIVE="10")
    bench.fault(action="task", becomes="STALLED", times=None)
    for path in paths(4):
        bench.registered(path)
    bench.work()
    bench.wait_for_mover()
    assert len(bench.tasks()) == 4
    asked = bench.count("/v0.10/")
    for _ in range(3):
        bench.look()
    assert bench.count("/v0.10/") == asked + 3
    polls = bench.requests("GET", "/v0.10/task_list")
    assert all(task["task_id"] in polls[-1]["path"] for task in bench.tasks())


def test_ruling_19_a_changed_file_sends_its_session_back_and_the_others_on(bench: GlobusBench) -> None:
    sessions = [bench.registered(path)[1] for path in paths(3)]
    with while_held(bench, "POST /v0.10/transfer"):
        (bench.sandbox.places.watch_root / paths(3)[1] / WHEEL).write_bytes(b"pOsitions")
    bench.wait_for_mover()
    bench.look()
    (failed,) = [task for task in bench.tasks() if task["status"] == "FAILED"]
    assert failed["fatal_error"] == "EXTERNAL_CHECKSUM_MISMATCH"
    assert len(bench.posts()) == 2, "the others are sent again at once"
    assert len(bench.posts()[1]["body"]["DATA"]) == 2 * len(DATASETS)
    row = bench.journal.sessions.get(sessions[1].id)
    assert row is not None
    assert (row.complete_at, row.wait_code) == (None, "changed")
    bench.rest()
    assert [bench.is_archived(session) for session in sessions] == [True, False, True]
    bench.settle_again(sessions[1], {WHEEL: b"pOsitions"})
    bench.rest()
    assert bench.is_archived(sessions[1])
    assert bench.destination(sessions[1], WHEEL).read_bytes() == b"pOsitions"


def test_ruling_19_where_nobody_can_tell_whose_file_it_was_each_goes_alone(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", becomes="FAILED", code="EXTERNAL_CHECKSUM_MISMATCH", description="a file")
    sessions = [bench.registered(path)[1] for path in paths(3)]
    bench.rest()
    assert all(bench.is_archived(session) for session in sessions)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [9, 3, 3, 3]
    assert bench.sandbox.faults.wait(rule, 1, 0) is not None
    assert [bench.archive_job(session).failures for session in sessions] == [0, 0, 0]


def test_ruling_19_a_session_that_spoils_its_own_task_is_told(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="FAILED", code="EXTERNAL_CHECKSUM_MISMATCH", description="bad disk")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "transfer_refused")
    assert "EXTERNAL_CHECKSUM_MISMATCH bad disk" in job.reason
    assert bench.journal.jobs.revive(job.id)
    bench.rest()
    assert bench.is_archived(session)


def test_ruling_19_what_is_ready_does_not_wait_for_ever_for_what_is_not(bench: GlobusBench) -> None:
    for path in paths(4):
        bench.registered(path)
    for _ in range(3):
        assert bench.lane.turn() == 0.0
        bench.clock.pass_by(FILL_EVERY / 2)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [2 * len(DATASETS)], "two are not looked at yet"


def test_ruling_19_what_cannot_be_carried_does_not_keep_the_others_back(make: Make) -> None:
    sessions, travelled = failed_together_and_alone(make, "EXPIRED", 60.0)
    assert sessions == [True, True, True]
    assert travelled == [{"001", "002", "003"}, {"001"}, {"002"}, {"003"}, {"001"}], "who failed alone goes last"


def test_ruling_19_what_may_not_be_carried_does_not_keep_the_others_back(make: Make) -> None:
    sessions, travelled = failed_together_and_alone(make, "PERMISSION_DENIED", PATIENCE)
    assert sessions == [False, True, True], "who is denied alone waits for a person"
    assert travelled == [{"001", "002", "003"}, {"001"}, {"002"}, {"003"}]


def failed_together_and_alone(make: Make, code: str, pause: float) -> tuple[list[bool], list[set[str]]]:
    """Let a task of three sessions fail, and the next one; return which were archived, and who went with whom."""
    bench = make(LABFERRY_GLOBUS__MAX_ACTIVE="1")
    bench.fault(action="task", becomes="FAILED", code=code, times=2)
    sessions = [bench.registered(path)[1] for path in paths(3)]
    for _ in range(12):
        bench.work()
        bench.wait_for_mover()
        bench.clock.pass_by(pause)
    archived = [bench.is_archived(session) for session in sessions]
    return archived, [{item["source_path"].split("/")[-3] for item in post["body"]["DATA"]} for post in bench.posts()]


def test_ruling_19_small_sessions_do_not_wait_for_a_giant_one(bench: GlobusBench, monkeypatch: Any) -> None:
    monkeypatch.setattr("labferry.engine.globus.batches.BATCH_BYTES", 10_000)
    _, giant = bench.registered(paths(1)[0], {**DATASETS, WHEEL: b"x" * 50_000})
    small = [bench.registered(path)[1] for path in paths(4)[1:]]
    bench.rest()
    first, second = bench.posts()
    assert (len(first["body"]["DATA"]), len(second["body"]["DATA"])) == (9, 3)
    assert all(PATH in item["source_path"] for item in second["body"]["DATA"])
    assert all(bench.is_archived(session) for session in (giant, *small))


def test_a_session_with_more_files_than_a_task_may_have_gets_several(make: Make) -> None:
    bench = make(LABFERRY_GLOBUS__MAX_ITEMS="2", LABFERRY_GLOBUS__MAX_ACTIVE="1")
    _, session = bench.registered()
    bench.work()
    assert bench.archive_job(session).code == "in_batch", "a part of it is on its way, the rest waits"
    bench.rest()
    assert bench.is_archived(session)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [2, 1]
    destinations = [item["destination_path"] for post in bench.posts() for item in post["body"]["DATA"]]
    assert len(set(destinations)) == len(DATASETS)
    assert bench.marked(session) == ALL_MARKED


SECOND = {
    'archive = ["server"]': 'archive = ["server", "second"]',
    "[globus]": f'[archive.second]\nkind = "globus"\nendpoint = "{SERVER_ENDPOINT}"\npath = "/second"\n'
    'naming = "plain"\nrepository = ""\n\n[globus]',
}


def test_map_03_the_limit_of_open_tasks_holds_over_all_targets(make: Make) -> None:
    bench = make(config=SECOND, LABFERRY_GLOBUS__MAX_ACTIVE="1")
    rule = bench.fault(action="task", becomes="STALLED", times=None)
    folder, session = bench.write()
    bench.journal.sessions.unsettle(session.id, "for both targets")
    signature = b"second"
    bench.journal.sessions.complete(session.id, signature, register=True, targets=["server", "second"])
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL, Stage.SEAL):
        bench.step(stage)
    bench.work("server")
    pause = bench.work("second")
    assert pause > 0
    assert len(bench.tasks()) == 1
    assert bench.archive_job(session, "second").code == "in_batch"
    bench.sandbox.faults.remove(rule)
    for target in ("server", "second"):
        bench.wait_for_end()
        bench.rest(target)
    assert bench.is_archived(session, "server")
    assert bench.is_archived(session, "second")
    assert set(bench.archived(f"second/{PATH}")) >= set(DATASETS)
    assert len(bench.tasks()) == 2
    assert folder.exists()


def test_a_task_that_stands_still_is_a_health_condition(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="STALLED", code="GC_NOT_CONNECTED", description="the laptop sleeps")
    bench.submitted()
    bench.wait_for_mover()
    bench.look()
    found = [one.code for one in current_conditions(bench.context, bench.live)]
    assert "transfer_stalled" not in found
    bench.clock.pass_by(bench.context.config.globus.stall_after)
    bench.look()
    (stalled,) = [one for one in current_conditions(bench.context, bench.live) if one.code == "transfer_stalled"]
    assert bench.tasks()[0]["task_id"] in stalled.text
    assert "GC_NOT_CONNECTED" in stalled.text
    assert json.dumps(stalled.severity) == '"error"'
