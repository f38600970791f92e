"""`labferry login globus`: who we are at Globus, what is missing there, and a person's login.

Room: cli. The daemon does it, for it owns the login; where none runs, this command does. Nothing secret is ever on a
command line: the code is read from the terminal or from standard input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import click

from labferry.cli.options import asks_daemon
from labferry.cli.output import answer, bad, dim, good, say, table, warn
from labferry.control.client import ControlClient
from labferry.control.diagnosis import ControlError
from labferry.errors import ExitCode, LabferryError

PATIENCE = 300.0  # seconds: a few requests to Auth and Transfer, each with an end of its own
ROUNDS = 3  # logins in one go: a plain one, one that consents to the data of collections, one more
_EXIT_CODES = {
    "ok": ExitCode.OK,
    "started": ExitCode.OK,
    "needs_login": ExitCode.LOGIN_NEEDED,
    "needs_consent": ExitCode.LOGIN_NEEDED,
    "down": ExitCode.TRY_LATER,
}
_WANTS_A_PERSON = frozenset({"needs_login", "needs_consent"})


@click.command("globus")
@click.option("--start", is_flag=True, help="Print the address where a person logs in, and end.")
@click.option("--finish", is_flag=True, help="Read the code that was shown there from standard input.")
@click.option("--replace", is_flag=True, help="Log in again, and let it be another person than before.")
@asks_daemon
def globus(client: ControlClient, as_json: bool, start: bool, finish: bool, replace: bool) -> None:
    """Log in to Globus, or say who we are there and what is missing.

    With client credentials nobody logs in: the identity that needs permission is named, and both collections are looked
    at. Without, a person logs in: on a terminal an address is printed and the code from there is read. Elsewhere
    `--start` prints the address and `--finish` reads the code. Ends with 0; 8 when somebody must log in, 75 when Globus
    does not answer, 1 when a collection does not let us in.
    """
    if start and finish:
        raise click.UsageError("Say --start or --finish, not both.")
    context = click.get_current_context()
    asked = _Asked(client.patient(PATIENCE), context.params["config"])
    if finish:
        found = asked.finish(_code())
    elif start:
        found = asked.start(replace)
    else:
        found = asked.test()
        if found["mode"] == "person" and (replace or found["state"] in _WANTS_A_PERSON):
            found = _logged_in(asked, found, replace, as_json)
    answer(found, as_json, _lines)
    context.exit(_EXIT_CODES.get(found["state"], ExitCode.FAILURE))


class _Asked:
    """The daemon, or this command in its place where none runs."""

    def __init__(self, client: ControlClient, config: str | None) -> None:
        self._client = client
        self._config = config

    def test(self) -> dict[str, Any]:
        """Return how the login is."""
        return self._ask("/v1/login", {"service": "globus"}, lambda: _here().test_globus(self._config))

    def start(self, replace: bool) -> dict[str, Any]:
        """Begin a login."""
        return self._ask(
            "/v1/login/start", {"replace": replace}, lambda: _here().start_globus(self._config, replace=replace)
        )

    def finish(self, code: str) -> dict[str, Any]:
        """Finish a login."""
        return self._ask("/v1/login/finish", {"auth_code": code}, lambda: _here().finish_globus(self._config, code))

    def _ask(self, path: str, body: dict[str, object], here: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return {**self._client.post(path, body), "daemon": True}
        except LabferryError as error:
            if error.exit_code is not ExitCode.NOT_RUNNING:
                raise
        return {**here(), "daemon": False}


def _here() -> ModuleType:
    """Return what does it without a daemon; it takes a while to import."""
    from labferry.service import login

    return login


# --- a person at a terminal -------------------------------------------------------------------------------


def _logged_in(asked: _Asked, found: dict[str, Any], replace: bool, as_json: bool) -> dict[str, Any]:
    """Lead a person through the login; return what is true then."""
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        if replace:
            raise ControlError(
                "no_terminal",
                "Nobody can be asked to log in: this is no terminal.",
                "`labferry login globus --start --replace` prints the address, `--finish` reads the code.",
                ExitCode.LOGIN_NEEDED,
            )
        return found
    for _ in range(ROUNDS):
        why = "" if replace and found["state"] == "ok" else f"{bad(found['state'])}: {found['message']}.\n\n"
        url = asked.start(replace)["url"]
        say([f"{why}Open this address in any browser, log in, and copy the code that is shown:", "", url, ""])
        code = _code()
        found = asked.finish(code)
        if found["state"] not in _WANTS_A_PERSON:
            break
    return found


def _code() -> str:
    """Read the code: one word, and never from the command line."""
    code = str(click.prompt("Code", err=True)) if sys.stdin.isatty() else sys.stdin.readline()
    code = code.strip()
    if not code or not code.isascii() or not code.isprintable() or " " in code:
        raise click.UsageError("Standard input has no code: one word is expected.")
    return code


# --- for people -------------------------------------------------------------------------------------------


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if found["url"]:
        yield f"{good('started:')} {found['message']}:"
        yield ""
        yield found["url"]
        return
    mark = good("ok:") if found["state"] == "ok" else bad(f"{found['state']} ({found['code']}):")
    yield f"{mark} {found['message']}."
    if found["hint"]:
        yield f"{warn('hint:')} {found['hint']}"
    if found["collections"]:
        yield ""
        rows = [
            (one["role"], one["name"], one["path"], _state(one), dim(one["endpoint"])) for one in found["collections"]
        ]
        yield from table(("for", "collection", "path", "state", "id"), rows)


def _state(one: dict[str, Any]) -> str:
    return good("ok") if one["state"] == "ok" else bad(one["state"])
