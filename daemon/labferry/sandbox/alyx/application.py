"""The sandbox's Alyx as one application: finds the route, asks who is calling, answers.

Room: sandbox.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from labferry.model import Clock
from labferry.sandbox.alyx import (
    auth,
    datasets,
    files,
    insertions,
    lookups,
    notes,
    registration,
    sessions,
    subjects,
    tasks,
    weights,
)
from labferry.sandbox.alyx.answers import FailedError, PageNotFoundError, RefusedError, detail
from labferry.sandbox.alyx.api import Call, Route
from labferry.sandbox.alyx.openapi import describe
from labferry.sandbox.alyx.store import Database, Store
from labferry.sandbox.http import Request, Response, json_response

RACE_WINDOW = 0.0003


@dataclass(frozen=True)
class Limits:
    """How often a user may ask: `requests` in `period` seconds; 0 requests means no limit."""

    requests: int = 0
    period: float = 60.0


class Alyx:
    """Answers requests as Alyx would.

    Parameters
    ----------
    store : Store
        Its state.
    clock : Clock
        What time it believes it is.
    limits : Limits
        The rate limit.
    race_window : float
        Seconds between looking for a dataset and creating it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limits: Limits = Limits(),
        race_window: float = RACE_WINDOW,
    ) -> None:
        self._store = store
        self._clock = clock
        self._race_window = race_window
        self._throttle = auth.Throttle(limits.requests, limits.period, clock)
        self.routes: tuple[Route, ...] = (
            *auth.ROUTES,
            *subjects.ROUTES,
            *lookups.ROUTES,
            *sessions.ROUTES,
            *registration.ROUTES,
            *datasets.ROUTES,
            *files.ROUTES,
            *insertions.ROUTES,
            *notes.ROUTES,
            *tasks.ROUTES,
            *weights.ROUTES,
            Route("/api/schema", {"GET": self._schema}, open=True),
        )
        self._description = describe(self.routes)

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        try:
            route, key = self._route(request)
        except PageNotFoundError as page:
            return page.response()
        with self._store.database() as db:
            response = self._answer(route, key, request, db)
        response.headers["Allow"] = route.allow
        return response

    def _route(self, request: Request) -> tuple[Route, str]:
        for route in self.routes:
            match = route.pattern.fullmatch(request.path)
            if match is not None:
                return route, match[1] if match.groups() else ""
        raise PageNotFoundError

    def _answer(self, route: Route, key: str, request: Request, db: Database) -> Response:
        try:
            user = auth.identify(request, db)
            if not route.open:
                auth.permit(user, request)
            if route.throttled:
                self._throttle.admit(user)
            method = "GET" if request.method == "HEAD" else request.method
            endpoint = route.methods.get(method)
            if endpoint is not None:
                return endpoint(Call(request, db, self._clock, key, user, self._race_window))
            if method == "OPTIONS":
                return json_response(200, {"name": route.path, "parses": ["application/json"]})
            raise detail(405, f'Method "{method}" not allowed.')
        except (RefusedError, FailedError) as refusal:
            return refusal.response()
        except (TypeError, ValueError, AttributeError, LookupError, sqlite3.Error) as error:
            return FailedError(str(error)).response()  # the real server, too, sends the text of what it did not expect

    def _schema(self, _: Call) -> Response:
        response = json_response(200, self._description)
        response.content_type = "application/vnd.oai.openapi+json"
        return response
