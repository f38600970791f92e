"""What `labferry verify` shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.command import envelope_of, labferry, socket_folder
from support.control_stub import ANSWERS, KS005, ControlStub, refusal, verification


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


def run(daemon: ControlStub, *options: str, expected_code: int = 0) -> list[str]:
    """Return the lines the command prints, runs of blanks as one."""
    result = labferry("verify", KS005, *options, "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (expected_code, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_what_is_right_ends_with_0_and_says_how_it_was_looked_at(daemon: ControlStub) -> None:
    lines = run(daemon)
    assert daemon.requests == [("GET", "/v1/verify", {"session": KS005}, {})]
    assert lines[1] == "ok: all 41 datasets are in Alyx as they were sealed, all 41 files are in nas"
    assert "41 of 41 datasets as sealed, 41 online" in lines
    assert "flatiron_cortexlab 41 exist" in lines
    assert "compared: names and sizes; --deep reads every copy" in lines
    assert not [line for line in lines if line.startswith("To do")]
    run(daemon, "--deep")
    assert daemon.requests[-1][2] == {"session": KS005, "deep": "1"}


@pytest.mark.parametrize("verdict", ["registered_not_online", "not_registered", "not_archived", "differs", "later"])
def test_everything_else_ends_with_1(daemon: ControlStub, verdict: str) -> None:
    daemon.answers["/v1/verify"] = verification(verdict=verdict, message="why", hint="what to do")
    lines = run(daemon, expected_code=1)
    assert lines[1] == f"{verdict}: why"
    assert lines[-1] == "To do: what to do"


def test_map_12_differences_and_other_names_are_listed_to_a_limit(daemon: ControlStub) -> None:
    found = verification(verdict="differs")
    wrong = [{"path": f"{n}.npy", "fault": "size", "detail": f"/nas/{n}.npy: \x1b[31m"} for n in range(1000)]
    found["archives"][0] |= {"differences": wrong, "differing": 4321, "extra": ["/nas/foreign.txt"], "extras": 1}
    found["alyx"] |= {"extra": [f"alf/{n}.npy" for n in range(30)], "extras": 30}
    daemon.answers["/v1/verify"] = found
    lines = run(daemon, expected_code=1)
    assert "size /nas/0.npy: \\x1b[31m" in lines
    assert "and 4,301 more; --json lists them" in lines
    assert lines[lines.index("1 other name in the folders of its copies:") + 1] == "/nas/foreign.txt"
    assert "30 datasets that this session's folder does not have:" in lines
    assert "and 10 more; --json lists them" in lines


def test_an_archive_that_could_not_be_looked_at_is_said(daemon: ControlStub) -> None:
    found = verification(verdict="differs", alyx=None)
    problem = {"code": "target_missing", "message": "archive nas: /mnt/nas: not there", "hint": ""}
    found["archives"][0] |= {"problem": problem, "how": "", "compared": None, "pending": 3}
    daemon.answers["/v1/verify"] = found
    lines = run(daemon, expected_code=1)
    assert "not looked at: target_missing: archive nas: /mnt/nas: not there" in lines
    assert "41 of 41 files as sealed, 3 still to come" in lines
    assert "Alyx" not in lines


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(503, "alyx_down", 75), (503, "alyx_login", 8), (409, "ambiguous_repository", 1), (404, "no_such_session", 1)],
)
def test_what_cannot_be_answered_has_an_exit_code(daemon: ControlStub, status: int, code: str, expected: int) -> None:
    daemon.answers["/v1/verify"] = (status, refusal(code, "why", "what to do"))
    result = labferry("verify", KS005, "--json", "--socket", str(daemon.socket_path))
    assert result.exit_code == expected
    assert envelope_of(result)["error"]["code"] == code
