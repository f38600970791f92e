"""MAP-06: before the first file goes, and after a fault, both collections are looked at; a mistake has a name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labferry.engine.dependencies import Health
from labferry.engine.globus.preflight import LOOK_EVERY
from labferry.engine.reports.doctor import doctor
from labferry.engine.reports.status import current_conditions
from labferry.model import JobState, Stage
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.globus import PATH, SECOND, GlobusBench, Make
from support.trouble import Logs, dependency, explained, pass_time, require_archived, said

HOUR = 3600.0
OTHER_LAB = "ZM_1150/2026-03-02/001"


def left_behind(bench: GlobusBench) -> list[Path]:
    """Return the directories that were made only to see whether one can."""
    return list(bench.sandbox.places.archive.rglob(".labferry*"))


def checks(bench: GlobusBench) -> dict[str, dict[str, str]]:
    """Return what doctor says, by the name of the check."""
    return {check["name"]: check for check in doctor(bench.context, bench.live)["checks"]}


# --- the destination -----------------------------------------------------------------------------------------------


def test_map_06_a_directory_is_made_and_removed_once_in_a_life(bench: GlobusBench) -> None:
    for path in (PATH, SECOND):
        _, session = bench.registered(path)
        bench.rest()
        assert bench.is_archived(session)
    made = bench.requests("POST", f"/v0.10/operation/endpoint/{SERVER_ENDPOINT}/mkdir")
    folders = ("/cortexlab/Subjects", "/cortexlab", "")  # the first ones are not there yet: Globus will make them
    assert [one["body"]["path"] for one in made] == [f"{folder}/.labferry-sandbox" for folder in folders]
    (removed,) = bench.requests("POST", "/v0.10/delete")
    assert removed["body"]["DATA"][0]["path"] == made[-1]["body"]["path"]
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])


@pytest.mark.parametrize("end", ["drop", "kill"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("match", ["/mkdir", "GET /v0.10/submission_id", "POST /v0.10/delete"])
def test_map_06_a_kill_or_a_lost_answer_leaves_nothing_behind(
    bench: GlobusBench, match: str, when: str, end: str
) -> None:
    bench.fault(match=match, when=when, action="drop")
    _, session = bench.registered()
    bench.work()
    if end == "kill":
        bench.restart()
    require_archived(bench, session)
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])
    assert len(bench.tasks()) == 1


def test_map_06_one_that_is_there_already_is_as_good_as_made(bench: GlobusBench, logs: Logs) -> None:
    """A journal that was lost does not know what it had made."""
    (bench.sandbox.places.archive / ".labferry-sandbox").mkdir()
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    assert said(logs, "dependency_down") == []
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])


def test_map_06_what_an_earlier_life_left_elsewhere_is_removed(bench: GlobusBench) -> None:
    bench.place("").mkdir(parents=True)
    bench.fault(match="POST /v0.10/delete", action="drop")
    _, session = bench.registered()
    bench.work()
    assert len(left_behind(bench)) == 1
    bench.restart({'path = "auto"': 'path = "/elsewhere"'})
    require_archived(bench, session)
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])


def test_map_06_a_collection_that_was_replaced_keeps_its_target_down_no_more(make: Make, logs: Logs) -> None:
    """What was made in the dead one cannot be removed: that is told, and the new one is looked at."""
    dead = "0a8e3b9c-7d52-4f16-9a4e-3c5d6b7f8a90"
    bench = make()
    bench.journal.probes.begin("server", dead, "/.labferry-sandbox")
    gone = {"code": "EndpointNotFound", "message": "No such endpoint"}
    bench.fault(match="POST /v0.10/delete", action="status", status=404, body=gone)
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    assert said(logs, "dependency_down") == []
    (line,) = said(logs, "probe_left")
    assert "No such endpoint" in line["why"]
    assert [endpoint for (endpoint,) in bench.ask("SELECT endpoint FROM probe")] == [dead]


def test_map_06_a_directory_that_cannot_be_removed_stops_nobody(bench: GlobusBench, logs: Logs) -> None:
    body = {"code": "ClientError.BadRequest.NotAllowed", "message": "nothing is ever deleted here"}
    bench.fault(match="POST /v0.10/delete", action="status", status=400, body=body, times=None)
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    (line,) = said(logs, "probe_left")
    assert "nothing is ever deleted here" in line["why"]
    bench.heal()
    bench.restart()
    _, other = bench.registered(SECOND)
    bench.rest()
    assert bench.is_archived(other)
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])


BESIDE = {
    'archive = ["server"]': 'archive = ["server", "beside"]',
    "[globus]": '[archive.beside]\nkind = "directory"\npath = "{path}"\nnaming = "plain"\nrepository = ""\n\n[globus]',
}


def test_map_06_a_read_only_endpoint_blocks_its_jobs_and_others_continue(
    make: Make, tmp_path: Path, logs: Logs
) -> None:
    (tmp_path / "beside").mkdir()
    bench = make(config={old: new.format(path=tmp_path / "beside") for old, new in BESIDE.items()})
    rule = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="read_only")
    _, session = bench.write()
    bench.journal.sessions.unsettle(session.id, "for both targets")
    bench.journal.sessions.complete(session.id, b"both", register=True, targets=["server", "beside"])
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL, Stage.SEAL):
        bench.step(stage)
    bench.work()
    job = bench.archive_job(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "endpoint_readonly")
    assert "the endpoint is read-only" in job.reason
    assert "write permission" in job.hint
    assert explained(bench, session) == ("blocked", "endpoint_readonly")
    assert len(said(logs, "blocked")) == 1
    while bench.lanes["beside"].turn() == 0.0:
        pass
    assert bench.is_archived(session, "beside")
    _, second = bench.registered(SECOND)
    bench.work()
    assert bench.archive_job(second).code == "endpoint_readonly"
    pass_time(bench, HOUR)
    assert (bench.posts(), left_behind(bench)) == ([], [])
    assert len(bench.requests("POST", f"/v0.10/operation/endpoint/{SERVER_ENDPOINT}/mkdir")) <= 10
    bench.sandbox.faults.remove(rule)
    pass_time(bench, LOOK_EVERY + 60.0)
    require_archived(bench, session)
    require_archived(bench, second)
    assert len(said(logs, "endpoint_writable")) == 1


def test_map_06_ruling_16_a_folder_that_is_read_only_blocks_the_sessions_of_its_lab_only(bench: GlobusBench) -> None:
    rule = bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="read_only")
    _, theirs = bench.registered(OTHER_LAB)
    bench.work()
    refused = bench.archive_job(theirs)
    assert refused.code == "endpoint_readonly"
    bench.sandbox.faults.remove(rule)
    _, ours = bench.registered()
    bench.rest()
    assert bench.is_archived(ours), "nobody has refused anything in this lab's folder"
    assert bench.archive_job(theirs) == refused, "nor has anybody looked at the other's again"
    pass_time(bench, LOOK_EVERY + 60.0)
    require_archived(bench, theirs)


@pytest.mark.parametrize("side", [LOCAL_ENDPOINT, SERVER_ENDPOINT])
def test_map_06_a_disconnected_connect_personal_waits_with_one_alert(bench: GlobusBench, logs: Logs, side: str) -> None:
    rule = bench.fault(action="collection", match=side, becomes="offline")
    _, session = bench.registered()
    pass_time(bench, HOUR)
    down = dependency(bench, "archive:server")
    assert (down.state, down.code) == (Health.DOWN, "collection_offline")
    assert explained(bench, session) == ("waiting_dependency", "collection_offline")
    assert [one.code for one in current_conditions(bench.context, bench.live)] == ["dependency_down"]
    assert (bench.posts(), len(said(logs, "dependency_down"))) == ([], 1)
    bench.sandbox.faults.remove(rule)
    require_archived(bench, session)
    assert len(said(logs, "dependency_up")) == 1
    assert len(bench.tasks()) == 1


def test_map_06_a_collection_of_a_server_is_not_offline_because_nothing_is_known_of_it(bench: GlobusBench) -> None:
    """`gcp_connected` is null there: neither yes nor no."""
    found = bench.lane._service.collection(SERVER_ENDPOINT)
    assert (found.connected, found.paused, found.is_personal) == (None, None, False)
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)


# --- each mistake has a name ---------------------------------------------------------------------------------------

DATA_ACCESS = f"urn:globus:auth:scope:transfer.api.globus.org:all[*https://auth.globus.org/scopes/{LOCAL_ENDPOINT}/d]"
NOT_FOUND = {"code": "EndpointNotFound", "message": "No such endpoint"}
CONSENT = {
    "code": "ConsentRequired",
    "message": "Missing required data_access consent",
    "required_scopes": [DATA_ACCESS],
}
OTHER_IDENTITY = {
    "code": "ExternalError.DirListingFailed.LoginFailed",
    "message": "530 LOGIN_DENIED: identity does not map to a valid username",
}


def broken(**rule: object) -> Callable[[GlobusBench], object]:
    """Return what makes a request fail from now on."""
    return lambda bench: bench.fault(action="status", times=None, **rule)


def made(becomes: str) -> Callable[[GlobusBench], object]:
    """Return what puts the source collection into a condition."""
    return lambda bench: bench.fault(action="collection", match=LOCAL_ENDPOINT, becomes=becomes)


MISTAKES: dict[str, tuple[Callable[[GlobusBench], object], str, str, str]] = {
    "wrong collection id": (
        broken(match=f"GET /v0.10/endpoint/{LOCAL_ENDPOINT}", status=404, body=NOT_FOUND),
        "archive:server",
        "collection_unknown",
        "No such endpoint",
    ),
    "offline": (made("offline"), "archive:server", "collection_offline", "is not connected"),
    "paused": (made("paused"), "archive:server", "collection_paused", "is paused"),
    "not permitted": (made("denied"), "archive:server", "collection_denied", "Path not allowed"),
    "not shared": (made("unshared"), "archive:server", "source_not_shared", "though it can be listed itself"),
    "no consent": (
        broken(match="/stat?", status=403, body=CONSENT),
        "archive:server",
        "globus_login",
        "a consent is missing",
    ),
    "wrong identity": (
        broken(match="/stat?", status=502, body=OTHER_IDENTITY),
        "archive:server",
        "globus_login",
        "does not map to a valid username",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_map_06_each_mistake_about_the_source_is_named_before_anything_is_sent(
    bench: GlobusBench, logs: Logs, mistake: str
) -> None:
    make_it, blamed, code, words = MISTAKES[mistake]
    make_it(bench)
    _, session = bench.registered()
    pass_time(bench, HOUR)
    down = dependency(bench, blamed)
    assert (down.code, words in down.detail) == (code, True), down
    assert explained(bench, session) == ("waiting_dependency", code)
    assert (bench.posts(), len(said(logs, "dependency_down"))) == ([], 1)
    assert said(logs, "dependency_up") == []
    found = checks(bench)
    errors = {name: check for name, check in found.items() if check["result"] == "error"}
    assert any(code in check["text"] and words in check["text"] and check["hint"] for check in errors.values()), errors
    bench.heal()
    require_archived(bench, session)


WRONG = {
    "wrong subdir": (
        {"[globus]": '[globus]\nendpoint_subdir = "/wrong"'},
        "source_wrong_subdir",
        "no directory /wrong",
    ),
    "wrong root": ({"[globus]": '[globus]\nlocal_path = "{root}"'}, "source_wrong_root", "has no /KS005"),
    "other machine": (
        {"[globus]": '[globus]\nlocal_path = "{root}"\nendpoint_subdir = "{other}"'},
        "source_wrong_root",
        "bytes there",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_map_02_a_wrong_mapping_is_named_before_anything_is_sent(
    make: Make, tmp_path: Path, logs: Logs, mistake: str
) -> None:
    config, code, words = WRONG[mistake]
    bench = make()
    root, other = bench.sandbox.places.watch_root, tmp_path / "other"
    for name in ("alf/_ibl_trials.intervals.npy", "alf/_ibl_wheel.position.npy"):
        file = other / PATH / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"of another machine")
    wrong = {old: new.format(root=root, other=other) for old, new in config.items()}
    bench.restart(wrong)
    _, session = bench.registered()
    pass_time(bench, HOUR)
    down = dependency(bench, "archive:server")
    assert (down.code, words in down.detail) == (code, True), down
    assert explained(bench, session) == ("waiting_dependency", code)
    assert (bench.posts(), len(said(logs, "dependency_down"))) == ([], 1)
    check = checks(bench)["globus_source:rig"]
    assert (check["result"], code in check["text"], bool(check["hint"])) == ("error", True, True)
    bench.restart({new: old for old, new in wrong.items()})
    require_archived(bench, session)


# --- doctor --------------------------------------------------------------------------------------------------------


def test_map_06_doctor_makes_a_directory_and_leaves_none(bench: GlobusBench) -> None:
    _, session = bench.registered()
    bench.rest()
    found = checks(bench)
    assert {found[name]["result"] for name in ("archive:server", "globus_source:rig", "globus_login")} == {"ok"}
    assert "can be written to" in found["archive:server"]["text"]
    assert (left_behind(bench), bench.ask("SELECT * FROM probe")) == ([], [])
    bench.fault(action="collection", match=SERVER_ENDPOINT, becomes="read_only")
    check = checks(bench)["archive:server"]
    assert (check["result"], check["text"].partition(":")[0]) == ("error", "endpoint_readonly")
    assert "write permission" in check["hint"]
    assert bench.is_archived(session)
    assert os.listdir(bench.sandbox.places.archive)


@pytest.mark.parametrize("line", ["", "garbage", "/somewhere/else,0,1\n"])
def test_map_02_doctor_says_that_connect_personal_does_not_show_a_root(make: Make, tmp_path: Path, line: str) -> None:
    lta = tmp_path / "gcp" / ".globusonline" / "lta"
    lta.mkdir(parents=True)
    (lta / "client-id.txt").write_text(f"{LOCAL_ENDPOINT}\n")
    (lta / "config-paths").write_text(line)
    bench = make(LABFERRY_GLOBUS__CONFIG_DIR=str(lta.parent))
    root = str(bench.sandbox.places.watch_root)
    check = checks(bench)["globus_shared:rig"]
    assert (check["result"], check["text"].partition(":")[0]) == ("error", "source_not_shared")
    assert f"`{root},0,0`" in check["hint"]
    assert str(lta / "config-paths") in check["hint"]
    (lta / "config-paths").write_text(f"~/,0,1\n{root},0,0\n")
    assert checks(bench)["globus_shared:rig"]["result"] == "ok"


def test_map_02_a_collection_that_is_not_connect_personals_is_not_held_against_its_paths(bench: GlobusBench) -> None:
    assert not any(name.startswith("globus_shared") for name in checks(bench))
