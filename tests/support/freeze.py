"""One thread of a process brought to a halt, as a call that never returns would; the others run on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000  # of wait(2): threads, too


class Halted:
    """A thread that stands still."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._gone = False

    def bury(self) -> None:
        """Let the thread go if it died: until then its process cannot end."""
        if not self._gone:
            found, status = os.waitpid(self._thread, _WALL | os.WNOHANG)
            self._gone = found == self._thread and not os.WIFSTOPPED(status)


@contextmanager
def halted(thread: int) -> Iterator[Halted]:
    """Halt a thread for the body; skip without the right to."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(_PTRACE_SEIZE, thread, None, None) != 0:
        pytest.skip(f"needs the right to trace: {os.strerror(ctypes.get_errno())}")
    assert libc.ptrace(_PTRACE_INTERRUPT, thread, None, None) == 0
    os.waitpid(thread, _WALL)
    one = Halted(thread)
    try:
        yield one
    finally:
        libc.ptrace(_PTRACE_DETACH, thread, None, None)  # it may be gone
