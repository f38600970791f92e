"""The lane of one Globus target: it alone speaks with its client, and never waits for bytes.

Tasks that are due for a look come first, then jobs, and a new task is filled when no job is due any more: so
everything that is ready travels together.
"""

from __future__ import annotations

from labferry.archive.base import StoppedError
from labferry.archive.globus.service import GlobusService
from labferry.engine.context import GLOBUS
from labferry.engine.globus.stage import GlobusStage
from labferry.engine.globus.tending import Tending
from labferry.engine.worker import Shared, StoppedEarly, Worker
from labferry.errors import UnavailableError
from labferry.model import Stage


class GlobusLane(Worker):
    """Archive jobs of one Globus target, and its tasks."""

    def __init__(
        self,
        name: str,
        stage: GlobusStage,
        tending: Tending,
        service: GlobusService,
        shared: Shared,
        *,
        needs: tuple[str, ...],
        target: str,
    ) -> None:
        super().__init__(name, {Stage.ARCHIVE: stage}, shared, needs=needs, target=target)
        self._tending = tending
        self._service = service

    def turn(self) -> float:
        """Do one thing: look at the tasks, run a job, or fill a task."""
        try:
            return self._turn()
        except UnavailableError as error:
            self._note_dependency(error)
            return 0.0
        except (StoppedError, StoppedEarly):
            return 0.0

    def _turn(self) -> float:
        until_poll = self._tending.seconds_until_poll()
        if until_poll <= 0:
            closed = self._dependencies.open_for(GLOBUS)
            if closed > 0:
                return closed
            self._tending.poll(self.beat)
            return 0.0
        pause = super().turn()
        if pause > 0 and self._tending.can_fill() and self._closed() <= 0:
            self._tending.fill(self.beat)
            return 0.0
        return min(pause, until_poll)

    def tidy(self) -> None:
        """Let go of the service."""
        self._service.close()
