"""A command on a terminal of its own, with somebody who types."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Mapping, Sequence


def on_terminal(
    words: Sequence[str], environment: Mapping[str, str], answer: Callable[[str], str | None]
) -> tuple[int, str]:
    """Run a command of `labferry`; return its exit code and all that it showed.

    `answer` is given what was shown since it last answered, and returns what to type, or None to wait for more.
    """
    child, terminal = pty.fork()
    if child == 0:
        line = [sys.executable, "-m", "labferry", *words]
        os.execve(sys.executable, line, {**os.environ, **environment, "NO_COLOR": "1"})
    shown, seen = "", 0
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece.decode()
        typed = answer(shown[seen:])
        if typed is not None:
            seen = len(shown)
            os.write(terminal, typed.encode())
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown
