"""The log of every request: what was asked, what was answered, whether it took effect.

Room: sandbox. One line of JSON per request, in memory and appended to a file, so that a restart goes on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from labferry.model import Clock, utc_text
from labferry.sandbox.http import Request

_SECRETS = {"password", "token", "client_secret", "access_token", "refresh_token", "code", "code_verifier"}


@dataclass(frozen=True)
class Outcome:
    """How a request ended.

    Attributes
    ----------
    status : int or None
        What the client was told; None if the connection was closed instead.
    applied : bool
        Whether the request was carried out, whatever the client was told.
    faults : list of int
        The rules that acted on it.
    """

    status: int | None
    applied: bool
    faults: list[int]


class RequestLog:
    """The requests so far, numbered from 1 in the order of their arrival.

    Parameters
    ----------
    path : Path
        The file; its lines are read back.
    clock : Clock
        Gives each line its time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: list[bytes] = path.read_bytes().splitlines() if path.exists() else []
        self._last = max((int(json.loads(line)["n"]) for line in self._lines), default=0)

    def arrived(self) -> int:
        """Return the number of a request that just arrived."""
        with self._lock:
            self._last += 1
            return self._last

    def ended(self, number: int, request: Request, outcome: Outcome) -> None:
        """Write a request down; called before its answer is sent."""
        entry = {
            "n": number,
            "at": utc_text(self._clock.now()),
            "method": request.method,
            "path": request.target,
            "body": _shown(request),
            "status": outcome.status,
            "applied": outcome.applied,
            "aborted": outcome.status is None,
            "faults": outcome.faults,
        }
        line = json.dumps(entry, ensure_ascii=False).encode()
        with self._lock:
            self._lines.append(line)
            with self._path.open("ab") as file:
                file.write(line + b"\n")

    def text(self, since: int = 0) -> bytes:
        """Return the lines of requests with a number above `since`, in the order in which they ended."""
        with self._lock:
            lines = list(self._lines)
        if since:
            lines = [line for line in lines if int(json.loads(line)["n"]) > since]
        return b"".join(line + b"\n" for line in lines)

    def clear(self) -> None:
        """Forget all lines; the numbers go on."""
        with self._lock:
            self._lines.clear()
            self._path.write_bytes(b"")


def _shown(request: Request) -> object:
    """Return the body as JSON, secrets masked; null if there was none."""
    if not request.body:
        return None
    try:
        body = json.loads(request.body)
    except ValueError:
        text = request.body.decode("utf-8", "backslashreplace")
        if "form-urlencoded" not in request.headers.get("content-type", ""):
            return text
        body = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
    if isinstance(body, Mapping):
        return {name: "***" if name in _SECRETS else value for name, value in body.items()}
    return body
