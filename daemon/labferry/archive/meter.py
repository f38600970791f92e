"""Archive room: counting what is done, telling it to the caller, and stopping when the caller says so.

Files may be under way in several threads at once; what is told is told by one of them at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

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

    Attributes
    ----------
    calling : threading.Lock
        Held while the caller is told something, whatever it is: it may write down together what it heard one by one.
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
        self._report = report
        self._stop = stop
        self.calling = threading.Lock()

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
        with self.calling:
            self._report(Progress(self._bytes_done, self._bytes_total, self._files_done, self._files_total))

    @contextmanager
    def file(self, item: Item) -> Iterator[FileMeter]:
        """Count one file while it is under way; what does not get to its end was not done."""
        one = FileMeter(self)
        try:
            yield one
        except BaseException:
            one.take_back()
            raise
        self.count(item.size - one.bytes_done, files=1)

    def count(self, size: int, files: int = 0) -> None:
        """Count bytes, and files, as done."""
        with self.calling:
            self._bytes_done += size
            self._files_done += files


class FileMeter:
    """What is done of one file; used by the thread that carries it."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.bytes_done = 0

    def start(self) -> None:
        """Begin the file, or begin it once more."""
        self.take_back()
        self._meter.alive()

    def moved(self, count: int) -> None:
        """Count bytes of the file."""
        self.bytes_done += count
        self._meter.count(count)
        self._meter.alive()

    def read_back(self, _: int) -> None:
        """Show life while bytes are read that were counted already."""
        self._meter.alive()

    def take_back(self) -> None:
        """Count nothing of the file any more."""
        self._meter.count(-self.bytes_done)
        self.bytes_done = 0
