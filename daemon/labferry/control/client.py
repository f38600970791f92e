"""The control socket from the asking side: HTTP/1.1 and JSON over a Unix socket, standard library only.

Room: control. Used by the commands; imports nothing of the daemon, and nothing slow: `labferry status` starts with
this module.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labferry.control.diagnosis import ControlError, diagnose
from labferry.errors import ExitCode, LabferryError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

TIMEOUT = 30.0  # seconds for a whole question, connecting and reading included
_LARGEST_ERROR = 1 << 20  # bytes of an answer that is not what was asked for

# What the daemon's HTTP status means for the exit code; every other refusal is a failure.
_EXIT_CODES: Mapping[int, ExitCode] = {
    400: ExitCode.USAGE,
    403: ExitCode.NOT_PERMITTED,
    503: ExitCode.TRY_LATER,
}
_LOGIN_CODES = frozenset({"alyx_login", "globus_login"})

Query = str | int | bool | None


class ControlClient:
    """Asks the daemon behind one socket; one connection per question.

    Parameters
    ----------
    socket_path : str
        The control socket.
    timeout : float
        Seconds for a whole question. A stream has them for its first byte only.
    """

    def __init__(self, socket_path: str, timeout: float = TIMEOUT) -> None:
        self.socket_path = socket_path
        self._timeout = timeout

    def patient(self, timeout: float) -> ControlClient:
        """Return a client of the same socket for a question that may take so many seconds."""
        return ControlClient(self.socket_path, timeout)

    def get(self, path: str, /, **query: Query) -> Any:
        """Return the `data` of an answer. Parameters that are None or False are left out.

        Raises
        ------
        LabferryError
            The daemon is not there (`daemon_not_running`, with a diagnosis), does not let us in
            (`not_permitted`), does not answer in time (`daemon_busy`), or refuses with a code of its own.
        """
        return self._ask("GET", _target(path, query), None)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Ask for a change; return the `data` of the answer. Raises what `get` raises."""
        return self._ask("POST", path, json.dumps(body).encode())

    def stream(self, path: str, /, *, within: float | None = None, **query: Query) -> Iterator[dict[str, Any]]:
        """Yield the objects of an NDJSON answer as they come, for `within` seconds if they are given.

        With `follow` only the daemon's own end ends it before that. Raises what `get` raises, then
        `daemon_not_running`.
        """
        connection = _Connection(self.socket_path, self._timeout)
        try:
            with self._send(connection, "GET", _target(path, query), None) as response:
                if response.status != http.client.OK:
                    _data(response.status, response.read(_LARGEST_ERROR))
                connection.wait(within)
                try:
                    for line in response:
                        if line.strip():
                            yield _parsed(line)
                except TimeoutError:
                    if within is None:
                        raise
                    return
                if query.get("follow"):
                    raise _stopped()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from None
        finally:
            connection.close()

    def _ask(self, method: str, target: str, body: bytes | None) -> Any:
        connection = _Connection(self.socket_path, self._timeout)
        try:
            with self._send(connection, method, target, body) as response:
                status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from None
        finally:
            connection.close()
        return _data(status, content)

    def _send(self, connection: _Connection, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        try:
            connection.connect()
        except OSError as error:
            raise diagnose(self.socket_path, error) from None
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, target, body, headers)
        return connection.getresponse()

    def _broken(self, error: Exception) -> LabferryError:
        if isinstance(error, TimeoutError):
            return ControlError(
                "daemon_busy",
                f"The daemon took the question and did not answer within {self._timeout:g} s.",
                "Ask again; if it stays silent, `systemctl status labferry` and `labferry logs` say what it does.",
                ExitCode.TRY_LATER,
            )
        if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead | OSError):
            return _stopped()
        return _not_ours(f"{type(error).__name__}: {error}")


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("labferry")
        self._path = path
        self._deadline = time.monotonic() + timeout
        self._channel: _DeadlineSocket | None = None

    def connect(self) -> None:
        # Kept here too: the base class lets go of the socket once an answer takes it over.
        self.sock = self._channel = _DeadlineSocket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel.deadline = self._deadline
        self._channel.connect(os.fsencode(self._path))

    def wait(self, seconds: float | None) -> None:
        """Move the deadline, or lift it: events come when they come."""
        assert self._channel is not None
        self._channel.deadline = None if seconds is None else time.monotonic() + seconds


class _DeadlineSocket(socket.socket):
    """A socket whose time-out is what is left until a deadline, over all its calls together.

    A time-out per call would let a daemon that dribbles bytes keep a command for ever.
    """

    deadline: float | None = None

    def connect(self, address: Any) -> None:
        self._spend()
        super().connect(address)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        self._spend()
        super().sendall(data, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        self._spend()
        return super().recv_into(buffer, nbytes, flags)

    def _spend(self) -> None:
        if self.deadline is None:
            self.settimeout(None)
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)


def _target(path: str, query: Mapping[str, Query]) -> str:
    """Write path and parameters; what was typed stays the bytes that were typed."""
    pairs = []
    for name, value in query.items():
        if value is None or value is False:
            continue
        text = "1" if value is True else str(value)
        pairs.append(f"{name}={quote(os.fsencode(text), safe='')}")
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _data(status: int, content: bytes) -> Any:
    """Open the envelope: return its data, or raise its error."""
    envelope = _parsed(content)
    if envelope.get("ok") is True:
        return envelope.get("data")
    error = envelope.get("error")
    if not isinstance(error, dict):
        raise _not_ours(f"HTTP status {status} without an envelope")
    code = str(error.get("code", "failed"))
    raise ControlError(
        code,
        str(error.get("message", "The daemon refused.")),
        str(error.get("hint") or ""),
        ExitCode.LOGIN_NEEDED if code in _LOGIN_CODES else _EXIT_CODES.get(status, ExitCode.FAILURE),
    )


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _not_ours("the answer is not a JSON object")
    return value


def _stopped() -> ControlError:
    return ControlError(
        "daemon_not_running",
        "The daemon stopped while it was being asked.",
        "Ask again when it is back; `labferry logs` and `journalctl -u labferry` say why it stopped.",
        ExitCode.NOT_RUNNING,
    )


def _not_ours(what: str) -> ControlError:
    return ControlError(
        "bad_answer",
        f"What answers on the control socket does not speak labferry's language ({what}).",
        "Command and daemon may be of different versions: restart the daemon. "
        "Or the socket is another program's: check --socket.",
        ExitCode.FAILURE,
    )
