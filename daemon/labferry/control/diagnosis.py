"""Why nobody answers on the control socket: the finding and the command that helps.

Room: control, asking side. Looks at the socket's file, at this machine's processes and at systemd; changes
nothing.
"""

from __future__ import annotations

import contextlib
import glob
import grp
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass

from labferry.errors import ExitCode, LabferryError

UNIT = "labferry"
_SYSTEMCTL_TIMEOUT = 3.0  # seconds


class ControlError(LabferryError):
    """The daemon could not be asked, or refused; knows the exit code it means."""

    def __init__(self, code: str, message: str, hint: str, exit_code: ExitCode) -> None:
        super().__init__(code, message, hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Machine:
    """Where this machine tells what runs on it."""

    processes: str = "/proc"
    systemd: str = "/run/systemd/system"
    systemctl: str = "/bin/systemctl"


def diagnose(socket_path: str, error: OSError, machine: Machine = Machine()) -> ControlError:
    """Turn a failed connect into what an operator needs to know.

    Parameters
    ----------
    socket_path : str
    error : OSError
        What `connect` raised.
    machine : Machine
    """
    where = os.fsencode(socket_path).decode("utf-8", "backslashreplace")
    if isinstance(error, PermissionError):
        return _not_permitted(socket_path, where)
    if isinstance(error, TimeoutError | BlockingIOError):
        return ControlError(
            "daemon_busy",
            f"The daemon behind {where} does not take the question.",
            f"Ask again; if it stays silent, `systemctl status {UNIT}` and `labferry logs` say what it does.",
            ExitCode.TRY_LATER,
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return _not_running(machine, f"{where} does not exist", left_over=False)
    if isinstance(error, ConnectionRefusedError):
        if not _is_socket(socket_path):
            return ControlError(
                "daemon_not_running",
                f"{where} is not a socket.",
                "Correct --socket, or `[control] socket` in the configuration.",
                ExitCode.NOT_RUNNING,
            )
        return _not_running(machine, f"its socket {where} is left over", left_over=True)
    reason = error.strerror or str(error)
    return ControlError(
        "daemon_not_running",
        f"{where} cannot be used as the control socket: {reason}.",
        "Correct --socket, or `[control] socket` in the configuration.",
        ExitCode.NOT_RUNNING,
    )


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


# --- nobody there -----------------------------------------------------------------------------------------


def _not_running(machine: Machine, finding: str, *, left_over: bool) -> ControlError:
    message, hint = _what_runs_instead(machine, left_over)
    return ControlError("daemon_not_running", f"{message} ({finding}).", hint, ExitCode.NOT_RUNNING)


def _what_runs_instead(machine: Machine, left_over: bool) -> tuple[str, str]:
    """Return what is the matter and what to type."""
    unit = _unit(machine)
    read_log = f"`journalctl -u {UNIT} -n 50`" if unit else "`labferry logs`"
    read_log += " says what happened"
    if unit == "failed":
        return "The labferry service has failed", f"{read_log}; then `systemctl restart {UNIT}`."
    if unit in {"activating", "reloading"}:
        return "The labferry service is just starting", f"Ask again in a moment; `systemctl status {UNIT}` follows it."
    start = f"`systemctl start {UNIT}`" if unit else "`labferry run --config FILE`"
    if left_over:
        return "labferry is not running: it died", f"{read_log}; {start} starts it again."
    pids = _daemon_pids(machine)
    if pids:
        return (
            f"labferry runs as process {', '.join(pids)}, but not on this socket",
            "It may still be starting, or use another configuration: see "
            f"`ps -o args= -p {','.join(pids)}`, then give that --config, or its --socket.",
        )
    if unit == "inactive":
        return "The labferry service is stopped", f"{start} starts it; `systemctl status {UNIT}` says since when."
    return (
        "labferry is not running",
        f"{start} starts it. If it has another configuration, give its --config or --socket.",
    )


def _unit(machine: Machine) -> str:
    """Return systemd's state of our unit; empty where there is no systemd, or no such unit."""
    if not os.path.isdir(machine.systemd):
        return ""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command without anything that was typed
            [machine.systemctl, "show", UNIT, "--property=LoadState,ActiveState"],
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    facts = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    return facts.get("ActiveState", "") if facts.get("LoadState") == "loaded" else ""


def _daemon_pids(machine: Machine) -> list[str]:
    """Return the processes that are `labferry run`, as far as they can be seen."""
    found = []
    for entry in glob.iglob(f"{machine.processes}/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(entry, "rb") as file:
            if _is_daemon(file.read().split(b"\0")):
                found.append(entry.split("/")[-2])
    return found


def _is_daemon(words: list[bytes]) -> bool:
    """Tell whether a command line is `labferry run`, through its script or as `python -m labferry`."""
    names = [os.path.basename(word) for word in words[:4]]
    return b"labferry" in names and words[names.index(b"labferry") + 1 :][:1] == [b"run"]


# --- not for us -------------------------------------------------------------------------------------------


def _not_permitted(socket_path: str, where: str) -> ControlError:
    group = _group_of(socket_path)
    user = _user()
    if group and user in _members(group):
        hint = f"You were added to the group {group} after you logged in: log in again (or `newgrp {group}`)."
    elif group:
        hint = f"Join its group, then log in again: `sudo usermod -aG {group} {user}`."
    else:
        hint = "Ask an administrator to add you to the group of the socket (`[control] group`, usually labferry)."
    return ControlError("not_permitted", f"{where}: you may not talk to the daemon.", hint, ExitCode.NOT_PERMITTED)


def _group_of(path: str) -> str:
    """Return the group of the socket, or of the nearest folder above it that can be seen; empty for root's."""
    while path not in {"", "/"}:
        with contextlib.suppress(OSError, KeyError):
            name = grp.getgrgid(os.stat(path).st_gid).gr_name
            return "" if name == "root" else name
        path = os.path.dirname(path)
    return ""


def _members(group: str) -> list[str]:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(group).gr_mem
    return []


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
