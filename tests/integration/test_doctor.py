"""`labferry doctor`: every precondition with its remedy, with and without a daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.lab import Lab, fresh

PATH = "KS005/2026-03-02/001"
ELSEWHERE = "5a1c0de0-0000-4000-8000-0000000000aa"


@pytest.fixture(scope="module")
def globus_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("globus"), archive="globus") as lab:
        yield lab


def asked(lab: Lab, *options: str, code: int, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the checks by name; those of one name as a list if there are several."""
    done = lab.command("doctor", *options, "--json", environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    data = json.loads(done.stdout)["data"]
    checks = data["checks"]
    assert all(set(check) == {"name", "result", "text", "hint"} for check in checks)
    for result, count in data["counts"].items():
        assert count == sum(check["result"] == result for check in checks)
    assert (data["counts"]["error"] > 0) == (code == 7)
    assert all(check["hint"] for check in checks if check["result"] == "error"), checks
    return {check["name"]: check for check in checks}


def results(checks: dict[str, Any]) -> dict[str, str]:
    return {name: check["result"] for name, check in checks.items()}


def ready(lab: Lab) -> None:
    """Start a daemon and let it archive a session."""
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")


# --- all is well ------------------------------------------------------------------------------------------


def test_one_06_a_healthy_daemon_has_nothing_to_complain_of(lab: Lab) -> None:
    ready(lab)
    checks = asked(lab, code=0)
    assert set(results(checks).values()) <= {"ok", "warning", "skipped"}
    for name in (
        "daemon",
        "secret:alyx.password_file",
        "state_dir",
        "root:rig",
        "watch:rig",
        "journal",
        "alyx_reachable",
        "alyx_login",
        "alyx_permission",
        "alyx_vocabulary",
        "alyx_dataset_types",
        "subject:rig",
        "repository:rig",
        "archive:server",
    ):
        assert checks[name]["result"] == "ok", checks[name]
    assert lab.up["alyx_user"] in checks["alyx_login"]["text"]
    assert "KS005" in checks["subject:rig"]["text"]
    assert "cortexlab_SR" in checks["repository:rig"]["text"]
    assert checks["globus"]["result"] == "skipped"


def test_nothing_is_changed_by_looking(lab: Lab) -> None:
    ready(lab)
    state, sent, actions = lab.state(), len(lab.requests()), lab.actions(PATH)
    asked(lab, code=0)
    assert lab.state() == state
    assert lab.actions(PATH) == actions
    changing = [r for r in lab.requests()[sent:] if r["method"] != "GET" and r["path"] != "/auth-token"]
    assert [(r["method"], r["status"]) for r in changing] == [("PATCH", 404)]


def test_people_get_a_table_with_remedies(lab: Lab) -> None:
    ready(lab)
    Path(lab.up["password_file"]).chmod(0o644)
    try:
        told = lab.command("doctor")
    finally:
        Path(lab.up["password_file"]).chmod(0o600)
    assert (told.returncode, told.stderr) == (0, "")
    assert any(line.split()[:2] == ["ok", "alyx_login"] for line in told.stdout.splitlines())
    assert f"→ chmod 600 {lab.up['password_file']}" in told.stdout
    assert told.stdout.splitlines()[-1].endswith("skipped")


def test_a_new_daemon_without_sessions_skips_what_needs_one(lab: Lab) -> None:
    lab.start_ready()
    checks = asked(lab, code=0)
    assert (checks["subject:rig"]["result"], checks["repository:rig"]["result"]) == ("skipped", "skipped")
    assert checks["archive:server"]["result"] == "ok"
    assert checks["root:rig"]["result"] == "warning"  # an empty root may be a disk that is not mounted


# --- without a daemon -------------------------------------------------------------------------------------


def test_without_a_daemon_it_looks_for_itself(lab: Lab) -> None:
    lab.write(PATH)
    checks = asked(lab, code=0)
    assert checks["daemon"]["result"] == "warning"
    assert checks["daemon"]["hint"]
    for name in ("secret:alyx.password_file", "root:rig"):
        assert checks[name]["result"] == "ok"
    for name in ("alyx", "globus", "archives"):
        assert checks[name]["result"] == "skipped"


def test_without_a_daemon_what_is_missing_is_an_error(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("no directory")
    changed = {
        "LABFERRY_ALYX__PASSWORD_FILE": str(tmp_path / "missing"),
        "LABFERRY_STATE_DIR": str(file),
        "LABFERRY_ROOTS": json.dumps([{"name": "rig", "path": str(tmp_path / "unmounted")}]),
    }
    checks = asked(lab, code=7, environment=changed)
    assert {name for name, result in results(checks).items() if result == "error"} == {
        "secret:alyx.password_file",
        "state_dir",
        "root:rig",
    }


@pytest.mark.parametrize("text", ["", "not = [toml", 'server_name = "x"\n', "\xff"])
def test_a_configuration_that_cannot_be_used_is_one_of_the_findings(lab: Lab, tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(text.encode("latin-1"))
    checks = asked(lab, "--config", str(file), "--socket", str(tmp_path / "none.sock"), code=7)
    assert (checks["config"]["result"], checks["daemon"]["result"]) == ("error", "warning")


def test_a_configuration_that_is_not_there_is_an_error_and_no_exit_of_its_own(lab: Lab, tmp_path: Path) -> None:
    checks = asked(lab, "--config", str(tmp_path / "none.toml"), code=7)
    assert (checks["config"]["result"], checks["daemon"]["result"]) == ("error", "error")


def test_a_daemon_answers_for_itself_whatever_became_of_its_file(lab: Lab, tmp_path: Path) -> None:
    ready(lab)
    file = tmp_path / "broken.toml"
    file.write_text("server_name = 1")
    checks = asked(lab, "--config", str(file), "--socket", str(lab.directory / "control.sock"), code=7)
    assert (checks["config"]["result"], checks["alyx_login"]["result"]) == ("error", "ok")


# --- Alyx -------------------------------------------------------------------------------------------------


def test_one_06_a_wrong_password_is_an_error_and_one_attempt(lab: Lab) -> None:
    ready(lab)
    file = Path(lab.up["password_file"])
    kept = file.read_text()
    file.write_text("wrong\n")
    logins = len([r for r in lab.requests() if r["path"] == "/auth-token"])
    try:
        checks = asked(lab, code=7)
    finally:
        file.write_text(kept)
    assert len([r for r in lab.requests() if r["path"] == "/auth-token"]) == logins + 1
    assert {name: checks[name]["result"] for name in ("alyx_reachable", "alyx_login", "alyx_permission")} == {
        "alyx_reachable": "ok",
        "alyx_login": "error",
        "alyx_permission": "skipped",
    }
    assert checks["alyx_login"]["text"].startswith("alyx_login: ")
    assert str(file) in checks["alyx_login"]["hint"]
    assert checks["subject:rig"]["result"] == "skipped"
    assert lab.status()["dependencies"]["alyx"]["state"] == "up"  # its own login goes on


def test_one_06_an_alyx_that_is_down_is_one_error(lab: Lab) -> None:
    ready(lab)
    lab.add_fault(match={"regexp": "."}, action="status", status=503, times=None)
    checks = asked(lab, code=7)
    lab.clear_faults()
    assert [name for name, result in results(checks).items() if result == "error"] == ["alyx_reachable"]
    assert checks["alyx_vocabulary"]["result"] == "ok"  # as it was kept


def test_one_06_a_user_who_may_only_look_is_an_error(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "public"
    secret.write_text("public-password\n")
    secret.chmod(0o600)
    lab.add_facts(users=[{"username": "public_user", "password": "public-password", "public": True}])
    lab.environment |= {"LABFERRY_ALYX__USERNAME": "public_user", "LABFERRY_ALYX__PASSWORD_FILE": str(secret)}
    lab.start_ready()
    checks = asked(lab, code=7)
    assert (checks["alyx_login"]["result"], checks["alyx_permission"]["result"]) == ("ok", "error")
    assert "public_user" in checks["alyx_permission"]["text"]


@pytest.mark.parametrize(("subject", "code"), [("NOBODY_1", "subject_not_on_alyx"), ("TWIN_1", "ambiguous_subject")])
def test_a_subject_that_cannot_be_resolved_is_named(lab: Lab, subject: str, code: str) -> None:
    lab.add_facts(subjects=[{"nickname": "TWIN_1", "lab": name} for name in ("cortexlab", "mainenlab")])
    lab.start_ready()
    lab.write(f"{subject}/2026-03-02/001")
    lab.wait_for_code(lab.root / f"{subject}/2026-03-02/001", code)
    checks = asked(lab, code=7)
    assert checks["subject:rig"]["result"] == "error"
    assert checks["subject:rig"]["text"].startswith(f"{code}: ")
    assert checks["repository:rig"]["result"] == "skipped"


def test_a_data_repository_that_cannot_be_told_is_named(lab: Lab) -> None:
    lab.environment |= {"LABFERRY_GLOBUS__ENDPOINT": ELSEWHERE}
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for_code(lab.root / PATH, "lab_without_repository")
    checks = asked(lab, code=7)
    assert (checks["subject:rig"]["result"], checks["repository:rig"]["result"]) == ("ok", "error")
    assert ELSEWHERE in checks["repository:rig"]["text"]


# --- archives ---------------------------------------------------------------------------------------------


def test_ruling_17_our_own_transfer_into_flatiron_is_a_warning(lab: Lab) -> None:
    ready(lab)
    check = asked(lab, code=0)["archive_repository:server"]
    assert (check["result"], "flatiron_cortexlab" in check["text"]) == ("warning", True)
    assert 'kind = "observe"' in check["hint"]
    lab.stop()
    root = {"name": "rig", "path": str(lab.root), "archive": ["flatiron"]}
    lab.environment |= {"LABFERRY_ROOTS": json.dumps([root]), "LABFERRY_ARCHIVE__FLATIRON__KIND": "observe"}
    lab.start_ready()
    checks = asked(lab, code=0)
    assert checks["archive_repository:flatiron"]["result"] == "ok"
    assert checks["archive:flatiron"]["result"] == "skipped"


def test_an_archive_that_is_not_there_is_an_error(lab: Lab) -> None:
    ready(lab)
    aside = lab.archive.with_name("aside")
    lab.archive.rename(aside)
    try:
        check = asked(lab, code=7)["archive:server"]
    finally:
        aside.rename(lab.archive)
    assert (check["result"], check["text"].partition(":")[0]) == ("error", "target_missing")


def test_ruling_20_what_an_application_may_not_read_of_connect_personal_names_two_ways_out(globus_lab: Lab) -> None:
    with fresh(globus_lab) as lab:
        ready(lab)
        checks = asked(lab, code=0)
        for name in ("globus_login", "globus_source:rig", "archive:server"):
            assert checks[name]["result"] == "ok", checks[name]
        local = next(r["globus_endpoint_id"] for r in lab.state()["repositories"] if r["name"] == "cortexlab_SR")
        lab.add_fault(match=local, action="collection", becomes="denied")
        check = asked(lab, code=7)["globus_source:rig"]
        assert check["result"] == "error"
        assert "only its owner can read" in check["text"]
        assert "globus gcp create mapped" in check["hint"]
        assert "guest collection" in check["hint"]


def test_a_wrong_client_secret_is_named_and_the_rest_skipped(globus_lab: Lab) -> None:
    with fresh(globus_lab) as lab:
        ready(lab)
        secret = lab.directory / "globus-client-secret"
        kept = secret.read_text()
        secret.write_text("wrong\n")
        try:
            checks = asked(lab, code=7)
        finally:
            secret.write_text(kept)
        assert checks["globus_login"]["result"] == "error"
        assert checks["globus_login"]["text"].startswith("globus_login: ")
        assert (checks["globus_source"]["result"], checks["archive:server"]["result"]) == ("skipped", "skipped")


# --- other programs ---------------------------------------------------------------------------------------


def test_ruling_09_a_job_creator_beside_us_is_a_warning_when_both_create_sessions(lab: Lab) -> None:
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, "/home/ibl/iblscripts/deploy/serverpc/crontab/report_create_jobs.py"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        check = asked(lab, code=0)["job_creator"]
        assert check["result"] == "warning"
        assert f"process {process.pid}" in check["text"]
        assert "create_sessions = false" in check["hint"]
        waiting = {"LABFERRY_REGISTRATION__CREATE_SESSIONS": "false"}
        assert asked(lab, code=0, environment=waiting)["job_creator"]["result"] == "ok"
        process.communicate()
