"""`labferry login`: whether a login works right now, and who we are by it.

Room: cli. The daemon tests it, with its own rights and its own secret; where none runs, this command does. A password
is only ever taken from a terminal, and only written into the file that the configuration names.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli.login_globus import globus
from labferry.cli.options import asks_daemon
from labferry.cli.output import answer, bad, good, say, warn
from labferry.cli.secret_file import write_secret
from labferry.control.client import ControlClient
from labferry.errors import ExitCode, LabferryError

PATIENCE = 240.0  # seconds: a few requests to an Alyx that may be slow
_EXIT_CODES = {"ok": ExitCode.OK, "needs_login": ExitCode.LOGIN_NEEDED, "down": ExitCode.TRY_LATER}


@click.group("login")
def login() -> None:
    """Test a login, or give the secret for it."""


login.add_command(globus)


@login.command("alyx")
@asks_daemon
def alyx(client: ControlClient, as_json: bool) -> None:
    """Log in to Alyx as the configuration says, right now, and say who we are.

    On a terminal, a password that is missing or wrong may be typed; it is tried, then written into `password_file`.
    Ends with 0 when we may register, 8 when a login is needed, 75 when Alyx does not answer, 1 when the user may
    only look.
    """
    context = click.get_current_context()
    config: str | None = context.params["config"]
    found = _tested(client, config)
    if found["state"] == "needs_login" and not as_json and _on_terminal():
        found = _typed(client, config, found)
    answer(found, as_json, _lines)
    context.exit(_EXIT_CODES.get(found["state"], ExitCode.FAILURE))


def _tested(client: ControlClient, config: str | None) -> dict[str, Any]:
    """Let the daemon log in; a daemon that does not run cannot, so it is done here."""
    try:
        found: dict[str, Any] = client.patient(PATIENCE).post("/v1/login", {"service": "alyx"})
    except LabferryError as error:
        if error.exit_code is not ExitCode.NOT_RUNNING:
            raise
        from labferry.service.login import log_in_to_alyx

        return {**log_in_to_alyx(config), "daemon": False}
    return {**found, "daemon": True}


# --- a password from the terminal -------------------------------------------------------------------------


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _typed(client: ControlClient, config: str | None, found: dict[str, Any]) -> dict[str, Any]:
    """Ask for the password, try it, and write it where it belongs; return what is true then."""
    from labferry.config import load
    from labferry.service.login import log_in_to_alyx

    mine = load(config, check_secrets=False)
    path = mine.alyx.password_file
    if found["secret"]["key"] != "password_file" or found["secret"]["given_by_systemd"] or not path:
        return found
    if path != found["secret"]["path"]:
        say([warn(f"The daemon reads {found['secret']['path']}, this configuration names {path}: give its --config.")])
        return found
    say([f"{bad('login needed:')} {found['message']}", f"A password typed here is tried, then written into {path}."])
    try:
        password = getpass.getpass(f"Password of {found['user']} at {found['url']} (empty: leave it): ")
    except EOFError:
        password = ""
    if not password:
        return found
    tried = log_in_to_alyx(config, password)
    if tried["state"] in {"needs_login", "down"}:
        return {**tried, "daemon": found["daemon"]}
    write_secret(path, password, like=mine.state_dir)
    return _tested(client, config)


# --- for people -------------------------------------------------------------------------------------------


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if found["state"] == "ok":
        yield f"{good('ok:')} {found['message']}."
        return
    yield f"{bad(found['state'])} ({found['code']}): {found['message']}."
    if found["hint"]:
        yield f"{warn('hint:')} {found['hint']}"
