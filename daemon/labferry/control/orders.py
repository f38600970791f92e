"""What may be ordered: which order is carried out by what, for which sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labferry.control.messages import Handler, Request
from labferry.control.parameters import needed_text, text_of, texts_of
from labferry.engine import operations
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.history import releasing
from labferry.engine.registering.explicit import register, wished_files
from labferry.engine.registering.preview import preview
from labferry.engine.registering.wish import Wish
from labferry.engine.replacing.explicit import archive
from labferry.engine.reports.find import find
from labferry.engine.reports.live import LiveState
from labferry.errors import LabferryError
from labferry.journal.backlog import ALL
from labferry.journal.rows import SessionRow


class Orders:
    """Carries out what changes something; whether one may was looked at before.

    Parameters
    ----------
    context : Context
    live : LiveState

    Attributes
    ----------
    routes : dict
        Who carries it out, by path.
    """

    def __init__(self, context: Context, live: LiveState) -> None:
        self._context = context
        self.routes: dict[str, Handler] = {
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
            "/v1/pause": lambda r: operations.pause(live, text_of(r.body, "lane"), paused=True),
            "/v1/resume": lambda r: operations.pause(live, text_of(r.body, "lane"), paused=False),
            "/v1/login": lambda r: operations.log_in(context, text_of(r.body, "service")),
            "/v1/login/start": lambda r: operations.begin_login(context, replace=r.body.get("replace") is True),
            "/v1/login/finish": lambda r: operations.finish_login(context, needed_text(r.body, "auth_code")),
            "/v1/rescan": lambda r: operations.rescan(
                context, live, text_of(r.body, "root"), accept_missing=r.body.get("accept_missing") is True
            ),
        }

    def _register(self, request: Request) -> dict[str, Any]:
        """Register a session as asked for, or say what would be sent."""
        body = request.body
        named = text_of(body, "session")
        if not named:
            raise LabferryError("bad_request", 'Name one "session".')
        row = find(self._context, named)
        names, raw = texts_of(body, "files"), body.get("raw") is True
        if names and raw:
            raise LabferryError("bad_request", 'Say "raw", or name "files".')
        files = wished_files(self._context, row, names) if names else frozenset()
        wish = Wish(raw, files, body.get("overwrite") is True)
        return preview(self._context, row, wish) if body.get("dry_run") is True else register(self._context, row, wish)

    def _archive(self, request: Request) -> dict[str, Any]:
        """Archive a session as asked for."""
        body = request.body
        named = text_of(body, "session")
        if not named:
            raise LabferryError("bad_request", 'Name one "session".')
        replace, trust_size = body.get("replace") is True, body.get("trust_size") is True
        asked = Asked(replace, trust_size, request.peer.user if replace or trust_size else "")
        return archive(self._context, find(self._context, named), asked)

    def _chosen(self, request: Request, everything: Callable[[Context, str], list[SessionRow]]) -> list[SessionRow]:
        """Return the session the body names, or `everything` (with the code it names) for `"all": true`."""
        named = text_of(request.body, "session")
        if bool(named) == (request.body.get("all") is True):
            raise LabferryError("bad_request", 'Name one "session", or say "all": true.')
        return [find(self._context, named)] if named else everything(self._context, text_of(request.body, "code"))

    def _of_old(self, request: Request, portion: int) -> list[SessionRow]:
        """Return the session of old that the body names, or a portion of the backlog."""
        body = request.body
        if named := text_of(body, "session"):
            return [releasing.require_history(find(self._context, named))]
        limit = body.get("limit")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise LabferryError("bad_request", '"limit" is not a number of sessions.')
        return releasing.chosen(self._context, text_of(body, "root"), text_of(body, "subject"), limit or portion)
