"""The socket's file: made, protected, and never taken from a daemon that answers (ruling 27).

Room: control.
"""

from __future__ import annotations

import fcntl
import grp
import http.client
import json
import os
import socket
import stat

import structlog

from labferry.control.peers import peer_of
from labferry.errors import LabferryError

LONGEST_PATH = 107  # bytes: what fits into `struct sockaddr_un` with its end
BACKLOG = 128
MODE = 0o660
ASK_FOR = 2.0  # seconds that another daemon gets to say who it is
_log = structlog.get_logger()


def bind_socket(path: str, group: str = "") -> socket.socket:
    """Return the listening control socket: mode 0660, of the group if there is such a group.

    Parameters
    ----------
    path : str
        Where; its folder must exist. A socket that nobody answers on any more is replaced.
    group : str
        Whose members may connect. Where it does not exist, or we are not a member, the socket stays ours alone.

    Raises
    ------
    LabferryError
        `already_running`, naming the process that answers; `socket_path` for a path that cannot be used.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise LabferryError(
            "socket_path",
            f"The control socket's path is longer than {LONGEST_PATH} bytes: {path}",
            "Set `[control] socket` to a shorter path.",
        )
    folder = os.path.dirname(path)
    try:
        guard = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LabferryError(
            "socket_path",
            f"The control socket's folder {folder} cannot be used: {error.strerror}.",
            "Create it for the service user, or set `[control] socket` elsewhere.",
        ) from None
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two daemons that start together must not both find a stale socket
        _make_way(path)
        return _listen(path, group)
    except OSError as error:
        raise LabferryError(
            "socket_path",
            f"The control socket {path} cannot be made: {error.strerror}.",
            f"Give the service user write permission in {folder}, or set `[control] socket` elsewhere.",
        ) from None
    finally:
        os.close(guard)


def _make_way(path: str) -> None:
    """Remove a socket that nobody listens on."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LabferryError(
            "socket_path",
            f"{path} is in the way of the control socket and is not a socket.",
            "Look at what it is and move it away, or set `[control] socket` elsewhere.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(ASK_FOR)
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        raise LabferryError(
            "already_running",
            f"Another labferry (pid {_pid_behind(caller)}) answers on {path}.",
            "Stop it first, or give this one its own `[control] socket` and `state_dir`.",
        )


def _pid_behind(caller: socket.socket) -> int:
    """Return who answers: its own word, else the kernel's for the process that made the socket."""
    try:
        caller.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(caller)
        answer.begin()
        return int(json.loads(answer.read())["data"]["pid"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return peer_of(caller).pid


def _listen(path: str, group: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # from the first moment, whatever the umask
        listener.bind(path)
        if group:
            _give_to(path, group)
        os.chmod(path, MODE)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _give_to(path: str, group: str) -> None:
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        _log.info("control_group", group=group, why="there is no such group: only root and we may connect")
    except PermissionError:
        _log.warning("control_group", group=group, why="we are not a member: only root and we may connect")
