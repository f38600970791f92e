"""`labferry config …`, and where the other commands find the control socket."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from labferry.cli.config import config
from labferry.cli.socket_path import DEFAULT_SOCKET, socket_path
from labferry.errors import ConfigError
from support.config_file import VALID, ConfigFile, config_file


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    prepared = config_file(tmp_path)
    prepared.path.write_text(VALID, encoding="utf-8")
    return prepared


def run(file: ConfigFile, *arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(config, arguments, env={**file.environ, **environ})


def envelope(result: Result) -> dict[str, Any]:
    answer = json.loads(result.stdout)
    assert list(answer) == ["schema", "ok", "data", "error"]
    assert answer["schema"] == 1
    assert isinstance(answer, dict)
    return answer


def test_check_says_ok_with_a_summary(file: ConfigFile) -> None:
    result = run(file, "check", "--config", str(file.path))
    assert result.exit_code == 0
    assert result.stdout == f"ok: {file.path}: server lab-server-1, roots: s0, archives: none\n"


def test_check_takes_the_file_from_the_environment(file: ConfigFile) -> None:
    answer = envelope(run(file, "check", "--json", LABFERRY_CONFIG=str(file.path)))
    assert answer["ok"]
    assert answer["data"] == {
        "path": str(file.path),
        "server_name": "lab-server-1",
        "roots": ["s0"],
        "archives": [],
        "warnings": [],
    }


def test_check_shows_warnings_and_stays_ok(file: ConfigFile) -> None:
    (file.directory / "alyx-password").chmod(0o644)
    result = run(file, "check", "--config", str(file.path))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert "chmod 600" in result.stderr


def test_check_lists_every_error_and_exits_6(file: ConfigFile) -> None:
    file.path.write_text(VALID + 'layot = 1\nquiet = "soon"\n', encoding="utf-8")
    result = run(file, "check", "--config", str(file.path))
    assert result.exit_code == 6
    assert result.stdout == ""
    assert [part in result.stderr for part in ("layot", "soon", "labferry config example")] == [True] * 3
    answer = envelope(run(file, "check", "--json", "--config", str(file.path)))
    assert not answer["ok"]
    assert answer["error"]["code"] == "config"
    assert answer["error"]["hint"]
    assert len(answer["data"]["errors"]) == 2
    assert answer["data"]["path"] == str(file.path)


def test_show_prints_what_counts_even_to_those_who_may_not_read_secrets(file: ConfigFile) -> None:
    (file.directory / "alyx-password").unlink()
    result = run(file, "show", "--config", str(file.path), LABFERRY_DETECTION__QUIET="90s")
    assert result.exit_code == 0
    shown = tomllib.loads(result.stdout)
    assert shown["detection"]["quiet"] == "90s"
    assert shown["roots"][0]["quiet"] == "90s"
    answer = envelope(run(file, "show", "--json", "--config", str(file.path)))
    assert answer["data"]["config"]["detection"]["quiet"] == 60.0
    assert answer["data"]["config"]["alerts"]["digest"] == ""


def test_show_of_a_broken_file_exits_6(file: ConfigFile) -> None:
    file.path.write_text("x", encoding="utf-8")
    result = run(file, "show", "--json", "--config", str(file.path))
    assert result.exit_code == 6
    assert envelope(result)["error"]["code"] == "config"


def test_example_prints_the_shipped_example(file: ConfigFile) -> None:
    shipped = Path(__file__).resolve().parents[2] / "etc" / "config.example.toml"
    result = run(file, "example")
    assert result.exit_code == 0
    assert result.stdout == shipped.read_text(encoding="utf-8")
    assert envelope(run(file, "example", "--json"))["data"]["example"] == result.stdout


def test_importing_the_commands_does_not_import_pydantic() -> None:
    code = "import sys, labferry.cli.config, labferry.cli.socket_path; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- the control socket -----------------------------------------------------------------------------------


def test_the_socket_is_taken_from_the_nearest_word(file: ConfigFile) -> None:
    file.path.write_text('[control]\nsocket = "/from/file.sock"\n', encoding="utf-8")
    named = str(file.path)
    variable = {"LABFERRY_CONTROL__SOCKET": "/from/variable.sock"}
    assert socket_path("/from/option.sock", named, variable) == "/from/option.sock"
    assert socket_path(None, named, variable) == "/from/variable.sock"
    assert socket_path(None, named, {}) == "/from/file.sock"
    assert socket_path(None, None, {"LABFERRY_CONFIG": named}) == "/from/file.sock"


@pytest.mark.parametrize("text", ["", "control = 3\n", "[control]\nsocket = 3\n", '[control]\nsocket = ""\n'])
def test_a_file_without_the_key_means_the_default_socket(file: ConfigFile, text: str) -> None:
    file.path.write_text(text, encoding="utf-8")
    assert socket_path(None, str(file.path), {}) == DEFAULT_SOCKET


def test_a_spoilt_key_elsewhere_does_not_hide_the_daemon(file: ConfigFile) -> None:
    file.path.write_text('nonsense = 1\n[control]\nsocket = "/a.sock"\n', encoding="utf-8")
    assert socket_path(None, str(file.path), {}) == "/a.sock"


@pytest.mark.parametrize("content", [None, b"[control\n", b"\xff"], ids=["missing", "not toml", "not text"])
def test_a_named_file_that_cannot_be_read_is_an_error(file: ConfigFile, content: bytes | None) -> None:
    path = file.directory / "other.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other\.toml") as caught:
        socket_path(None, str(path), {})
    assert "--socket" in caught.value.hint
