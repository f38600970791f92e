"""What `labferry login alyx` makes of the daemon's answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.command import envelope_of, labferry, socket_folder
from support.control_stub import ANSWERS, ControlStub, login, refusal


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


@pytest.mark.parametrize(
    ("state", "code"),
    [("ok", 0), ("needs_login", 8), ("down", 75), ("read_only", 1), ("unknown_user", 1), ("something new", 1)],
)
def test_one_06_every_state_has_its_exit_code(daemon: ControlStub, state: str, code: int) -> None:
    daemon.answers["/v1/login"] = login(state=state, code="why", message="message", hint="what to do")
    result = labferry("login", "alyx", "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (code, "")
    assert daemon.requests == [("POST", "/v1/login", {}, {"service": "alyx"})]
    assert ("what to do" in result.stdout) == (state != "ok")
    as_json = envelope_of(labferry("login", "alyx", "--json", "--socket", str(daemon.socket_path)))
    assert as_json["data"] == {**daemon.answers["/v1/login"], "daemon": True}


def test_who_may_only_look_may_not_log_in_for_the_daemon(daemon: ControlStub) -> None:
    daemon.answers["/v1/login"] = (403, refusal("not_permitted", "User x may look, not change.", "Ask an operator."))
    result = labferry("login", "alyx", "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stdout) == (5, "")
    assert "may look, not change" in result.stderr


def test_a_daemon_that_is_busy_is_not_spoken_for(daemon: ControlStub) -> None:
    daemon.answers["/v1/login"] = (503, refusal("busy", "Too many connections at once.", "Try again."))
    assert labferry("login", "alyx", "--socket", str(daemon.socket_path)).exit_code == 75
