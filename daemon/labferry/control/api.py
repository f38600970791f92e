"""The control interface: which question is answered by which report, and who may change what.

Room: control. Knows requests and answers as values, nothing of sockets; documented in `docs/control.md`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import structlog

from labferry.config import GlobusArchive
from labferry.control.peers import Peer
from labferry.engine import operations
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.history import releasing
from labferry.engine.registering.explicit import register, wished_files
from labferry.engine.registering.preview import preview
from labferry.engine.registering.wish import Wish
from labferry.engine.replacing.explicit import archive
from labferry.engine.reports.backlog import LISTED, backlog
from labferry.engine.reports.doctor import doctor
from labferry.engine.reports.explain import explain
from labferry.engine.reports.find import find
from labferry.engine.reports.health import Severity
from labferry.engine.reports.history import events_fields, history
from labferry.engine.reports.jobs import jobs
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.logs import LINES, follow, logs
from labferry.engine.reports.match import match
from labferry.engine.reports.metrics import CONTENT_TYPE, metrics
from labferry.engine.reports.progress import ProgressNews
from labferry.engine.reports.sessions import sessions, show
from labferry.engine.reports.status import condition_fields, current_conditions, status
from labferry.engine.reports.verify import verify
from labferry.engine.reports.whois import whois
from labferry.errors import BlockedError, LabferryError, NotYetError, UnavailableError
from labferry.journal.backlog import ALL
from labferry.journal.rows import SessionRow

JSON = "application/json"
NDJSON = "application/x-ndjson"
PROGRESS_STEP = 2.0  # seconds between two words about how far transfers are
EVENT_STEP = 1.0  # seconds until new events are looked for, at the latest
LOG_STEP = 0.5
VERIFICATIONS = 2  # at once: one that reads every byte of a large session lasts, and keeps a disk busy
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
_log = structlog.get_logger()


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


class Api:
    """Answers requests from the reports; shared by all connections.

    Parameters
    ----------
    context : Context
    live : LiveState
    """

    def __init__(self, context: Context, live: LiveState) -> None:
        self._context = context
        self._live = live
        self._verifications = threading.BoundedSemaphore(VERIFICATIONS)
        self._looks: dict[str, Handler] = {
            "/v1/status": lambda _: status(context, live),
            "/v1/sessions": self._sessions,
            "/v1/session": self._session_asked_for,
            "/v1/explain": lambda request: explain(context, live, _path(request)),
            "/v1/match": lambda request: match(context, _path(request)),
            "/v1/whois": lambda request: whois(context, _needed(request.query, "subject")),
            "/v1/verify": self._verify,
            "/v1/doctor": lambda _: doctor(context, live),
            "/v1/jobs": lambda request: jobs(context, request.query.get("state", "")),
            "/v1/backlog": self._backlog,
            "/v1/history": self._history,
            "/v1/events": self._events,
            "/v1/logs": self._logs,
            "/healthz": self._healthz,
            "/metrics": lambda _: Reply(200, metrics(context, live).encode(), CONTENT_TYPE),
        }
        self._changes: dict[str, Handler] = {
            "/v1/jobs/retry": lambda r: operations.retry(context, self._chosen(r, operations.stuck)),
            "/v1/jobs/register": self._register,
            "/v1/jobs/archive": self._archive,
            "/v1/jobs/cancel": lambda r: operations.cancel(
                context, self._chosen(r, operations.unfinished), r.peer.user
            ),
            "/v1/jobs/hold": lambda r: operations.hold(context, self._chosen(r, operations.unfinished)),
            "/v1/jobs/release": lambda r: operations.release(context, self._chosen(r, lambda c, _: operations.held(c))),
            "/v1/backlog/release": lambda r: releasing.release(context, self._of_old(r, releasing.PORTION)),
            "/v1/backlog/ignore": lambda r: releasing.ignore(context, self._of_old(r, ALL), r.peer.user),
            "/v1/pause": lambda r: operations.pause(live, _text(r.body, "lane"), paused=True),
            "/v1/resume": lambda r: operations.pause(live, _text(r.body, "lane"), paused=False),
            "/v1/login": lambda r: operations.log_in(context, _text(r.body, "service")),
            "/v1/login/start": lambda r: operations.begin_login(context, replace=r.body.get("replace") is True),
            "/v1/login/finish": lambda r: operations.finish_login(context, _said(r.body, "auth_code")),
            "/v1/rescan": lambda r: operations.rescan(context, live, _text(r.body, "root")),
        }

    def answer(self, request: Request) -> Answer:
        """Answer a request; never raises for what an operator can cause."""
        try:
            found = self._handler(request)(request)
        except LabferryError as error:
            allowed = {"Allow": self._allowed(request.path)} if error.code == "method_not_allowed" else None
            return failure(error, headers=allowed)
        except Exception:  # noqa: BLE001 - top of a request: a fault in one report must not end the others
            _log.exception("control_fault", method=request.method, path=request.path)
            return failure(LabferryError("internal", "labferry failed to answer; its log has the details."))
        return found if isinstance(found, Reply | Stream) else success(found)

    def _handler(self, request: Request) -> Handler:
        """Return who answers.

        Raises
        ------
        LabferryError
            `not_found`, `method_not_allowed`, or `not_permitted`.
        """
        path = request.path
        allowed = self._allowed(path)
        if not allowed:
            raise LabferryError("not_found", f"There is nothing at {path}.", "See docs/control.md.")
        if request.method != allowed:
            raise LabferryError("method_not_allowed", f"{path} takes {allowed}, not {request.method}.")
        if allowed == "GET":
            return self._looks.get(path, self._session)
        if not request.peer.may_change(self._context.config.control.operators):
            raise LabferryError(
                "not_permitted",
                f"User {request.peer.user} may look, not change.",
                "Ask an operator, or add the user to `[control] operators`.",
            )
        _log.info("operator", user=request.peer.user, pid=request.peer.pid, order=path, **_loggable(request.body))
        return self._changes[path]

    def _allowed(self, path: str) -> str:
        if path in self._looks or path.startswith("/v1/sessions/"):
            return "GET"
        return "POST" if path in self._changes else ""

    # --- looking ------------------------------------------------------------------------------------------

    def _sessions(self, request: Request) -> Any:
        if "path" in request.query or "path_b64" in request.query:
            return self._session_at(request)
        wanted = {name: request.query.get(name, "") for name in ("state", "subject", "since", "root")}
        return sessions(self._context, **wanted)

    def _session_at(self, request: Request) -> Any:
        return show(self._context, find(self._context, _path(request)))

    def _session_asked_for(self, request: Request) -> Any:
        return show(self._context, find(self._context, _needed(request.query, "q")))

    def _session(self, request: Request) -> Any:
        key = unquote(request.path.removeprefix("/v1/sessions/"), errors="surrogateescape")
        if not key:
            return self._session_at(request)
        if not re.fullmatch(r"\d{1,18}", key):
            return show(self._context, find(self._context, key))
        row = self._context.journal.sessions.get(int(key))
        if row is None:
            raise LabferryError("no_such_session", f"There is no session with id {key}.")
        return show(self._context, row)

    def _verify(self, request: Request) -> Any:
        row = find(self._context, _needed(request.query, "session"))
        deep = _is_set(request.query, "deep")
        if deep and self._writes_to_look(row) and not request.peer.may_change(self._context.config.control.operators):
            raise LabferryError(
                "not_permitted",
                f"User {request.peer.user} may look, not let a collection copy files.",
                "Look without --deep, or ask an operator.",
            )
        if not self._verifications.acquire(blocking=False):
            raise LabferryError("busy", f"{VERIFICATIONS} sessions are being verified already.", "Ask again later.")
        try:
            return verify(self._context, row, deep=deep, gone=request.gone)
        finally:
            self._verifications.release()

    def _writes_to_look(self, row: SessionRow) -> bool:
        """Say whether a deep look at a session lets something be written: a collection hashes only what it copies."""
        archives = self._context.config.archive
        return any(isinstance(archives[name], GlobusArchive) for name in self._context.root_of(row).archive)

    def _backlog(self, request: Request) -> Any:
        wanted = {name: request.query.get(name, "") for name in ("root", "subject")}
        return backlog(self._context, **wanted, limit=_number(request.query, "limit", LISTED))

    def _history(self, request: Request) -> Any:
        row = find(self._context, _needed(request.query, "session"))
        return history(self._context, row, _number(request.query, "since", 0))

    def _events(self, request: Request) -> Stream:
        follow = _is_set(request.query, "follow")
        first = self._context.journal.last_event() if follow else 0
        news = ProgressNews(self._context) if follow and _is_set(request.query, "progress") else None
        return Stream(self._event_steps(_number(request.query, "since", first), follow, news), endless=follow)

    def _event_steps(self, since: int, follow: bool, news: ProgressNews | None) -> Iterator[list[dict[str, Any]]]:
        """Yield events, and between them, where that is asked for, how far the transfers are."""
        journal, wakeup, clock = self._context.journal, self._context.wakeup, self._context.clock
        told_at = clock.monotonic()
        while True:
            heard = wakeup.rings
            events = journal.events(since)
            yield events_fields(self._context, events)
            if events:
                since = events[-1].id
            if news is not None and clock.monotonic() - told_at >= PROGRESS_STEP:
                told_at = clock.monotonic()
                yield news.since_last_time(since)
            if events:
                continue
            if follow:
                wakeup.wait(heard, EVENT_STEP)
            else:
                return

    def _logs(self, request: Request) -> Stream:
        row = find(self._context, request.query["session"]) if request.query.get("session") else None
        lines = _number(request.query, "lines", LINES)
        if _is_set(request.query, "follow"):
            return Stream(self._log_steps(row, lines), endless=True)
        return Stream(iter([logs(self._live, row, lines)]), endless=False)

    def _log_steps(self, row: SessionRow | None, lines: int) -> Iterator[list[dict[str, Any]]]:
        wakeup = self._context.wakeup
        for entries in follow(self._live, row, lines):
            heard = wakeup.rings
            yield entries
            if not entries:
                wakeup.wait(heard, LOG_STEP)

    def _healthz(self, _: Request) -> Reply:
        reasons = [one for one in current_conditions(self._context, self._live) if one.severity is Severity.ERROR]
        data = {"healthy": not reasons, "reasons": [condition_fields(one) for one in reasons]}
        return success(data, 503 if reasons else 200)

    # --- changing -----------------------------------------------------------------------------------------

    def _register(self, request: Request) -> dict[str, Any]:
        """Register a session as asked for, or say what would be sent."""
        body = request.body
        named = _text(body, "session")
        if not named:
            raise LabferryError("bad_request", 'Name one "session".')
        row = find(self._context, named)
        names, raw = _texts(body, "files"), body.get("raw") is True
        if names and raw:
            raise LabferryError("bad_request", 'Say "raw", or name "files".')
        files = wished_files(self._context, row, names) if names else frozenset()
        wish = Wish(raw, files, body.get("overwrite") is True)
        return preview(self._context, row, wish) if body.get("dry_run") is True else register(self._context, row, wish)

    def _archive(self, request: Request) -> dict[str, Any]:
        """Archive a session as asked for."""
        body = request.body
        named = _text(body, "session")
        if not named:
            raise LabferryError("bad_request", 'Name one "session".')
        replace, trust_size = body.get("replace") is True, body.get("trust_size") is True
        asked = Asked(replace, trust_size, request.peer.user if replace or trust_size else "")
        return archive(self._context, find(self._context, named), asked)

    def _chosen(self, request: Request, everything: Callable[[Context, str], list[SessionRow]]) -> list[SessionRow]:
        """Return the session the body names, or `everything` (with the code it names) for `"all": true`."""
        named = _text(request.body, "session")
        if bool(named) == (request.body.get("all") is True):
            raise LabferryError("bad_request", 'Name one "session", or say "all": true.')
        return [find(self._context, named)] if named else everything(self._context, _text(request.body, "code"))

    def _of_old(self, request: Request, portion: int) -> list[SessionRow]:
        """Return the session of old that the body names, or a portion of the backlog."""
        body = request.body
        if named := _text(body, "session"):
            return [releasing.require_history(find(self._context, named))]
        limit = body.get("limit")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise LabferryError("bad_request", '"limit" is not a number of sessions.')
        return releasing.chosen(self._context, _text(body, "root"), _text(body, "subject"), limit or portion)


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise LabferryError("bad_request", f'"{name}" is not a list of texts.')
    return value


def _path(request: Request) -> str:
    encoded = request.query.get("path_b64")
    if encoded is None:
        return _needed(request.query, "path")
    try:
        return os.fsdecode(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        raise LabferryError("bad_request", "path_b64 is not base64.") from None


def _needed(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise LabferryError("bad_request", f"The parameter {name} is missing.")
    return query[name]


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"\d{1,18}", text):
        raise LabferryError("bad_request", f"The parameter {name} is not a whole number: {text}.")
    return int(text)


def _is_set(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "") not in {"", "0", "false"}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise LabferryError("bad_request", f'"{name}" is not a text.')
    return value or ""


def _said(body: Mapping[str, Any], name: str) -> str:
    if value := _text(body, name):
        return value
    raise LabferryError("bad_request", f'"{name}" is missing.')


def _loggable(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an order is worth a line in the log."""
    which = ("session", "all", "code", "lane", "root", "subject", "limit", "service")
    worth = (*which, "raw", "files", "overwrite", "dry_run", "replace", "trust_size")
    return {name: body[name] for name in worth if name in body}
