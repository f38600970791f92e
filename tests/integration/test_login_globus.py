"""A person's login to Globus, from the lane's side and from the operator's: needed, given, lost, given again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import globus_sdk
import httpx
import pytest
from globus_sdk.transport import RetryConfig

from labferry.archive.globus.tokens import TokenStore
from labferry.engine import operations
from labferry.engine.dependencies import Health
from labferry.engine.reports import globus_login
from labferry.engine.reports.status import current_conditions
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import JobState
from labferry.sandbox.globus.auth import CLIENT_ID, NATIVE_CLIENT_ID
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from labferry.service.assembly import globus_access
from support.browser import PERSON, asked_for, click
from support.globus import SECOND, GlobusBench, Make
from support.trouble import Logs, dependency, explained, pass_time

GRANTS = "oauth2/token"
ADA, BEN = "ada@lab.example", "ben@lab.example"


@pytest.fixture
def bench(make: Make) -> GlobusBench:
    return make(**PERSON)


def log_in(bench: GlobusBench, *, replace: bool = False, **more: str) -> dict[str, Any]:
    """Log in as an operator does who asks the daemon."""
    begun = operations.begin_login(bench.context, replace=replace)
    assert begun["state"] == "started"
    return operations.finish_login(bench.context, click(begun["url"], **more))


def log_in_elsewhere(bench: GlobusBench) -> None:
    """Log in with another process' means: only the store is shared."""
    access = globus_access(bench.context.config, bench.clock)
    begun = globus_login.started(access, replace=False)
    assert globus_login.finished(access, click(begun["url"]))["state"] == "ok"


def revoke_everything(bench: GlobusBench) -> None:
    """Do what a person does who rescinds the consents of the application."""
    answer = httpx.post(f"{bench.sandbox.alyx_url}/_sandbox/state", json={"globus": {"revoke": "all"}})
    answer.raise_for_status()


def alerts(logs: Logs) -> list[str]:
    return [record["dependency"] for record in logs if record["event"] == "dependency_down"]


def store(bench: GlobusBench) -> TokenStore:
    return TokenStore(bench.context.config.state_dir)


def require_archived(bench: GlobusBench, session: SessionRow) -> None:
    """Require that a session is archived by now, as long as its job may wait, and that no attempt was burned."""
    pass_time(bench, bench.context.config.worker.backoff_max)
    bench.rest()
    job = bench.archive_job(session)
    assert job.state is JobState.DONE, job
    assert job.failures == 0


# --- nobody is logged in ------------------------------------------------------------------------------------


def test_map_08_without_a_login_there_is_one_alert_and_nothing_is_tried(bench: GlobusBench, logs: Logs) -> None:
    sessions = [bench.registered()[1], bench.registered(SECOND)[1]]
    attempts = [bench.archive_job(one).attempts for one in sessions]
    pass_time(bench, 3600.0)
    assert dependency(bench).state is Health.NEEDS_LOGIN
    assert "nobody is logged in" in dependency(bench).detail
    assert alerts(logs) == ["globus"]
    (line,) = [record for record in logs if record["event"] == "dependency_down"]
    assert "`labferry login globus`" in line["hint"]
    assert [bench.archive_job(one).attempts for one in sessions] == attempts
    assert [explained(bench, one) for one in sessions] == [("waiting_dependency", "globus_login")] * 2
    (condition,) = [one for one in current_conditions(bench.context, bench.live) if one.code == "dependency_login"]
    assert "`labferry login globus`" in condition.text
    assert bench.count("/v2/") + bench.count("/v0.10/") == 0, "nobody is bothered"


def test_map_08_a_login_is_used_at_once(bench: GlobusBench, logs: Logs) -> None:
    _, session = bench.registered()
    pass_time(bench, 600.0)
    found = log_in(bench)
    assert (found["state"], found["user"], found["mode"]) == ("ok", ADA, "person")
    assert [one["state"] for one in found["collections"]] == ["ok", "ok"]
    assert dependency(bench).state is Health.UP
    bench.work()
    assert len(bench.tasks()) == 1, "no time had to pass"
    require_archived(bench, session)
    assert len(alerts(logs)) == 1


def test_map_08_a_login_of_another_process_heals_without_a_restart(bench: GlobusBench, logs: Logs) -> None:
    _, session = bench.registered()
    pass_time(bench, 600.0)
    log_in_elsewhere(bench)
    bench.work()
    assert len(bench.tasks()) == 1, "the lane looks at the store at every turn"
    require_archived(bench, session)
    assert alerts(logs) == ["globus"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"client_id": "x"', b"\xff"])
def test_map_08_a_store_that_is_damaged_is_a_login_that_is_needed(bench: GlobusBench, content: bytes) -> None:
    log_in(bench)
    Path(store(bench).path).write_bytes(content)
    _, session = bench.registered()
    pass_time(bench, 120.0)
    assert explained(bench, session) == ("waiting_dependency", "globus_login")
    assert "tokens.json" in dependency(bench).detail
    log_in(bench)
    require_archived(bench, session)


def test_map_08_a_login_to_another_application_is_none(bench: GlobusBench) -> None:
    log_in(bench)
    kept = store(bench).read()
    text = Path(store(bench).path).read_text()
    Path(store(bench).path).write_text(text.replace(kept.client_id, CLIENT_ID))
    bench.work()
    assert f"{ADA} is logged in to another application than {NATIVE_CLIENT_ID}" in dependency(bench).detail


# --- a login that dies --------------------------------------------------------------------------------------


def test_map_08_a_revoked_token_is_one_alert_and_no_submission(bench: GlobusBench, logs: Logs) -> None:
    log_in(bench)
    _, first = bench.registered()
    require_archived(bench, first)
    revoke_everything(bench)
    grants, submissions = bench.count(GRANTS), bench.count("POST /v0.10/transfer")
    _, second = bench.registered(SECOND)
    attempts = bench.archive_job(second).attempts
    pass_time(bench, 1800.0)
    assert dependency(bench).state is Health.NEEDS_LOGIN
    assert "invalid_grant" in dependency(bench).detail
    assert ADA in dependency(bench).detail
    assert alerts(logs) == ["globus"]
    assert bench.count(GRANTS) == grants + 1, "a token that was refused is not offered again and again"
    assert bench.count("POST /v0.10/transfer") == submissions
    job = bench.archive_job(second)
    assert (job.attempts, job.failures) == (attempts + 1, 0), "only the one that met it"
    assert explained(bench, second) == ("waiting_dependency", "globus_login")
    log_in_elsewhere(bench)
    require_archived(bench, second)
    assert alerts(logs) == ["globus"]


def test_map_08_a_task_under_way_goes_on_after_a_new_login(bench: GlobusBench, logs: Logs) -> None:
    log_in(bench)
    rule = bench.fault(action="task", becomes="STALLED")
    _, session = bench.submitted()
    revoke_everything(bench)
    pass_time(bench, 1800.0)
    assert alerts(logs) == ["globus"]
    bench.sandbox.faults.remove(rule)
    log_in_elsewhere(bench)
    require_archived(bench, session)
    assert len(bench.tasks()) == 1


def test_map_08_an_outage_of_auth_is_no_login_that_is_needed(bench: GlobusBench) -> None:
    log_in(bench)
    bench.restart()
    rule = bench.fault(match=GRANTS, action="status", status=503, times=None)
    _, session = bench.registered()
    pass_time(bench, 600.0)
    assert (dependency(bench).state, dependency(bench).code) == (Health.DOWN, "globus_down")
    bench.sandbox.faults.remove(rule)
    require_archived(bench, session)


# --- refresh tokens that are replaced -----------------------------------------------------------------------


def test_map_08_a_new_refresh_token_is_kept_before_it_is_used(bench: GlobusBench) -> None:
    log_in(bench)
    first = store(bench).read().refresh_token
    bench.restart()
    rule = bench.fault(match="/v0.10/", action="drop", times=None)
    bench.registered()
    bench.work()
    second = store(bench).read().refresh_token
    assert second != first, "it is there although nothing was done with it yet"
    bench.sandbox.faults.remove(rule)
    for number in (2, 3):
        _, session = bench.registered(f"KS005/2026-03-02/00{number}")
        bench.restart()
        require_archived(bench, session)
    assert store(bench).read().refresh_token not in {first, second}


def test_map_08_an_answer_that_is_lost_costs_no_login(bench: GlobusBench) -> None:
    log_in(bench)
    bench.restart()
    bench.fault(match=GRANTS, action="drop", when="after")
    _, session = bench.registered()
    require_archived(bench, session)


def test_map_08_what_cannot_be_kept_is_not_used(bench: GlobusBench, logs: Logs) -> None:
    log_in(bench)
    _, session = bench.registered()
    bench.restart()
    folder = store(bench).folder
    os.rename(folder, f"{folder}.aside")
    os.symlink(f"{folder}.aside", folder)  # can be read, and is not written to
    asked = bench.count("/v0.10/")
    pass_time(bench, 600.0)
    assert (dependency(bench).state, dependency(bench).code) == (Health.DOWN, "globus_tokens")
    assert (bench.count("/v0.10/"), alerts(logs)) == (asked, ["globus"])
    os.unlink(folder)
    os.rename(f"{folder}.aside", folder)
    require_archived(bench, session)
    assert bench.archive_job(session).failures == 0


# --- collections that want more -----------------------------------------------------------------------------


def test_map_08_a_mapped_collection_gets_its_consent_in_a_second_step(bench: GlobusBench, logs: Logs) -> None:
    rule = bench.fault(match=SERVER_ENDPOINT, action="admission", becomes="data_access")
    found = log_in(bench)
    assert (found["state"], found["code"]) == ("needs_consent", "globus_login")
    assert [one["needs_consent"] for one in found["collections"]] == [False, True]
    _, session = bench.registered()
    pass_time(bench, 1800.0)
    assert dependency(bench, "archive:server").state is Health.NEEDS_LOGIN
    assert SERVER_ENDPOINT in dependency(bench, "archive:server").detail
    assert (alerts(logs), bench.tasks()) == (["archive:server"], [])
    assert explained(bench, session) == ("waiting_dependency", "globus_login")
    begun = operations.begin_login(bench.context, replace=False)
    scope = asked_for(begun["url"])["scope"]
    assert f"[*https://auth.globus.org/scopes/{SERVER_ENDPOINT}/data_access]" in scope
    assert LOCAL_ENDPOINT not in scope, "a consent that a collection does not know makes the login fail"
    assert operations.finish_login(bench.context, click(begun["url"]))["state"] == "ok"
    bench.work()
    assert len(bench.tasks()) == 1, "what waits is due at once"
    require_archived(bench, session)
    assert alerts(logs) == ["archive:server"]
    assert bench.sandbox.faults.has(rule)


def test_map_08_an_old_login_is_renewed_where_a_collection_wants_a_new_one(bench: GlobusBench, logs: Logs) -> None:
    log_in(bench)
    _, first = bench.registered()
    require_archived(bench, first)
    bench.fault(match=SERVER_ENDPOINT, action="admission", becomes="session")
    _, second = bench.registered(SECOND)
    pass_time(bench, 1800.0)
    assert dependency(bench, "archive:server").state is Health.NEEDS_LOGIN
    assert alerts(logs) == ["archive:server"]
    assert len(bench.tasks()) == 1
    found = operations.log_in(bench.context, "globus")
    assert (found["state"], found["collections"][1]["code"]) == ("needs_login", "globus_login")
    assert log_in(bench)["state"] == "ok"
    require_archived(bench, second)


def test_map_08_a_policy_that_a_submission_names_goes_into_the_address(bench: GlobusBench, logs: Logs) -> None:
    log_in(bench)
    _, session = bench.registered()
    wanted = {"session_required_single_domain": ["lab.example"], "session_message": "log in anew"}
    body = {"code": "AuthorizationRequired", "message": "no", "authorization_parameters": wanted}
    rule = bench.fault(match="POST /v0.10/transfer", action="status", status=403, body=body, times=None)
    pass_time(bench, 1800.0)
    assert dependency(bench, "archive:server").state is Health.NEEDS_LOGIN
    assert "log in anew" in dependency(bench, "archive:server").detail
    assert alerts(logs) == ["archive:server"]
    assert asked_for(operations.begin_login(bench.context, replace=False)["url"])["session_required_single_domain"]
    bench.sandbox.faults.remove(rule)
    require_archived(bench, session)


# --- another person -----------------------------------------------------------------------------------------


def refused_by_auth(bench: GlobusBench, refresh_token: str) -> bool:
    """Tell whether a refresh token is of no use any more."""
    app = globus_sdk.NativeAppAuthClient(
        NATIVE_CLIENT_ID, base_url=bench.sandbox.globus_auth_url, retry_config=RetryConfig(max_retries=0)
    )
    try:
        app.oauth2_refresh_token(refresh_token)
    except globus_sdk.AuthAPIError as error:
        return "invalid_grant" in str(error.raw_json)
    return False


def test_map_08_another_person_is_refused_unless_it_is_said(bench: GlobusBench) -> None:
    log_in(bench)
    kept = store(bench).read()
    found = log_in(bench, _as=BEN)
    assert (found["state"], found["code"]) == ("other_identity", "globus_other_identity")
    assert ADA in found["message"]
    assert BEN in found["message"]
    assert store(bench).read() == kept
    assert bench.count("oauth2/token/revoke") >= 4, "what was just given out is of no use to anybody"
    found = log_in(bench, replace=True, _as=BEN)
    assert (found["state"], found["user"]) == ("ok", BEN)
    assert refused_by_auth(bench, kept.refresh_token), "nor is the old login"


def test_map_08_tokens_of_somebody_who_was_refused_are_revoked(bench: GlobusBench) -> None:
    log_in(bench)
    bench.fault(match="oauth2/token", action="delay", seconds=0.0, times=None)
    log_in(bench, _as=BEN)
    ben = "c27b95e4-6d0a-4c8f-b3f1-5b9e7d80a4f2"
    with bench.sandbox._globus._store.transaction() as db:
        assert db.count("SELECT count(*) FROM issued WHERE identity = ?", ben) == 0


def test_map_08_a_login_again_ends_the_one_before(bench: GlobusBench) -> None:
    log_in(bench)
    before = store(bench).read().refresh_token
    log_in(bench)
    assert refused_by_auth(bench, before)


# --- codes --------------------------------------------------------------------------------------------------


def test_map_08_a_code_that_is_not_accepted_changes_nothing(bench: GlobusBench) -> None:
    log_in(bench)
    kept = store(bench).read()
    operations.begin_login(bench.context, replace=False)
    found = operations.finish_login(bench.context, "no-such-code")
    assert (found["state"], found["code"]) == ("needs_login", "globus_login")
    assert "invalid_grant" in found["message"]
    assert "--start" in found["hint"]
    assert store(bench).read() == kept


def test_map_08_a_code_belongs_to_the_login_that_was_begun_last(bench: GlobusBench) -> None:
    first = operations.begin_login(bench.context, replace=False)["url"]
    second = operations.begin_login(bench.context, replace=False)["url"]
    assert operations.finish_login(bench.context, click(first))["state"] == "needs_login"
    assert operations.finish_login(bench.context, click(second))["state"] == "ok"
    with pytest.raises(LabferryError) as caught:
        operations.finish_login(bench.context, "again")
    assert caught.value.code == "no_login_begun"


def test_map_08_a_login_may_be_finished_after_a_restart(bench: GlobusBench) -> None:
    url = operations.begin_login(bench.context, replace=False)["url"]
    bench.restart()
    assert operations.finish_login(bench.context, click(url))["state"] == "ok"


def test_map_08_an_auth_that_is_down_during_the_exchange_is_said(bench: GlobusBench) -> None:
    begun = operations.begin_login(bench.context, replace=False)
    code = click(begun["url"])
    rule = bench.fault(match=GRANTS, action="status", status=503, times=None)
    assert operations.finish_login(bench.context, code)["state"] == "down"
    bench.sandbox.faults.remove(rule)
    assert operations.finish_login(bench.context, code)["state"] == "ok", "the code was not used"


# --- an application -----------------------------------------------------------------------------------------


@pytest.fixture
def application(make: Make) -> GlobusBench:
    return make()


def test_map_08_an_application_says_who_must_be_let_in(application: GlobusBench) -> None:
    found = operations.log_in(application.context, "globus")
    assert (found["state"], found["mode"]) == ("ok", "application")
    assert found["user"] == f"{CLIENT_ID}@clients.auth.globus.org"
    assert [one["role"] for one in found["collections"]] == ["source:rig", "archive:server"]
    with pytest.raises(LabferryError) as caught:
        operations.begin_login(application.context, replace=False)
    assert caught.value.code == "no_person_needed"


def test_map_08_an_application_consents_by_asking(application: GlobusBench) -> None:
    application.fault(match=SERVER_ENDPOINT, action="admission", becomes="data_access")
    assert operations.log_in(application.context, "globus")["state"] == "ok"
    _, session = application.registered()
    require_archived(application, session)


def test_ruling_20_an_application_that_may_not_read_connect_personal_is_told_two_ways_out(
    application: GlobusBench,
) -> None:
    application.fault(match=LOCAL_ENDPOINT, action="collection", becomes="denied")
    found = operations.log_in(application.context, "globus")
    assert (found["state"], found["collections"][0]["state"]) == ("no_access", "no_access")
    assert "Connect Personal, which only its owner can use" in found["message"]
    assert "`labferry login globus`" in found["hint"]
    assert "globus gcp create mapped" in found["hint"]


def test_map_08_a_permission_that_is_missing_is_named(application: GlobusBench) -> None:
    application.end_life()
    application._changes = {'path = "auto"': 'path = "/cortexlab"'}
    application.open()
    application.fault(match=SERVER_ENDPOINT, action="collection", becomes="denied")
    found = operations.log_in(application.context, "globus")
    assert found["state"] == "no_access"
    assert f"Give {CLIENT_ID}@clients.auth.globus.org permission to read and write /cortexlab there" in found["hint"]


@pytest.mark.parametrize("match", ["oauth2/token", "/v0.10/endpoint"])
def test_map_08_a_globus_that_does_not_answer_is_no_login_that_is_needed(application: GlobusBench, match: str) -> None:
    application.fault(match=match, action="drop", times=None)
    assert operations.log_in(application.context, "globus")["state"] == "down"


# --- patience -----------------------------------------------------------------------------------------------


def test_map_03_a_lost_answer_to_the_submission_id_is_asked_again_when_the_breaker_opens(
    application: GlobusBench,
) -> None:
    application.registered()
    application.fault(match={"text": "submission_id", "n": 2}, action="drop", when="after")  # the first: a preflight's
    pause = application.work()
    assert 0 < pause <= 1.0, "not only when the lane would look anyway"
    application.clock.pass_by(pause)
    application.work()
    assert len(application.tasks()) == 1
