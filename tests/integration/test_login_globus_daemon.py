"""A person's login to Globus with the daemon and the commands as processes: needed, given, revoked, given again."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import PERSON, click
from support.lab import Lab, fresh
from support.terminal import on_terminal
from support.wait import wait_until

SESSION = "KS005/2026-03-02/001"
OTHER = "ZM_1150/2026-03-02/001"
ADA, BEN = "ada@lab.example", "ben@lab.example"


@pytest.fixture(scope="module")
def globus_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("globus"), archive="globus") as lab:
        yield lab


@pytest.fixture
def lab(globus_lab: Lab) -> Iterator[Lab]:
    with fresh(globus_lab) as lab:
        lab.environment |= PERSON
        yield lab


def asked(lab: Lab, *options: str, code: int, typed: str = "") -> dict[str, Any]:
    """Run `labferry login globus --json`; return its data, or its error."""
    done = lab.command("login", "globus", "--json", *options, environment=PERSON, typed=typed)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    envelope = json.loads(done.stdout)
    found: dict[str, Any] = envelope["data"] if envelope["ok"] else envelope["error"]
    return found


def log_in(lab: Lab, *options: str, code: int = 0, **more: str) -> dict[str, Any]:
    """Log in from a script, in two steps."""
    begun = asked(lab, "--start", *options, code=0)
    assert begun["state"] == "started"
    return asked(lab, "--finish", code=code, typed=click(begun["url"], **more) + "\n")


def tokens(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab.state_dir / "globus" / "tokens.json").read_text())
    return found


def require_secret(lab: Lab, *secrets: str) -> None:
    """Require that a secret is where it belongs and nowhere else."""
    assert all(len(secret) > 8 for secret in secrets)
    store = lab.state_dir / "globus" / "tokens.json"
    for file in [lab.directory / "daemon.log", *lab.state_dir.rglob("*")]:
        if file.is_file() and file != store:
            content = file.read_bytes()
            assert [secret for secret in secrets if secret.encode() in content] == [], file


def require_one_alert(lab: Lab, times: int) -> None:
    assert len(lab.logged("dependency_down")) == times, lab.logged("dependency_down")
    assert lab.journal("SELECT count(*) FROM attempt WHERE outcome = 'retry'") == [(0,)]


def test_map_08_a_daemon_waits_for_a_login_and_goes_on_with_it_twice(lab: Lab) -> None:
    folder = lab.write(SESSION)
    daemon = lab.start_ready()
    found = lab.wait_for_code(folder, "globus_login")
    assert (found["verdict"], "`labferry login globus`" in found["hint"]) == ("waiting_dependency", True)
    status = lab.status()
    assert status["dependencies"]["globus"]["state"] == "needs_login"
    (condition,) = status["health"]
    assert (condition["code"], "`labferry login globus`" in condition["text"]) == ("dependency_login", True)
    assert lab.command("status").returncode == 3
    attempts = lab.journal("SELECT attempts FROM job WHERE kind = 'archive'")

    refused = lab.command("login", "globus", environment=PERSON)
    assert refused.returncode == 8
    assert "nobody is logged in" in refused.stdout
    assert "--start" in refused.stdout
    lab.let_work(1.0)
    assert lab.journal("SELECT attempts FROM job WHERE kind = 'archive'") == attempts, "nothing is tried"
    require_one_alert(lab, 1)

    found = log_in(lab)
    assert (found["state"], found["user"], found["daemon"]) == ("ok", ADA, True)
    lab.wait_for("archived")
    assert asked(lab, code=0)["user"] == ADA
    first = tokens(lab)["refresh_token"]

    lab.sandbox("state", "POST", {"globus": {"revoke": "all"}})
    folder = lab.write(OTHER)
    assert lab.wait_for_code(folder, "globus_login")["verdict"] == "waiting_dependency"
    assert asked(lab, code=8)["state"] == "needs_login"
    assert len(lab.state()["globus"]["tasks"]) == 1, "nothing is submitted"
    log_in(lab)
    lab.wait_for("archived", 2)
    assert daemon.process.poll() is None, "the same process all the time"
    require_one_alert(lab, 2)
    require_secret(lab, first, tokens(lab)["refresh_token"])
    assert stat.S_IMODE((lab.state_dir / "globus").stat().st_mode) == 0o700
    assert stat.S_IMODE((lab.state_dir / "globus" / "tokens.json").stat().st_mode) == 0o600


def test_map_08_a_login_by_a_command_that_cannot_reach_the_daemon_is_found_by_it(lab: Lab) -> None:
    folder = lab.write(SESSION)
    lab.start_ready()
    lab.wait_for_code(folder, "globus_login")
    begun = asked(lab, "--start", "--socket", "/nonexistent/control.sock", code=0)
    code = click(begun["url"])
    found = asked(lab, "--finish", "--socket", "/nonexistent/control.sock", code=0, typed=f"{code}\n")
    assert (found["state"], found["daemon"]) == ("ok", False)
    lab.wait_for("archived")
    require_one_alert(lab, 1)
    require_secret(lab, code, tokens(lab)["refresh_token"])


def test_map_08_a_login_before_the_first_start_is_there_at_the_start(lab: Lab) -> None:
    assert log_in(lab)["daemon"] is False
    lab.write(SESSION)
    lab.start_ready()
    lab.wait_for("archived")
    require_one_alert(lab, 0)


def test_map_08_a_person_at_a_terminal_is_led_through_both_steps(lab: Lab) -> None:
    server = next(r["globus_endpoint_id"] for r in lab.state()["repositories"] if r["name"] == "flatiron_cortexlab")
    lab.add_fault(match=server, action="admission", becomes="data_access")
    folder = lab.write(SESSION)
    lab.start_ready()
    lab.wait_for_code(folder, "globus_login")
    codes: list[str] = []

    def answer(shown: str) -> str | None:
        if not shown.endswith("Code: "):
            return None
        found = re.search(r"http://\S+", shown)
        assert found is not None, shown
        codes.append(click(found[0]))
        return f"{codes[-1]}\n"

    environment = {**lab.environment, "LABFERRY_CONFIG": lab.config}
    code, shown = on_terminal(["login", "globus"], environment, answer)
    assert (code, len(codes)) == (0, 2), shown
    assert f"ok: {ADA} is logged in" in shown
    lab.wait_for("archived")
    require_secret(lab, *codes)


def test_ruling_20_the_daemon_owns_the_login_and_refuses_somebody_elses(lab: Lab) -> None:
    lab.start_ready()
    assert asked(lab, "--finish", code=1, typed="early")["code"] == "no_login_begun"
    assert log_in(lab)["daemon"] is True
    kept = tokens(lab)
    assert log_in(lab, code=1, _as=BEN)["state"] == "other_identity"
    assert tokens(lab) == kept
    assert log_in(lab, "--replace", _as=BEN)["user"] == BEN


@pytest.mark.parametrize(
    ("options", "typed", "code", "says"),
    [
        (["--finish"], "a-code\n", 1, "no_login_begun"),
        (["--finish"], "", 2, "usage"),
        (["--finish"], "two words\n", 2, "usage"),
        (["--start", "--finish"], "", 2, "usage"),
        (["--replace"], "", 8, "no_terminal"),
    ],
)
def test_ruling_30_what_cannot_be_done_is_said(lab: Lab, options: list[str], typed: str, code: int, says: str) -> None:
    found = asked(lab, *options, code=code, typed=typed)
    assert found["code"] == says
    assert found["hint"]


def test_map_08_doctor_tells_of_the_login_and_of_a_file_that_others_can_read(lab: Lab) -> None:
    lab.write(SESSION)
    lab.start_ready()
    assert check(lab, "globus_login", 7)["result"] == "error"
    log_in(lab)
    wait_until(lambda: check(lab, "globus_login", 0)["text"] == f"logged in as {ADA}", what="a login")
    file = lab.state_dir / "globus" / "tokens.json"
    assert check(lab, "globus_tokens", 0)["result"] == "ok"
    file.chmod(0o644)
    found = check(lab, "globus_tokens", 0)
    assert (found["result"], str(file) in found["text"], "0644" in found["text"]) == ("warning", True, True)
    lab.stop()
    assert check(lab, "globus_tokens", 0)["result"] == "warning", "also where no daemon runs"
    told = lab.command("config", "check", environment=PERSON)
    assert (told.returncode, "0644" in told.stderr) == (0, True)


def test_map_08_config_check_says_that_nobody_is_logged_in(lab: Lab) -> None:
    told = lab.command("config", "check", environment=PERSON)
    assert told.returncode == 0
    assert "`labferry login globus`" in told.stderr
    log_in(lab)
    assert "login globus" not in lab.command("config", "check", environment=PERSON).stderr


def check(lab: Lab, name: str, code: int) -> dict[str, Any]:
    done = lab.command("doctor", "--json", environment=PERSON)
    assert done.returncode == code, done.stdout
    return next(one for one in json.loads(done.stdout)["data"]["checks"] if one["name"] == name)


def test_map_08_verify_without_a_login_ends_with_8(lab: Lab) -> None:
    log_in(lab)
    lab.write(SESSION)
    lab.start_ready()
    lab.wait_for("archived")
    Path(lab.state_dir / "globus" / "tokens.json").unlink()
    done = lab.command("verify", SESSION, environment=PERSON)
    assert done.returncode == 8, done.stdout
    assert "labferry login globus" in done.stdout + done.stderr
