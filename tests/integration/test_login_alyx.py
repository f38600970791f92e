"""`labferry login alyx`: does the login work right now, and who are we by it?"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.alyx.client import AlyxClient
from labferry.engine import operations
from labferry.engine.context import ALYX
from labferry.errors import UnavailableError
from support.lab import Lab
from support.stages import StageBench
from support.terminal import on_terminal

PATH = "KS005/2026-03-02/001"
PROMPT = "leave it): "


def asked(lab: Lab, *options: str, code: int) -> dict[str, Any]:
    """Return `login.data` and check how the command ends."""
    done = lab.command("login", "alyx", *options, "--json", environment=lab.environment)
    assert done.returncode == code, done.stdout + done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def logins(lab: Lab) -> list[int]:
    """Return the answers to all logins so far."""
    return [r["status"] for r in lab.requests() if r["path"] == "/auth-token"]


@contextmanager
def password(lab: Lab, content: str | None) -> Iterator[Path]:
    """Let the password file hold something else, or be gone, for a while."""
    file = Path(lab.up["password_file"])
    kept = file.read_text()
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    try:
        yield file
    finally:
        file.write_text(kept)
        file.chmod(0o600)


def token(lab: Lab) -> str:
    answer = httpx.post(
        f"{lab.up['alyx_url']}/auth-token",
        json={"username": lab.up["alyx_user"], "password": Path(lab.up["password_file"]).read_text().strip()},
    )
    return str(answer.json()["token"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


# --- it works ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", [False, True])
def test_one_06_a_login_that_works_says_who_we_are(lab: Lab, daemon: bool) -> None:
    if daemon:
        lab.start_ready()
    found = asked(lab, code=0)
    assert (found["state"], found["user"], found["may_write"]) == ("ok", lab.up["alyx_user"], True)
    assert (found["url"], found["daemon"]) == (lab.up["alyx_url"], daemon)
    assert found["labs"] == ["cortexlab", "mainenlab"]
    assert logins(lab) == [200]
    told = lab.command("login", "alyx")
    assert told.stdout.startswith("ok: lab_server ")
    assert (told.returncode, told.stderr) == (0, "")


def test_one_06_a_token_is_tested_too_whoever_it_belongs_to(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(token(lab) + "\n")
    file.chmod(0o600)
    config = tmp_path / "labferry.toml"
    lines = Path(lab.config).read_text().splitlines(keepends=True)
    rest = [line for line in lines if not line.startswith(("username", "password_file"))]
    rest.insert(rest.index("[alyx]\n") + 1, f'token_file = "{file}"\n')
    config.write_text("".join(rest))
    found = asked(lab, "--config", str(config), code=0)
    assert (found["state"], found["user"], found["secret"]["key"]) == ("ok", None, "token_file")
    file.write_text("0" * 40 + "\n")
    found = asked(lab, "--config", str(config), code=8)
    assert (found["state"], found["code"]) == ("needs_login", "alyx_login")
    assert str(file) in found["hint"]
    config.write_text("".join(rest).replace("[alyx]\n", '[alyx]\nusername = "nobody"\n'))
    file.write_text(token(lab) + "\n")
    assert asked(lab, "--config", str(config), code=1)["state"] == "unknown_user"


# --- it does not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize(("content", "attempts"), [("wrong\n", 1), (None, 0), ("", 0)])
def test_one_06_a_wrong_password_is_one_attempt_and_no_storm(
    lab: Lab, daemon: bool, content: str | None, attempts: int
) -> None:
    if daemon:
        lab.start_ready()
    before = logins(lab)
    with password(lab, content) as file:
        found = asked(lab, code=8)
    assert (found["state"], found["code"]) == ("needs_login", "alyx_login")
    assert logins(lab)[len(before) :] == [400] * attempts
    assert str(file) in found["hint"]
    assert found["daemon"] is daemon
    assert "wrong" not in json.dumps(found)


def test_one_06_an_alyx_that_is_down_means_try_later(lab: Lab) -> None:
    lab.add_fault(match={"regexp": "."}, action="status", status=503, times=None)
    found = asked(lab, code=75)
    lab.clear_faults()
    assert (found["state"], found["code"]) == ("down", "alyx_down")


def test_one_06_a_user_who_may_only_look_is_told(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "public"
    secret.write_text("public-password\n")
    lab.add_facts(users=[{"username": "public_user", "password": "public-password", "public": True}])
    lab.environment |= {"LABFERRY_ALYX__USERNAME": "public_user", "LABFERRY_ALYX__PASSWORD_FILE": str(secret)}
    found = asked(lab, code=1)
    assert (found["state"], found["code"], found["may_write"]) == ("read_only", "alyx_permission", False)
    assert lab.state()["sessions"] == []


def test_a_configuration_without_a_secret_says_which_key_to_add(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "labferry.toml"
    lines = Path(lab.config).read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("password_file")))
    done = lab.command("login", "alyx", "--config", str(config))
    assert done.returncode == 6
    assert "password_file" in done.stderr


@pytest.mark.parametrize("words", [["login"], ["login", "nowhere"], ["login", "alyx", "--password", "x"]])
def test_a_password_is_never_an_argument(lab: Lab, words: list[str]) -> None:
    assert lab.command(*words).returncode == 2


def test_the_daemon_knows_the_logins_that_are_used(lab: Lab) -> None:
    lab.start_ready()
    for body in ({}, {"service": "one"}, {"service": 1}):
        assert lab.ask("/v1/login", "POST", body)["error"]["code"] == "bad_request"
    assert lab.ask("/v1/login", "POST", {"service": "globus"})["error"]["code"] == "no_globus"


# --- a corrected secret -----------------------------------------------------------------------------------


def test_one_06_a_login_that_works_again_lets_work_go_on_at_once(bench: StageBench) -> None:
    context, file = bench.context, bench.sandbox.password_file
    with pytest.raises(UnavailableError):
        broken(bench, "not yet right\n").log_in()
    for _ in range(5):
        context.dependencies.went_down(UnavailableError(ALYX, "alyx_login", "not accepted"))
    assert operations.log_in(context, ALYX)["state"] == "needs_login"
    assert context.dependencies.open_for(ALYX) > 0
    facts = {"users": [{"username": bench.sandbox.alyx_user, "password": file.read_text().strip()}]}
    httpx.post(f"{bench.sandbox.alyx_url}/_sandbox/state", json=facts).raise_for_status()
    with pytest.raises(UnavailableError):
        context.alyx.log_in()  # it was refused a moment ago: not offered again yet
    assert operations.log_in(context, ALYX)["state"] == "ok"
    context.alyx.log_in()
    assert (context.dependencies.open_for(ALYX), context.dependencies.snapshot()[0].state) == (0.0, "up")


def broken(bench: StageBench, content: str) -> AlyxClient:
    """Return the daemon's own client after its password file was spoilt."""
    bench.sandbox.password_file.write_text(content)
    return bench.context.alyx


def test_one_06_work_goes_on_when_the_login_works_again(lab: Lab) -> None:
    with password(lab, "wrong\n"):
        lab.start_ready()
        lab.write(PATH)
        lab.wait_for_code(lab.root / PATH, "alyx_login")
        assert asked(lab, code=8)["daemon"] is True
    assert asked(lab, code=0)["state"] == "ok"
    assert lab.status()["dependencies"]["alyx"]["state"] == "up"
    lab.wait_for("archived")


# --- from a terminal --------------------------------------------------------------------------------------


def typed(lab: Lab, text: str) -> tuple[int, str]:
    """Log in on a terminal, and type a password when it is asked for."""
    environment = {**lab.environment, "LABFERRY_CONFIG": lab.config}
    return on_terminal(["login", "alyx"], environment, lambda shown: text if shown.endswith(PROMPT) else None)


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("content", ["wrong\n", None])
def test_one_06_a_typed_password_is_tried_and_written(lab: Lab, daemon: bool, content: str | None) -> None:
    right = Path(lab.up["password_file"]).read_text()
    if daemon:
        lab.start_ready()
    with password(lab, content) as file:
        code, shown = typed(lab, right)
        assert (code, "ok: lab_server" in shown) == (0, True), shown
        assert file.read_text() == right
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [path.name for path in file.parent.glob(".*alyx-password*")] == []
    assert right.strip() not in shown + lab.log


@pytest.mark.parametrize(("text", "state"), [("also wrong\n", "needs_login"), ("\n", "needs_login")])
def test_one_06_what_does_not_work_is_not_written(lab: Lab, text: str, state: str) -> None:
    with password(lab, "wrong\n") as file:
        code, shown = typed(lab, text)
        assert (code, file.read_text()) == (8, "wrong\n")
    assert state in shown


def test_one_06_nothing_is_asked_where_nothing_can_be_typed_or_read(lab: Lab) -> None:
    with password(lab, "wrong\n"):
        done = lab.command("login", "alyx")
        assert (done.returncode, "Password of" in done.stdout + done.stderr) == (8, False)


def test_alyx_down_while_a_password_is_typed_writes_nothing(lab: Lab) -> None:
    with password(lab, "wrong\n") as file:
        lab.add_fault(match={"regexp": "POST /auth-token", "n": 2}, action="status", status=503)
        lab.add_fault(match={"regexp": "POST /auth-token", "n": 2}, action="status", status=503)
        lab.add_fault(match={"regexp": "POST /auth-token", "n": 2}, action="status", status=503)
        code, shown = typed(lab, "anything\n")
        assert (code, file.read_text()) == (75, "wrong\n"), shown
