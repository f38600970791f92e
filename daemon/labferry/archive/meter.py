"""Archive room: counting what is done, telling it to the caller, and stopping when the caller says so."""

from __future__ import annotations

from collections.abc import Callable, Collection

from labferry.archive.base import StoppedError
from labferry.archive.plan import Item, Plan, Progress


class Meter:
    """The progress of one plan.

    Parameters
    ----------
    plan : Plan
        Gives the totals.
    finished : collection of bytes
        Destinations that count as done from the start.
    report, stop : callable
        As for `Archive.advance`.
    """

    def __init__(
        self,
        plan: Plan,
        finished: Collection[bytes],
        report: Callable[[Progress], None],
        stop: Callable[[], bool],
    ) -> None:
        done = [item.size for item in plan.items if item.destination in finished]
        self._bytes_total = sum(item.size for item in plan.items)
        self._files_total = len(plan.items)
        self._bytes_done = sum(done)
        self._files_done = len(done)
        self._current = 0
        self._report = report
        self._stop = stop

    def alive(self) -> None:
        """Tell how far it is, unless it is to end here.

        Raises
        ------
        StoppedError
            The caller wants an end.
        """
        if self._stop():
            raise StoppedError
        self.tell()

    def tell(self) -> None:
        """Tell how far it is."""
        self._report(Progress(self._bytes_done + self._current, self._bytes_total, self._files_done, self._files_total))

    def start_file(self) -> None:
        """Begin a file, or begin it once more."""
        self._current = 0
        self.alive()

    def moved(self, count: int) -> None:
        """Count bytes of the current file."""
        self._current += count
        self.alive()

    def read_back(self, _: int) -> None:
        """Show life while bytes are read that were counted already."""
        self.alive()

    def finish_file(self, item: Item) -> None:
        """Count a file as done."""
        self._bytes_done += item.size
        self._files_done += 1
        self._current = 0
