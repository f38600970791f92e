"""The lane that asks Alyx about history: one old session after the other, whenever nobody else needs Alyx."""

from __future__ import annotations

import structlog

from labferry.engine.context import ALYX, Context
from labferry.engine.history.allowance import Allowance
from labferry.engine.history.asking import Asking, Finding
from labferry.engine.lanes import IDLE_BEAT, LaneThread
from labferry.errors import LabferryError, NotYetError, UnavailableError, UnexplainedError
from labferry.journal import JOURNAL
from labferry.journal.rows import SessionRow
from labferry.model import History, Stage, show_path

LIVE_WORK = (Stage.RESOLVE, Stage.REGISTER)  # has the way
YIELD = 1.0  # seconds
IN_A_ROW = 100  # questions, until it is looked whether somebody is at work on an old session: it has the next one
PUT_OFF = 600.0  # seconds until a session that could not be asked about is tried again
_log = structlog.get_logger()


class HistoryLane(LaneThread):
    """Works through the sessions about which Alyx was not asked yet.

    They have no jobs: nothing is sent, so nothing has to be remembered but that the question is open. A kill at any
    moment leaves it open.

    Parameters
    ----------
    name : str
    context : Context
    allowance : Allowance or None
        How often Alyx may be asked.
    """

    def __init__(self, name: str, context: Context, allowance: Allowance | None = None) -> None:
        super().__init__(name, context.wakeup, context.clock)
        self._context = context
        self._allowance = allowance or Allowance(context.clock)
        self._asking = Asking(context, self._allowance)
        self._todo: list[int] = []  # the next one last
        self._put_off: dict[int, float] = {}  # until when, monotonic

    def turn(self) -> float:
        """Ask about one session, if Alyx may be asked now."""
        session = self._next()
        if session is None:
            return IDLE_BEAT
        if (rest := self._allowance.wait()) > 0:
            return rest
        if self._live_work_is_due():
            return YIELD
        if (closed := self._context.dependencies.open_for(ALYX)) > 0:
            return closed
        self._ask(session)
        return 0.0

    def _next(self) -> SessionRow | None:
        """Return the session whose turn it is; None when there is none."""
        if not self._todo:
            now = self._context.clock.monotonic()
            ids = self._context.journal.backlog.unasked()
            self._todo = [one for one in reversed(ids) if self._put_off.get(one, now) <= now][-IN_A_ROW:]
        while self._todo:
            session = self._context.journal.sessions.get(self._todo[-1])
            if session is not None and session.history is History.UNASKED and is_there(session):
                return session
            self._todo.pop()
        return None

    def _live_work_is_due(self) -> bool:
        jobs, now = self._context.journal.jobs, self._context.clock.now()
        return any((due := jobs.next_due(stage)) is not None and due <= now for stage in LIVE_WORK)

    def _ask(self, session: SessionRow) -> None:
        """Ask about a session and write down what becomes of it."""
        context = self._context
        log = _log.bind(root=session.root, session=show_path(session.path))
        try:
            finding = self._asking(session, self.beat)
        except UnavailableError as error:
            if error.dependency == JOURNAL:
                raise
            if context.dependencies.went_down(error):
                log.warning("dependency_down", dependency=error.dependency, code=error.code, why=error.message)
            return
        except (NotYetError, UnexplainedError) as error:
            log.info("history_put_off", code=error.code, why=error.message)
            self._put_off[session.id] = context.clock.monotonic() + PUT_OFF
            self._todo.pop()
            return
        except LabferryError as error:
            finding = Finding(History.BACKLOG, error.code, error.message)
        except Exception as error:
            log.exception("unexpected")
            finding = Finding(History.BACKLOG, "crash", f"{type(error).__name__}: {error}")
        self._write_down(session, finding)
        self._todo.pop()

    def _write_down(self, session: SessionRow, finding: Finding) -> None:
        """Commit what becomes of a session."""
        journal = self._context.journal
        with journal.together():
            owner = journal.sessions.reclaim_key(session.id) if finding.history is History.ADOPTED else None
            if owner is not None:
                where = f"{show_path(owner.path)} below root {owner.root}"
                why = f"the same subject, date and number are claimed by {where}"
                finding = Finding(History.BACKLOG, "same_session_elsewhere", why, finding.eid, finding.lab)
            now = journal.sessions.get(session.id) or session  # its signal may have come in the middle of the question
            live = now.signal is not None and (finding.history is not History.ADOPTED or bool(finding.code))
            if live:
                journal.backlog.was_live(session.id)
            else:
                journal.backlog.judge(
                    session.id, finding.history, finding.code, finding.why, eid=finding.eid, lab=finding.lab
                )
        state = "live" if live else finding.history
        _log.info(
            "history",
            root=session.root,
            session=show_path(session.path),
            state=state,
            code=finding.code,
            why=finding.why,
        )


def is_there(session: SessionRow) -> bool:
    """Say whether a session may be looked at: its folder was there at the last scan, and nobody leaves it alone."""
    return session.vanished_at is None and session.held_at is None and session.excluded_at is None
