"""What may be asked: which question is answered by which report."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import unquote

from labferry.config import GlobusArchive
from labferry.control.messages import Handler, Reply, Request, success
from labferry.control.parameters import is_set, needed, number, path_of, usable
from labferry.control.streams import event_stream, log_stream
from labferry.engine.context import Context
from labferry.engine.reports.backlog import LISTED, backlog
from labferry.engine.reports.doctor import doctor
from labferry.engine.reports.explain import explain
from labferry.engine.reports.find import find
from labferry.engine.reports.health import in_the_way
from labferry.engine.reports.history import history
from labferry.engine.reports.jobs import jobs
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.match import match
from labferry.engine.reports.metrics import CONTENT_TYPE, metrics
from labferry.engine.reports.sessions import sessions, show
from labferry.engine.reports.status import condition_fields, current_conditions, status
from labferry.engine.reports.verify import verify
from labferry.engine.reports.whois import whois
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow

VERIFICATIONS = 2  # at once: one that reads every byte of a large session lasts, and keeps a disk busy


class Questions:
    """Answers what changes nothing, for everybody who may look.

    Parameters
    ----------
    context : Context
    live : LiveState

    Attributes
    ----------
    routes : dict
        Who answers, by path; `session` answers for the paths of single sessions.
    """

    def __init__(self, context: Context, live: LiveState) -> None:
        self._context = context
        self._live = live
        self._verifications = threading.BoundedSemaphore(VERIFICATIONS)
        self.routes: dict[str, Handler] = {
            "/v1/status": lambda _: status(context, live),
            "/v1/sessions": self._sessions,
            "/v1/session": self._session_asked_for,
            "/v1/explain": lambda request: explain(context, live, path_of(request)),
            "/v1/match": lambda request: match(context, path_of(request)),
            "/v1/whois": lambda request: whois(context, needed(request.query, "subject")),
            "/v1/verify": self._verify,
            "/v1/doctor": lambda _: doctor(context, live),
            "/v1/jobs": lambda request: jobs(context, request.query.get("state", "")),
            "/v1/backlog": self._backlog,
            "/v1/history": self._history,
            "/v1/events": lambda request: event_stream(context, request),
            "/v1/logs": lambda request: log_stream(context, live, request),
            "/healthz": self._healthz,
            "/metrics": lambda _: Reply(200, metrics(context, live).encode(), CONTENT_TYPE),
        }

    def _sessions(self, request: Request) -> Any:
        if "path" in request.query or "path_b64" in request.query:
            return self._session_at(request)
        wanted = {name: request.query.get(name, "") for name in ("state", "subject", "since", "root")}
        return sessions(self._context, **wanted)

    def _session_at(self, request: Request) -> Any:
        return show(self._context, find(self._context, path_of(request)))

    def _session_asked_for(self, request: Request) -> Any:
        return show(self._context, find(self._context, needed(request.query, "q")))

    def session(self, request: Request) -> Any:
        """Answer for the path of one session, which ends with its key."""
        key = unquote(request.path.removeprefix("/v1/sessions/"), errors="surrogateescape")
        if not key:
            return self._session_at(request)
        if not re.fullmatch(r"\d{1,18}", key):
            return show(self._context, find(self._context, usable(key, "the session")))
        row = self._context.journal.sessions.get(int(key))
        if row is None:
            raise LabferryError("no_such_session", f"There is no session with id {key}.")
        return show(self._context, row)

    def _verify(self, request: Request) -> Any:
        row = find(self._context, needed(request.query, "session"))
        deep = is_set(request.query, "deep")
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
        return backlog(self._context, **wanted, limit=number(request.query, "limit", LISTED))

    def _history(self, request: Request) -> Any:
        row = find(self._context, needed(request.query, "session"))
        return history(self._context, row, number(request.query, "since", 0))

    def _healthz(self, _: Request) -> Reply:
        reasons = in_the_way(current_conditions(self._context, self._live))
        data = {"healthy": not reasons, "reasons": [condition_fields(one) for one in reasons]}
        return success(data, 503 if reasons else 200)
