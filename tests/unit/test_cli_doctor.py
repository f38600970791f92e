"""What `labferry doctor` makes of what it and the daemon see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import envelope_of, labferry, socket_folder
from support.config_file import VALID, config_file
from support.control_stub import ANSWERS, ControlStub, check, refusal


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


@pytest.fixture
def config(tmp_path: Path) -> str:
    written = config_file(tmp_path)
    written.path.write_text(VALID)
    return str(written.path)


def run(daemon: ControlStub, config: str, code: int) -> list[str]:
    """Return the lines it prints, runs of blanks as one."""
    result = labferry("doctor", "--config", config, "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (code, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_one_line_per_check_and_the_remedy_below(daemon: ControlStub, config: str) -> None:
    daemon.answers["/v1/doctor"] = {
        "checks": [
            check("alyx_login", "error", "alyx_login: \x1b[31mwrong", "Write the password."),
            check("globus", "skipped", "not used"),
            check("root:s0", "warning", "empty", "Mount it."),
        ]
    }
    lines = run(daemon, config, 7)
    at = lines.index("error alyx_login alyx_login: \\x1b[31mwrong")
    assert lines[at + 1 : at + 4] == ["→ Write the password.", "skipped globus not used", "warning root:s0 empty"]
    assert lines[-1].endswith(" 1 error, 1 skipped")


def test_only_an_error_counts(daemon: ControlStub, config: str) -> None:
    daemon.answers["/v1/doctor"] = {"checks": [check("x", "warning"), check("y", "skipped")]}
    assert run(daemon, config, 0)[-1].endswith(" 0 error, 1 skipped")


@pytest.mark.parametrize(
    ("status", "code", "result", "expected"),
    [(403, "not_permitted", "error", 7), (503, "daemon_busy", "error", 7), (500, "internal", "error", 7)],
)
def test_a_daemon_that_does_not_answer_is_a_finding_and_the_rest_is_looked_at(
    daemon: ControlStub, config: str, status: int, code: str, result: str, expected: int
) -> None:
    daemon.answers["/v1/doctor"] = (status, refusal(code, "why", "what to do"))
    done = labferry("doctor", "--json", "--config", config, "--socket", str(daemon.socket_path))
    assert done.exit_code == expected
    checks = {one["name"]: one for one in envelope_of(done)["data"]["checks"]}
    assert (checks["daemon"]["result"], checks["daemon"]["hint"]) == (result, "what to do")
    assert checks["secret:alyx.password_file"]["result"] == "ok"
    assert checks["alyx"]["result"] == "skipped"


def test_every_error_of_a_configuration_is_shown(daemon: ControlStub, tmp_path: Path) -> None:
    file = tmp_path / "labferry.toml"
    file.write_text('server_name = 1\nnonsense = 2\n[alyx]\nurl = "x"\n')
    lines = run(daemon, str(file), 7)
    assert lines[0].startswith("error config ")
    assert any("nonsense" in line for line in lines)
    assert any("[alyx] url" in line for line in lines)
