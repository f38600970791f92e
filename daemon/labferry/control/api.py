"""The control interface: what there is to ask and to order, and who may order.

Room: control. Knows requests and answers as values, nothing of sockets; documented in `docs/control.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from labferry.control.messages import Answer, Handler, Reply, Request, Stream, failure, success
from labferry.control.orders import Orders
from labferry.control.questions import Questions
from labferry.engine.context import Context
from labferry.engine.reports.live import LiveState
from labferry.errors import LabferryError

_log = structlog.get_logger()


class Api:
    """Finds who answers a request, and answers; shared by all connections.

    Parameters
    ----------
    context : Context
    live : LiveState
    """

    def __init__(self, context: Context, live: LiveState) -> None:
        self._context = context
        self._questions = Questions(context, live)
        self._looks = self._questions.routes
        self._changes = Orders(context, live).routes

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
            return self._looks.get(path, self._questions.session)
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


def _loggable(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an order is worth a line in the log."""
    which = ("session", "all", "code", "lane", "root", "subject", "limit", "service")
    worth = (*which, "raw", "files", "overwrite", "dry_run", "replace", "trust_size", "accept_missing")
    return {name: body[name] for name in worth if name in body}
