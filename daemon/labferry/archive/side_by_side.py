"""Archive room: the files of one plan on their way in a few threads at once.

A checksum keeps one processor busy and a sync keeps a thread waiting for the disk: two threads do the one while they
wait for the other. They are daemon threads, as lanes are: one that hangs on a dead mount must not hold up the end of
the process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from labferry.archive.plan import Item
from labferry.errors import BlockedError

Numbered = tuple[int, Item]


class SideBySide:
    """Files handed out one by one, until none is left or somebody ends it.

    Parameters
    ----------
    files : iterable of (int, Item)
        With their places in the plan.
    carry : callable
        Brings one file over.
    between : callable
        Called before every file but the first; what it raises ends the work there, and the files under way are
        finished.

    Attributes
    ----------
    failed : bool
        Somebody met what concerns all files: those under way are to be given up too.
    """

    def __init__(
        self, files: Iterable[Numbered], carry: Callable[[int, Item], None], between: Callable[[], None]
    ) -> None:
        self._waiting = deque(files)
        self._carry = carry
        self._between = between
        self._lock = threading.Lock()
        self._begun = False
        self._problems: list[tuple[int, BlockedError]] = []
        self._end: BaseException | None = None
        self.failed = False

    def work(self, threads: int) -> list[BlockedError]:
        """Carry all files with so many threads, this one included; return what a person must act upon, in order.

        Raises
        ------
        BaseException
            The first thing, other than a `BlockedError`, that was raised in any of them.
        """
        here = threading.current_thread().name
        others = [
            threading.Thread(target=self._work, name=f"{here}-{number}", daemon=True)
            for number in range(2, min(threads, len(self._waiting)) + 1)
        ]
        for other in others:
            other.start()
        self._work()
        for other in others:
            other.join()
        if self._end is not None:
            raise self._end
        return [problem for _, problem in sorted(self._problems, key=lambda one: one[0])]

    def _work(self) -> None:
        while (file := self._next()) is not None:
            number, item = file
            try:
                self._carry(number, item)
            except BlockedError as problem:
                self._problems.append((number, problem))
            except BaseException as error:  # noqa: BLE001 - raised again where all threads have ended
                with self._lock:
                    self.failed = True
                    self._end = self._end or error

    def _next(self) -> Numbered | None:
        with self._lock:
            if self._end is None and self._begun and self._waiting:
                try:
                    self._between()
                except BaseException as error:  # noqa: BLE001 - likewise
                    self._end = error
            self._begun = True
            return self._waiting.popleft() if self._waiting and self._end is None else None
