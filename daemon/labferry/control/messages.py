"""What goes over the control interface as values: a request, an answer in one piece or in steps, and its envelope."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labferry.control.peers import Peer
from labferry.errors import BlockedError, LabferryError, NotYetError, UnavailableError

JSON = "application/json"
NDJSON = "application/x-ndjson"
HTTP_STATUS = {
    "not_permitted": 403,
    "no_such_session": 404,
    "no_such_path": 404,
    "no_log_file": 404,
    "not_found": 404,
    "outside_roots": 404,
    "method_not_allowed": 405,
    "several_sessions": 409,
    "other_session": 409,
    "not_a_dataset": 409,
    "not_registering": 409,
    "no_archive": 409,
    "not_resolved": 409,
    "not_settled": 409,
    "not_history": 409,
    "no_globus": 409,
    "no_person_needed": 409,
    "no_login_begun": 409,
    "source_missing": 409,
    "too_large": 413,
    "busy": 503,
    "internal": 500,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A question or an order.

    Attributes
    ----------
    method : str
    path : str
        As sent, still percent-encoded, without the query.
    query : mapping
        Decoded; of a repeated name the last value. Bytes that are not UTF-8 are surrogate escapes.
    body : mapping
        The JSON object that was sent; empty without one.
    peer : Peer
    gone : callable
        True when nobody waits for the answer any more.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    peer: Peer
    gone: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in one piece."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in steps of JSON objects, one per line; an empty step means that nothing happened.

    `endless` ones end with the connection or the daemon.
    """

    steps: Iterator[list[dict[str, Any]]]
    endless: bool


Answer = Reply | Stream
Handler = Callable[[Request], Any]


def success(data: Any, status: int = 200) -> Reply:
    """Return data in its envelope."""
    return Reply(status, _encoded({"schema": 1, "ok": True, "data": data, "error": None}))


def failure(error: LabferryError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error in its envelope; its HTTP status follows from its code."""
    if status is None:
        status = _status(error)
    content = {"code": error.code, "message": error.message, "hint": error.hint}
    return Reply(status, _encoded({"schema": 1, "ok": False, "data": None, "error": content}), headers=headers or {})


def _status(error: LabferryError) -> int:
    if isinstance(error, UnavailableError | NotYetError):
        return 503
    return HTTP_STATUS.get(error.code, 409 if isinstance(error, BlockedError) else 400)


def _encoded(envelope: Mapping[str, Any]) -> bytes:
    return json.dumps(envelope, separators=(",", ":")).encode("ascii") + b"\n"
