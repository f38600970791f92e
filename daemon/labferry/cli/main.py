"""The `labferry` command: finds the sub-command, imports only that one, and turns every error into an exit code.

Room: cli. Nothing slow may be imported here: the whole of `labferry status` must take a tenth of a second.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from labferry import __version__
from labferry.cli.output import fail
from labferry.errors import ExitCode, LabferryError

# A group without a sub-command: click prints its help; older click does that without an exception.
_HELP_WANTED = getattr(click.exceptions, "NoArgsIsHelpError", ())
_AS_JSON = "labferry.as_json"  # in click's context: whether the answer must be JSON

# Section, then command: its module below `labferry.cli` and one line for the overview.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "At a glance": {
        "status": ("status", "What is done, on its way, or in need of a person."),
        "sessions": ("sessions", "List sessions, by state, subject or date."),
        "jobs": ("jobs", "List the work that is queued, running, waiting or blocked."),
        "follow": ("history", "Show events as they happen."),
        "backlog": ("backlog", "Sessions that were there before labferry."),
    },
    "One session": {
        "explain": ("explain", "Why a folder is where it is, and what to do."),
        "show": ("sessions", "Everything known about one session."),
        "history": ("history", "What happened to one session."),
        "logs": ("logs", "The daemon's log, of one session or of all."),
        "match": ("match", "Which files are datasets, and why the others are not."),
        "whois": ("whois", "The lab of a subject, and the repository that follows."),
        "verify": ("verify", "Is it in Alyx and in every archive as it was sealed?"),
        "register": ("register", "Register a session now, or show what would be sent."),
        "archive": ("archive", "Archive a session now, or replace what is archived."),
        "retry": ("jobs", "Try blocked or waiting work again now."),
        "cancel": ("jobs", "End unfinished work."),
        "hold": ("jobs", "Leave a session alone."),
        "release": ("jobs", "Go on with a session that was held."),
    },
    "The daemon": {
        "run": ("run", "Be the daemon, in the foreground."),
        "pause": ("daemon", "Take no new work; finish what is at hand."),
        "resume": ("daemon", "Take work again."),
        "rescan": ("daemon", "Look for sessions now."),
        "wait": ("wait", "Come back when a session has got that far."),
        "config": ("config", "Check, show or begin a configuration."),
        "login": ("login", "Test a login, or give the secret for it."),
        "doctor": ("doctor", "Check every precondition, and name the remedy."),
    },
    "To try it": {
        "demo": ("demo", "The whole way, from a recording rig to a verified archive."),
        "sandbox": ("sandbox", "An Alyx and a data server on this machine."),
        "rig": ("rig", "Write session folders as an acquisition computer does."),
    },
}


class Labferry(click.Group):
    """The group of all commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        for section in COMMANDS.values():
            if cmd_name in section:
                module = importlib.import_module(f"labferry.cli.{section[cmd_name][0]}")
                command: click.Command = getattr(module, cmd_name)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing any command."""
        del ctx
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in section.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line up to the sub-command."""
        as_json = _wants_json(args)
        try:
            ctx = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _end_usage(error, as_json)
        ctx.meta[_AS_JSON] = as_json
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; every error becomes a sentence, a hint and an exit code."""
        as_json = bool(ctx.meta[_AS_JSON])
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            _end_usage(error, as_json)
        except LabferryError as error:
            _end(error, error.exit_code, as_json)
        except KeyboardInterrupt as error:
            click.echo(err=True)  # below the terminal's ^C; the operator knows the rest
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("_LABFERRY_TRACEBACK"):
                raise
            _end(_unexpected(error), ExitCode.FAILURE, as_json)


def _wants_json(args: Sequence[str]) -> bool:
    """Tell whether the answer must be JSON, before (and even if) the command line can be read."""
    options = args[: args.index("--")] if "--" in args else args
    return "--json" in options


def _end(error: LabferryError, exit_code: ExitCode, as_json: bool) -> NoReturn:
    fail(error, as_json)
    raise click.exceptions.Exit(exit_code)


def _end_usage(error: click.UsageError, as_json: bool) -> NoReturn:
    if isinstance(error, _HELP_WANTED):
        raise error
    command = error.ctx.command_path if error.ctx else "labferry"
    hint = f"`{command} --help` shows how it is used."
    _end(LabferryError("usage", error.format_message(), hint), ExitCode.USAGE, as_json)


def _unexpected(error: Exception) -> LabferryError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return LabferryError(
        "unexpected",
        f"This should not happen: {what}",
        "Please report it with what _LABFERRY_TRACEBACK=1 in front of the command prints.",
    )


@click.group(cls=Labferry, epilog="Every command has --help. Exit codes and JSON: docs/commands.md.")
@click.version_option(__version__, prog_name="labferry", message="%(prog)s %(version)s")
def cli() -> None:
    """Register every finished recording session in Alyx and verify it in the archive, or say why not."""
