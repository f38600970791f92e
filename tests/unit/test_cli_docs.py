"""The reference and the manual page say what the commands take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from labferry.cli.main import COMMANDS, cli
from labferry.cli.sessions import STATES
from labferry.errors import ExitCode

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMON = {"--config", "--socket", "--json", "--help"}


def manual() -> str:
    """Return the manual page as it is read: without fonts and escapes, an entry's words on one line."""
    text = (DOCS / "labferry.1").read_text(encoding="utf-8")
    text = re.sub(r"\\f[BIR]|^\.(BR|B|I|IR) |\"", "", text, flags=re.MULTILINE)
    return re.sub(r" +", " ", text.replace("\\-", "-"))


def reference() -> str:
    return (DOCS / "commands.md").read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command and sub-command with its full name."""
    context = click.Context(cli)
    for section in COMMANDS.values():
        for name in section:
            command = cli.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from ((f"{name} {sub}", one) for sub, one in command.commands.items())
            else:
                yield name, command


@pytest.mark.parametrize(("name", "command"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_every_command_is_documented_with_its_options(name: str, command: click.Command) -> None:
    heading = next(line for line in reference().splitlines() if line.startswith("### ") and f"`labferry {name}" in line)
    entry = next(line for line in manual().splitlines() if re.match(rf"(.*, )?{name}\b", line))
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for option in options - COMMON:
        assert option in heading
        assert option in entry


def test_common_options_and_exit_codes_are_documented() -> None:
    for option in COMMON:
        assert option in reference()
        assert option in manual()
    for code in ExitCode:
        assert f"| {code.value} |" in reference()
        assert f"\n{code.value}\n" in manual()


def test_every_state_that_can_be_asked_for_is_documented() -> None:
    section = reference().partition("### `labferry sessions")[2].partition("###")[0]
    assert {f"`{state}`" for state in STATES} <= set(re.findall(r"`\w+`", section))
