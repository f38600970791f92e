"""The Globus archive when Globus, a collection or our login has trouble: named, survived, healed without help."""

from __future__ import annotations

import httpx
import pytest

from labferry.engine.dependencies import Health
from labferry.engine.globus.batches import items_to_carry
from labferry.engine.globus.endings import PATIENCE
from labferry.engine.globus.filling import CONFLICT_WAIT
from labferry.errors import UnavailableError
from labferry.model import JobState
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.globus import DATASETS, PATH, POLL, SECOND, WHEEL, GlobusBench, Make, while_held
from support.trouble import Logs, dependency, explained, pass_time, require_archived, said

DAY = 86_400.0

# --- our login -----------------------------------------------------------------------------------------------------


def test_map_08_a_wrong_secret_is_named_and_heals_with_the_file(bench: GlobusBench, logs: Logs) -> None:
    secret = bench.sandbox.client_secret_file
    right = secret.read_text()
    secret.write_text("wrong\n")
    _, session = bench.registered()
    bench.registered(SECOND)
    pass_time(bench, 1800.0)
    assert dependency(bench).state is Health.NEEDS_LOGIN
    assert explained(bench, session) == ("waiting_dependency", "globus_login")
    assert len(said(logs, "dependency_down")) == 1
    assert bench.count("oauth2/token") < 50, "asked again about once a minute"
    assert not any("wrong" in str(record) or right.strip() in str(record) for record in logs)
    secret.write_text(right)
    require_archived(bench, session)
    assert len(said(logs, "dependency_down")) == len(said(logs, "dependency_up")) == 1


def test_map_08_a_missing_secret_file_is_named(bench: GlobusBench) -> None:
    secret = bench.sandbox.client_secret_file
    right = secret.read_text()
    secret.unlink()
    _, session = bench.registered()
    bench.work()
    assert dependency(bench).state is Health.NEEDS_LOGIN
    assert f"{secret} is not there" in dependency(bench).detail
    secret.write_text(right)
    require_archived(bench, session)


def test_map_08_a_token_that_is_not_known_any_more_is_renewed_at_once(bench: GlobusBench, logs: Logs) -> None:
    body = {"code": "AuthenticationFailed", "message": "Token is not active"}
    for match in ("/ls?", "POST /v0.10/transfer", "task_list"):
        bench.fault(match=match, action="status", status=401, body=body)
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    assert bench.count("oauth2/token") == 1 + 3
    assert said(logs, "dependency_down") == []


def test_map_08_a_missing_consent_is_asked_for(bench: GlobusBench, logs: Logs) -> None:
    scope = f"urn:globus:auth:scope:transfer.api.globus.org:all[*https://auth.globus.org/scopes/{SERVER_ENDPOINT}/data]"
    body = {"code": "ConsentRequired", "message": "Missing required data_access consent", "required_scopes": [scope]}
    bench.fault(match="/ls?", action="status", status=403, body=body)
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    grants = bench.requests("POST", "/v2/oauth2/token")
    assert len(grants) == 2
    assert SERVER_ENDPOINT in grants[1]["body"]["scope"]
    assert said(logs, "dependency_down") == []


# --- the service ---------------------------------------------------------------------------------------------------


def test_win_03_globus_down_is_one_state_and_burns_nothing(bench: GlobusBench, logs: Logs) -> None:
    bench.fault(match="/v0.10/", action="status", status=503, times=None)
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    pass_time(bench, 3600.0)
    assert dependency(bench).state is Health.DOWN
    assert len(said(logs, "dependency_down")) == 1
    assert bench.count("/v0.10/") < 100
    bench.heal()
    for session in sessions:
        require_archived(bench, session)
    assert len(bench.tasks()) == 1


def test_win_03_globus_down_while_tasks_are_open_is_survived(bench: GlobusBench, logs: Logs) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.fault(match="/v0.10/", action="drop", times=None)
    pass_time(bench, 3600.0)
    assert (dependency(bench).state, len(said(logs, "dependency_down"))) == (Health.DOWN, 1)
    assert explained(bench, session) == ("waiting_dependency", "globus_down")
    bench.heal()
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


@pytest.mark.parametrize(("status", "code"), [(429, "globus_throttled"), (503, "globus_down")])
def test_a_request_to_slow_down_is_obeyed(bench: GlobusBench, logs: Logs, status: int, code: str) -> None:
    bench.fault(match="POST /v0.10/transfer", action="status", status=status, headers={"Retry-After": "600"})
    _, session = bench.registered()
    bench.work()
    assert dependency(bench).code == code
    asked = bench.count("/v0.10/")
    pass_time(bench, 540.0)
    assert bench.count("/v0.10/") == asked, "600 s are 600 s"
    require_archived(bench, session)
    assert len({post["body"]["submission_id"] for post in bench.posts()}) == 1


def test_too_many_pending_tasks_hold_up_new_ones_only(make: Make, logs: Logs) -> None:
    bench = make(LABFERRY_GLOBUS__MAX_ACTIVE="2")
    _, first = bench.submitted(PATH)
    body = {"code": "ClientError.Conflict.TooManyPendingJobs", "message": "You already have 100 pending jobs"}
    rule = bench.fault(match="POST /v0.10/transfer", action="status", status=409, body=body, times=None)
    _, second = bench.registered(SECOND)
    bench.wait_for_mover()
    pass_time(bench, 3600.0)
    assert bench.is_archived(first), "a task that is there is looked at all the same"
    assert explained(bench, second) == ("waiting_dependency", "globus_busy")
    assert dependency(bench).state is Health.UP
    assert len(said(logs, "transfer_put_off")) == 1
    assert 30 < bench.sandbox.faults.list()[0]["hits"] <= 61
    bench.sandbox.faults.remove(rule)
    require_archived(bench, second)
    assert len(bench.tasks()) == 2


def test_an_answer_that_makes_no_sense_is_an_outage_and_no_fault_of_ours(bench: GlobusBench, logs: Logs) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    body = {"code": "ClientError.BadRequest.Nonsense", "message": "not today"}
    bench.fault(match="task_list", action="status", status=400, body=body, times=None)
    pass_time(bench, 1800.0)
    assert (dependency(bench).state, dependency(bench).code) == (Health.DOWN, "globus_down")
    assert "not today" in dependency(bench).detail
    assert len(said(logs, "dependency_down")) == 1
    bench.heal()
    require_archived(bench, session)


def test_a_transfer_that_is_refused_is_blocked_with_the_words_of_globus(bench: GlobusBench) -> None:
    body = {"code": "ClientError.BadRequest.Strange", "message": "we do not like it"}
    bench.fault(match="POST /v0.10/transfer", action="status", status=400, body=body, times=3)
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    bench.work()
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [6, 3, 3], "each one alone, to know whose it is"
    for session in sessions:
        job = bench.archive_job(session)
        assert (job.state, job.code) == (JobState.BLOCKED, "transfer_refused")
        assert "we do not like it" in job.reason
        assert bench.journal.jobs.revive(job.id)
    bench.rest()
    assert all(bench.is_archived(session) for session in sessions)


def test_the_journal_cannot_be_written_is_left_to_the_lane_and_costs_no_processor(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.clock.pass_by(POLL)
    writer = bench.journal._db._writer
    writer.execute("PRAGMA query_only = ON")  # what a full disk looks like
    with pytest.raises(UnavailableError) as caught:
        bench.lane.turn()
    assert caught.value.dependency == "journal"
    writer.execute("PRAGMA query_only = OFF")
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


# --- the collections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"becomes": "FAILED", "code": "QUOTA_EXCEEDED"}, "target_full"),
        ({"becomes": "FAILED", "code": "NO_SPACE_LEFT"}, "target_full"),
    ],
)
def test_a_task_that_failed_because_of_the_target_waits_for_it(
    bench: GlobusBench, logs: Logs, fault: dict[str, str], code: str
) -> None:
    rule = bench.fault(action="task", times=None, description="ask the centre", **fault)
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    bench.work()
    bench.wait_for_mover()
    bench.look()
    assert (dependency(bench, "archive:server").state, dependency(bench, "archive:server").code) == (Health.DOWN, code)
    assert "ask the centre" in dependency(bench, "archive:server").detail
    assert dependency(bench).state is Health.UP
    assert explained(bench, sessions[0]) == ("waiting_dependency", code)
    pass_time(bench, 6 * PATIENCE)
    bench.wait_for_mover()
    assert 3 <= len(bench.tasks()) <= 7, "one more now and then, to see whether it is better"
    assert len(said(logs, "dependency_down")) == 1
    bench.sandbox.faults.remove(rule)
    bench.context.dependencies.hurry()  # as `labferry retry` does
    bench.work()
    assert len(bench.posts()[-1]["body"]["DATA"]) == len(DATASETS) * 2, "together"
    for session in sessions:
        require_archived(bench, session)


def test_map_03_a_file_that_may_not_be_read_ends_its_own_session_and_not_the_target(bench: GlobusBench) -> None:
    """The target can be used as far as anybody can see: what fails each time is the file."""
    rule = bench.fault(action="task", times=None, description="/f: denied", becomes="FAILED", code="PERMISSION_DENIED")
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    bench.rest()
    for session in sessions:
        job = bench.archive_job(session)
        assert (job.state, job.code) == (JobState.BLOCKED, "transfer_denied")
        assert "/f: denied" in job.reason
    assert dependency(bench, "archive:server").state is not Health.DOWN
    pass_time(bench, 6 * PATIENCE)
    assert len(bench.tasks()) == 3, "together, then each alone, and never again as it is"
    bench.sandbox.faults.remove(rule)
    for session in sessions:
        assert bench.journal.jobs.revive(bench.archive_job(session).id)
        require_archived(bench, session)


def test_a_permission_that_the_target_lacks_keeps_it_down_and_blames_no_session(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", times=None, becomes="FAILED", code="PERMISSION_DENIED")
    _, session = bench.submitted()
    away = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="denied")
    bench.wait_for_mover()
    bench.look()
    down = dependency(bench, "archive:server")
    assert (down.state, down.code) == (Health.DOWN, "collection_denied")
    assert explained(bench, session) == ("waiting_dependency", "collection_denied")
    bench.sandbox.faults.remove(rule)
    bench.sandbox.faults.remove(away)
    pass_time(bench, 2 * PATIENCE)
    require_archived(bench, session)


def test_a_target_that_is_really_full_is_target_full(bench: GlobusBench) -> None:
    rule = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="full")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    assert dependency(bench, "archive:server").code == "target_full"
    bench.sandbox.faults.remove(rule)
    pass_time(bench, PATIENCE + 60.0)
    require_archived(bench, session)


@pytest.mark.parametrize("condition", ["offline", "denied"])
def test_a_collection_that_is_away_is_noticed_before_anything_is_made(
    bench: GlobusBench, logs: Logs, condition: str
) -> None:
    rule = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes=condition)
    _, session = bench.registered()
    pass_time(bench, 3600.0)
    assert dependency(bench, "archive:server").state is Health.DOWN
    assert dependency(bench).state is not Health.DOWN
    assert bench.posts() == []
    assert len(said(logs, "dependency_down")) == 1
    bench.sandbox.faults.remove(rule)
    require_archived(bench, session)


def test_a_collection_that_refuses_transfers_disturbs_its_sessions_only_once(bench: GlobusBench, logs: Logs) -> None:
    body = {"code": "PermissionDenied", "message": "No effective ACL rules on the endpoint"}
    denied = {"action": "status", "status": 403, "body": body, "times": None}
    _, session = bench.registered()
    bench.fault(match="POST /v0.10/transfer", **denied)
    bench.work()
    bench.fault(match="/ls?", **denied)
    assert dependency(bench, "archive:server").code == "collection_denied"
    attempts = bench.archive_job(session).attempts
    pass_time(bench, 3600.0)
    assert len(bench.posts()) <= 7, "one more now and then"
    assert bench.archive_job(session).attempts <= attempts + 2
    assert len(said(logs, "dependency_down")) == 1
    bench.heal()
    require_archived(bench, session)


def test_the_source_collection_is_away_and_its_task_waits(bench: GlobusBench) -> None:
    bench.registered(SECOND)
    bench.rest()
    rule = bench.fault(action="collection", match=LOCAL_ENDPOINT, becomes="offline")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    ((fault, text),) = bench.ask("SELECT fault, fault_text FROM task WHERE ended_at IS NULL")
    assert (fault, bool(text)) == ("GC_NOT_CONNECTED", True)
    assert bench.archive_job(session).code == "in_flight"
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    assert len(bench.tasks()) == 2


# --- a task --------------------------------------------------------------------------------------------------------


def test_map_08_a_suspended_task_needs_a_login_and_goes_on_by_itself(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(action="task", becomes="INACTIVE")
    _, session = bench.submitted()
    _, other = bench.registered(SECOND)
    bench.wait_for_mover()
    pass_time(bench, 3600.0)
    assert dependency(bench, "archive:server").state is Health.NEEDS_LOGIN
    assert bench.tasks()[0]["task_id"] in dependency(bench, "archive:server").detail
    assert explained(bench, session) == ("waiting_dependency", "globus_login")
    assert dependency(bench).state is Health.UP, "other archives go on"
    assert len(said(logs, "dependency_down")) == 1
    assert said(logs, "dependency_up") == []
    assert len(bench.tasks()) == 1, "neither again, nor another one that would be suspended too"
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    require_archived(bench, other)
    assert len(bench.tasks()) == 2
    assert len(said(logs, "dependency_up")) == 1


def test_a_paused_task_is_waited_for(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", becomes="PAUSED", description="maintenance until Monday")
    _, session = bench.submitted()
    bench.wait_for_mover()
    pass_time(bench, 3600.0)
    assert bench.ask("SELECT fault, state FROM task") == [("PAUSED", "active")]
    assert bench.archive_job(session).code == "in_flight"
    assert dependency(bench, "archive:server").state is not Health.DOWN
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


def test_a_task_that_expired_is_made_again(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="FAILED", code="EXPIRED", description="the deadline has passed")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.look()
    assert "EXPIRED" in bench.archive_job(session).reason
    require_archived(bench, session, retries=1)


def test_a_task_that_somebody_cancelled_asks_a_person(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", becomes="STALLED")
    _, session = bench.submitted()
    bench.wait_for_mover()
    cancel(bench, bench.tasks()[0]["task_id"])
    bench.look()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "transfer_cancelled")
    pass_time(bench, DAY, 3600.0)
    assert len(bench.tasks()) == 1
    bench.sandbox.faults.remove(rule)
    assert bench.journal.jobs.revive(job.id)
    require_archived(bench, session)


def login(bench: GlobusBench) -> dict[str, str]:
    """Log in to Globus as the application, beside the daemon; return the headers of requests."""
    secret = bench.sandbox.client_secret_file.read_text().strip()
    form = {"grant_type": "client_credentials", "scope": "urn:globus:auth:scope:transfer.api.globus.org:all"}
    url = f"{bench.sandbox.globus_auth_url}/v2/oauth2/token"
    grant = httpx.post(url, data=form, auth=(bench.sandbox.client_id, secret)).json()
    return {"Authorization": f"Bearer {grant['access_token']}"}


def cancel(bench: GlobusBench, task: str) -> None:
    """Cancel a task as its owner can at Globus."""
    url = f"{bench.sandbox.globus_transfer_url}/v0.10/task/{task}/cancel"
    httpx.post(url, headers=login(bench)).raise_for_status()


def test_what_a_job_must_hear_survives_a_kill(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="FAILED", code="CANCELED")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.clock.pass_by(POLL)
    bench.lane.turn()  # the poll
    job = bench.journal.jobs.claim(bench.archive_job(session).stage, "server")
    assert job is not None
    with pytest.raises(Exception, match="CANCELED"):
        bench.archives["server"](job, lambda _what, _seconds: None)
    bench.restart()
    bench.work()
    assert bench.archive_job(session).code == "transfer_cancelled"
    assert len(bench.posts()) == 1


def test_a_file_that_is_gone_ends_the_task_for_the_sake_of_the_others(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(action="task", becomes="STALLED")
    folder, session = bench.registered(PATH)
    _, other = bench.registered(SECOND)
    bench.work()
    bench.wait_for_mover()
    (folder / WHEEL).unlink()
    bench.sandbox.faults.remove(rule)
    faults = "FILE_NOT_FOUND"
    bench.wait_until_fault(faults)
    bench.look()
    assert bench.count("/cancel") == 1
    assert [record["code"] for record in said(logs, "transfer_cancelled")] == [faults]
    bench.rest()
    assert bench.is_archived(other)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert (row.complete_at, row.wait_code) == (None, "changed")
    assert [task["fatal_error"] for task in bench.tasks()] == ["CANCELED", None]


def test_a_cancellation_of_ours_survives_a_kill(bench: GlobusBench) -> None:
    rule = bench.fault(action="task", becomes="STALLED")
    folder, session = bench.registered(PATH)
    _, other = bench.registered(SECOND)
    bench.work()
    bench.wait_for_mover()
    (folder / WHEEL).unlink()
    bench.sandbox.faults.remove(rule)
    bench.wait_until_fault("FILE_NOT_FOUND")
    bench.fault(match="/cancel", action="drop")
    bench.look()
    bench.restart()
    bench.clock.pass_by(900.0)
    bench.rest()
    assert bench.is_archived(other)
    assert bench.archive_job(session).code == "changed", "nobody takes it for somebody else's cancellation"


@pytest.mark.parametrize("age", [60.0, 3600.0])
def test_a_task_of_today_that_a_list_lacks_is_not_sent_again(bench: GlobusBench, age: float) -> None:
    rule = bench.fault(match="task_list", action="status", status=200, body={"DATA": []}, times=None)
    _, session = bench.submitted()
    bench.wait_for_mover()
    pass_time(bench, age)
    assert len(bench.posts()) == 1
    bench.sandbox.faults.remove(rule)
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


def test_a_task_that_globus_has_forgotten_is_made_again(bench: GlobusBench) -> None:
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.sandbox._globus.forget()
    bench.end_life()
    bench.clock.pass_by(40 * DAY)
    bench.open()
    require_archived(bench, session)
    assert [task["files_skipped"] for task in bench.tasks()] == [len(DATASETS)], "nothing is copied twice"


# --- conflicts -----------------------------------------------------------------------------------------------------


def submit_foreign(bench: GlobusBench, label: str) -> None:
    """Submit what the lane is about to submit, as somebody else."""
    (task,) = bench.journal.tasks.open("server")
    url, headers = bench.sandbox.globus_transfer_url, login(bench)
    body = {
        "DATA_TYPE": "transfer",
        "submission_id": httpx.get(f"{url}/v0.10/submission_id", headers=headers).json()["value"],
        "label": label,
        "source_endpoint": LOCAL_ENDPOINT,
        "destination_endpoint": SERVER_ENDPOINT,
        "DATA": [
            {"DATA_TYPE": "transfer_item", "source_path": one.source, "destination_path": one.destination}
            for one in items_to_carry(bench.journal.tasks.cargo(task.id))
        ],
    }
    httpx.post(f"{url}/v0.10/transfer", headers=headers, json=body).raise_for_status()


def test_a_conflict_with_our_own_task_is_found_by_its_label(bench: GlobusBench) -> None:
    bench.fault(action="task", becomes="STALLED")
    _, session = bench.registered()
    with while_held(bench, "POST /v0.10/transfer"):
        submit_foreign(bench, bench.journal.tasks.open("server")[0].label)
    assert len(bench.tasks()) == 1
    assert bench.ask("SELECT globus_id FROM task") == [(bench.tasks()[0]["task_id"],)]
    bench.heal()
    bench.wait_for_end()
    require_archived(bench, session)


def test_a_conflict_with_a_foreign_task_is_waited_out(bench: GlobusBench, logs: Logs) -> None:
    bench.fault(action="task", becomes="STALLED")
    _, session = bench.registered()
    with while_held(bench, "POST /v0.10/transfer"):
        submit_foreign(bench, "by somebody else")
    assert explained(bench, session) == ("waiting_dependency", "transfer_conflict")
    pass_time(bench, 4 * CONFLICT_WAIT)
    assert len(bench.tasks()) == 1
    assert 4 <= len(bench.posts()) <= 7
    assert len(said(logs, "transfer_put_off")) == 1
    assert dependency(bench).state is Health.UP
    bench.heal()
    bench.wait_for_end()
    pass_time(bench, CONFLICT_WAIT)
    require_archived(bench, session)
    assert [task["files_skipped"] for task in bench.tasks()] == [0, len(DATASETS)]
    assert len({post["body"]["submission_id"] for post in bench.posts()}) == 2


def test_a_conflict_takes_no_place_from_others(make: Make) -> None:
    bench = make(LABFERRY_GLOBUS__MAX_ACTIVE="1")
    rule = bench.fault(action="task", becomes="STALLED", match="somebody else")
    _, session = bench.registered()
    with while_held(bench, "POST /v0.10/transfer"):
        submit_foreign(bench, "by somebody else")
    _, other = bench.registered(SECOND)
    bench.work()
    bench.wait_for_mover()
    bench.look()
    assert bench.is_archived(other)
    bench.sandbox.faults.remove(rule)
    bench.wait_for_end()
    pass_time(bench, CONFLICT_WAIT + 60.0)
    require_archived(bench, session)
