"""How long Alyx is given to finish a request whose answer was lost (ruling 13)."""

from __future__ import annotations

from labferry.engine.elapsed import Elapsed
from labferry.errors import NotYetError
from labferry.model import Clock


class Patience:
    """Stop watches over what was sent, shared by the lanes that register.

    Parameters
    ----------
    clock : Clock
    least : float
        Seconds that Alyx is given at least; three times what it took for the slowest request of this life is the other
        bound.
    """

    def __init__(self, clock: Clock, least: float) -> None:
        self.elapsed = Elapsed(clock)
        self._least = least
        self._slowest = 0.0

    def sent(self, job_id: int, step: str) -> None:
        """Start the watch of a step."""
        self.elapsed.begin(job_id, step)

    def answered(self, job_id: int, step: str) -> None:
        """Learn from an answer how long Alyx may take."""
        self._slowest = max(self._slowest, self.elapsed.seconds(job_id, step))

    def require_over(self, job_id: int, step: str) -> None:
        """Insist that whatever was sent has had its time.

        Raises
        ------
        NotYetError
            `files_in_flight`.
        """
        wait = max(self._least, 3 * self._slowest) - self.elapsed.seconds(job_id, step)
        if wait > 0:
            raise NotYetError("files_in_flight", "the answer to the last request was lost; Alyx is given time", wait)
