"""The command as a whole: what it imports, how it fails, and that programs can rely on its answers."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from labferry import __version__
from labferry.cli.main import COMMANDS, cli
from support.command import envelope_of, labferry, labferry_process, socket_folder
from support.control_stub import ANSWERS, KS005, ControlStub, refusal, session
from support.wait import wait_until

# Every command that asks the daemon, as an operator would type it.
ASKING = [
    ("status",),
    ("sessions",),
    ("show", KS005),
    ("explain", KS005),
    ("jobs",),
    ("history", KS005),
    ("match", KS005),
    ("whois", "KS005"),
    ("logs",),
    ("retry", "--all"),
    ("pause",),
    ("resume",),
    ("rescan",),
]
NAMES = [name for section in COMMANDS.values() for name in section]


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


def commands(command: click.Command) -> Iterator[click.Command]:
    """Yield a command, or the sub-commands of a group."""
    if isinstance(command, click.Group):
        yield from command.commands.values()
    else:
        yield command


# --- one command, many modules ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_config_json_and_help(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.name == name
    for one in commands(command):
        options = {option for parameter in one.get_params(context) for option in parameter.opts}
        assert {"--config", "--json", "--help"} <= options


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: arguments[0])
def test_every_asking_command_takes_the_socket_from_option_or_configuration(
    daemon: ControlStub, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    config = tmp_path / "labferry.toml"
    config.write_text(f'[control]\nsocket = "{daemon.socket_path}"\n', encoding="utf-8")
    assert labferry(*arguments, "--socket", str(daemon.socket_path)).exit_code == 0
    assert labferry(*arguments, "--config", str(config)).exit_code == 0
    assert len(daemon.requests) == 2


def test_overview_names_every_command_without_importing_any() -> None:
    result = labferry("--help")
    assert result.exit_code == 0
    for section, names in COMMANDS.items():
        assert f"{section}:" in result.stdout
        for name, (_, line) in names.items():
            assert any(row.split() == [name, *line.split()] for row in result.stdout.splitlines())
    look = (
        "import sys\n"
        "from labferry.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith('labferry.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert set(eval(done.stderr)) == {"labferry.cli.main", "labferry.cli.output"}


def test_status_imports_nothing_slow(daemon: ControlStub) -> None:
    look = (
        "import sys\n"
        "from labferry.cli.main import cli\n"
        f"cli.main(['status', '--socket', {str(daemon.socket_path)!r}], standalone_mode=False)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    slow = {"pydantic", "pydantic_settings", "httpx", "structlog", "rich", "globus_sdk", "sqlite3", "watchdog", "yaml"}
    assert set(eval(done.stderr)) & slow == set()


def test_the_daemon_does_not_load_what_draws_on_terminals(tmp_path: Path) -> None:
    look = (
        "import sys\n"
        "from labferry.cli.main import cli\n"
        "try:\n"
        f"    cli.main(['run', '--config', {str(tmp_path / 'none.toml')!r}], standalone_mode=False)\n"
        "finally:\n"
        "    print([name for name in sys.modules if name.split('.')[0] in {'httpx', 'rich'}])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    loaded = eval(done.stdout)
    assert "httpx" in loaded
    assert [name for name in loaded if name.startswith("rich.")] == []


def test_version() -> None:
    result = labferry("--version")
    assert (result.exit_code, result.stdout) == (0, f"labferry {__version__}\n")


def test_without_a_command_the_overview_is_shown() -> None:
    result = labferry()
    assert result.exit_code == 2
    assert "At a glance:" in result.output


def test_shell_completion_knows_the_commands() -> None:
    done = labferry_process(
        environ={"_LABFERRY_COMPLETE": "bash_complete", "COMP_WORDS": "labferry st", "COMP_CWORD": "1"}
    )
    assert done.stdout.split() == ["plain,status"]


# --- answers for programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: arguments[0])
def test_ruling_25_json_is_one_envelope_and_nothing_else(daemon: ControlStub, arguments: tuple[str, ...]) -> None:
    result = labferry(*arguments, "--json", "--socket", str(daemon.socket_path))
    envelope = envelope_of(result)
    assert envelope["ok"] is True
    (request,) = daemon.requests
    given = daemon.answers[request[1]]
    assert envelope["data"] == ({"records": given.objects} if arguments == ("logs",) else given)


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: arguments[0])
def test_without_a_daemon_every_command_ends_with_4(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    nowhere = str(tmp_path / "none.sock")
    result = labferry(*arguments, "--json", "--socket", nowhere, "--config", str(no_state(tmp_path)))
    assert result.exit_code == 4
    assert envelope_of(result)["error"]["code"] == "daemon_not_running"
    result = labferry(*arguments, "--socket", nowhere, "--config", str(no_state(tmp_path)))
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert nowhere in result.stderr
    assert "\nhint: " in result.stderr


def no_state(folder: Path) -> Path:
    """Return a configuration whose state directory holds nothing."""
    path = folder / "labferry.toml"
    path.write_text(f'state_dir = "{folder / "state"}"\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "not_permitted", 5),
        (404, "no_such_session", 1),
        (400, "bad_request", 2),
        (409, "several_sessions", 1),
        (503, "busy", 75),
        (500, "internal", 1),
    ],
)
def test_refusals_of_the_daemon_have_their_exit_codes(
    daemon: ControlStub, status: int, code: str, expected: int
) -> None:
    daemon.answers["/v1/session"] = (status, refusal(code, "It is so.", "Do otherwise."))
    arguments = ("show", KS005, "--socket", str(daemon.socket_path))
    result = labferry(*arguments)
    assert (result.exit_code, result.stdout) == (expected, "")
    assert result.stderr == "error: It is so.\nhint: Do otherwise.\n"
    result = labferry(*arguments, "--json")
    assert result.exit_code == expected
    assert envelope_of(result)["error"] == {"code": code, "message": "It is so.", "hint": "Do otherwise."}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("--nonsense",),
        ("status", "--nonsense"),
        ("status", "too", "much"),
        ("show",),
        ("sessions", "--state", "nonsense"),
        ("jobs", "--state", "QUEUED"),
        ("retry",),
        ("retry", KS005, "--all"),
        ("retry", KS005, "--code", "crash"),
        ("pause", "--lane", "detect"),
        ("logs", "-n", "many"),
        ("config", "nonsense"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_says_where_help_is(arguments: tuple[str, ...]) -> None:
    result = labferry(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "--help` shows how it is used." in result.stderr
    result = labferry(*arguments, "--json")
    assert result.exit_code == 2
    assert envelope_of(result)["error"]["code"] == "usage"


def test_json_after_two_dashes_is_no_option(daemon: ControlStub) -> None:
    daemon.answers["/v1/explain"] = (404, refusal("no_such_path", "It does not exist."))
    result = labferry("explain", "--socket", str(daemon.socket_path), "--", "--json")
    assert (result.exit_code, result.stderr) == (1, "error: It does not exist.\n")
    assert daemon.requests[0][2] == {"path": "--json"}


def test_a_configuration_that_cannot_be_read_ends_with_6(tmp_path: Path) -> None:
    result = labferry("status", "--json", "--config", str(tmp_path / "none.toml"))
    assert result.exit_code == 6
    assert envelope_of(result)["error"]["code"] == "config"


def test_ruling_30_a_second_daemon_or_a_bad_configuration_is_an_error_of_run(tmp_path: Path) -> None:
    config = tmp_path / "labferry.toml"
    config.write_text('server_nam = "x"\n', encoding="utf-8")
    done = labferry_process("run", "--json", "--config", str(config))
    assert done.returncode == 6
    assert "server_nam" in envelope_of(done)["error"]["message"]


# --- trouble on the way out -------------------------------------------------------------------------------


def test_no_traceback_reaches_an_operator(daemon: ControlStub) -> None:
    daemon.answers["/v1/status"] = {"version": "from the future"}
    arguments = ("status", "--socket", str(daemon.socket_path))
    result = labferry(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: This should not happen: KeyError: ")
    assert "Traceback" not in result.stderr
    assert isinstance(labferry(*arguments, environ={"_LABFERRY_TRACEBACK": "1"}).exception, KeyError)


def test_a_reader_that_goes_away_is_no_error(daemon: ControlStub) -> None:
    daemon.answers["/v1/sessions"] = [session(id=number) for number in range(5000)]
    reading, writing = os.pipe()
    os.close(reading)
    done = labferry_process("sessions", "--socket", str(daemon.socket_path), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_names_that_the_terminal_cannot_show_are_shown_escaped(daemon: ControlStub) -> None:
    daemon.answers["/v1/sessions"] = [session(subject="K\u20ac\x1b[2J")]
    done = labferry_process("sessions", "--socket", str(daemon.socket_path), environ={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0
    assert r"K\u20ac\x1b[2J" in done.stdout


def test_what_is_typed_reaches_the_daemon_as_the_same_bytes(daemon: ControlStub) -> None:
    typed = b"KS005/2024-05-31/001/\xff?&=+ %#\xc3\xa9"
    assert labferry_process("explain", typed, "--socket", str(daemon.socket_path)).returncode == 0
    assert os.fsencode(daemon.requests[0][2]["path"]) == typed


def test_colours_only_on_a_terminal_and_not_with_no_color(daemon: ControlStub) -> None:
    arguments = ("status", "--socket", str(daemon.socket_path))
    assert "\x1b" not in labferry_process(*arguments).stdout
    assert "\x1b[32m" in on_terminal(*arguments)
    assert "\x1b" not in on_terminal(*arguments, environ={"NO_COLOR": "1"})


def on_terminal(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Return what a command writes to a terminal."""
    ours, its = pty.openpty()
    done = labferry_process(*arguments, environ=environ, stdout=its)
    assert done.returncode == 0
    os.close(its)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:
        pass  # all was read: a terminal without anybody at its other end
    os.close(ours)
    return written.decode()


def test_ctrl_c_ends_with_130(daemon: ControlStub) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "labferry", "status", "--watch", "--socket", daemon.socket_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: len(daemon.requests) >= 2, what="the second look")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.startswith("All 132 finished sessions are registered and archived.\n")
    assert errors == "\n"
