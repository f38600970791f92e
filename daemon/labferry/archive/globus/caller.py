"""Archive room: blocking calls on one thread of their own, each with an end.

The SDK waits where nobody can interrupt it, and its clients belong to one thread. So calls run on a thread that
the lane may leave behind: one that was given up on is never used again, nor is the tool it works with, and it
does not keep the process from ending. Nothing is touched from here but what the given functions touch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from labferry.archive.base import StoppedError
from labferry.archive.globus.faults import GLOBUS
from labferry.errors import UnavailableError

_LOOK_EVERY = 0.2  # seconds between two looks at `stop`


class Closable(Protocol):
    """What calls work with."""

    def close(self) -> None:
        """Give back what it holds."""


ToolT = TypeVar("ToolT", bound=Closable)
T = TypeVar("T")


class Caller(Generic[ToolT]):
    """Runs functions one after the other on its own thread; may itself be used by several threads.

    Parameters
    ----------
    make : callable
        Makes what the functions work with, a new one for each thread; must not block.
    """

    def __init__(self, make: Callable[[], ToolT]) -> None:
        self._make = make
        self._turn = threading.Lock()
        self._thread: _Thread[ToolT] | None = None

    def call(self, function: Callable[[ToolT], T], what: str, *, seconds: float, stop: Callable[[], bool]) -> T:
        """Return what `function` returns, or raise what it raises.

        Parameters
        ----------
        function : callable
            May block for any time.
        what : str
            What it does, for the message when it takes too long.
        seconds : float
            How long it may take; waiting for another caller's function does not count.
        stop : callable
            Asked several times a second.

        Raises
        ------
        StoppedError
            `stop` said so; the function may still be carried out.
        UnavailableError
            `globus_down`: the time is up; the function may still be carried out.
        """
        with self._my_turn(stop):
            if self._thread is None:
                self._thread = _Thread(self._make())
            answer = self._thread.run(function)
            ends = time.monotonic() + seconds
            while not wait([answer], timeout=max(0.0, min(_LOOK_EVERY, ends - time.monotonic()))).done:
                if stop():
                    self._leave()
                    raise StoppedError
                if time.monotonic() >= ends:
                    self._leave()
                    raise UnavailableError(GLOBUS, "globus_down", f"Globus: {what}: no answer within {seconds:g} s")
        return answer.result()

    def close(self) -> None:
        """Let the thread close its tool and end; a call that is under way is not waited for."""
        self._leave()

    @contextmanager
    def _my_turn(self, stop: Callable[[], bool]) -> Iterator[None]:
        while not self._turn.acquire(timeout=_LOOK_EVERY):
            if stop():
                raise StoppedError
        try:
            if stop():
                raise StoppedError
            yield
        finally:
            self._turn.release()

    def _leave(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.end()


class _Thread(Generic[ToolT]):
    """A thread with its tool. It ends, whenever its last function returns, once it was told to."""

    def __init__(self, tool: ToolT) -> None:
        self._tool = tool
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="globus-call", daemon=True).start()

    def run(self, function: Callable[[ToolT], T]) -> Future[T]:
        answer: Future[T] = Future()
        self._calls.put(lambda: _answer(answer, function, self._tool))
        return answer

    def end(self) -> None:
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        self._tool.close()


def _answer(answer: Future[Any], function: Callable[[ToolT], object], tool: ToolT) -> None:
    try:
        answer.set_result(function(tool))
    except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits for the answer
        answer.set_exception(error)
