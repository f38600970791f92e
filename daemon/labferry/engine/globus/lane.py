"""The lane of one Globus target: it alone speaks with its client, and never waits for bytes.

Tasks that are due for a look come first, then jobs, and a new task is filled when no job is due any more: so
everything that is ready travels together. Where jobs never cease to be due, a task is filled now and then all the
same.
"""

from __future__ import annotations

from labferry.archive.base import StoppedError
from labferry.archive.globus.service import GlobusService
from labferry.engine.context import GLOBUS
from labferry.engine.globus.preflight import Preflight
from labferry.engine.globus.stage import GlobusStage
from labferry.engine.globus.tending import NEVER, Tending
from labferry.engine.lanes import IDLE_BEAT
from labferry.engine.worker import Shared, StoppedEarly, Worker
from labferry.errors import LabferryError, UnavailableError
from labferry.journal import JOURNAL
from labferry.model import Stage

FILL_EVERY = 60.0  # seconds after which what is ready waits no longer for what is not


class GlobusLane(Worker):
    """Archive jobs of one Globus target, and its tasks."""

    def __init__(
        self,
        name: str,
        stage: GlobusStage,
        tending: Tending,
        service: GlobusService,
        preflight: Preflight,
        shared: Shared,
        *,
        needs: tuple[str, ...],
        target: str,
    ) -> None:
        super().__init__(name, {Stage.ARCHIVE: stage}, shared, needs=needs, target=target)
        self._tending = tending
        self._service = service
        self._preflight = preflight
        self._fill_by = 0.0
        self._is_logged_out = False

    def turn(self) -> float:
        """Do one thing: look at the tasks, run a job, or fill a task.

        Raises
        ------
        UnavailableError
            The journal cannot be written.
        """
        try:
            return self._turn()
        except UnavailableError as error:
            if error.dependency == JOURNAL:
                raise
            self._note_dependency(error)
            return 0.0
        except LabferryError as error:  # about no session and no file: Globus says what it should never say
            self._note_dependency(UnavailableError(GLOBUS, "globus_down", error.message))
            return 0.0
        except (StoppedError, StoppedEarly):
            return 0.0

    def _turn(self) -> float:
        if not self._is_logged_in():
            return IDLE_BEAT
        until_poll = self._tending.seconds_until_poll()
        if until_poll <= 0:
            closed = self._dependencies.open_for(GLOBUS)
            if closed > 0:
                return closed
            self._tending.poll(self.beat)
            return 0.0
        if self._clock.monotonic() >= self._fill_by and self._filled():
            return 0.0
        pause = super().turn()
        if pause > 0 and self._filled():
            return 0.0
        if self._preflight.is_due() and self._closed() == 0:
            self._preflight.look_again(self.beat)
            return 0.0
        return min(pause, until_poll, self._until_retried())

    def _is_logged_in(self) -> bool:
        """Say whether Globus can be asked at all: without a login nothing is claimed, so no attempt is lost.

        A new login, whoever wrote it down, is used at once.
        """
        try:
            self._service.require_login()
        except UnavailableError as error:
            self._is_logged_out = True
            self._note_dependency(error)
            return False
        if self._is_logged_out:
            self._is_logged_out = False
            self._dependencies.hurry()
        return True

    def _until_retried(self) -> float:
        """Return the seconds until a task that was not filled because of an outage may be filled after all."""
        if not self._is_shut() or not self._tending.can_fill():
            return NEVER
        now = self._clock.monotonic()
        until = [one.closed_until for one in self._dependencies.snapshot() if one.name in self._needs]
        return max(0.0, max(until) - now)

    def _filled(self) -> bool:
        """Fill a task if one may be filled now; say whether there was anything to fill it with."""
        self._fill_by = self._clock.monotonic() + FILL_EVERY
        if self._is_shut() or not self._tending.can_fill() or self._closed() > 0:
            return False
        self._tending.fill(self.beat)
        return True

    def _is_shut(self) -> bool:
        """Say whether something that is needed is not to be tried yet; unlike `_closed`, asking is no probe."""
        now = self._clock.monotonic()
        return any(one.name in self._needs and now < one.closed_until for one in self._dependencies.snapshot())

    def tidy(self) -> None:
        """Let go of the service."""
        self._service.close()
