"""What a process is asked by signal, heard by a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

LISTENER = """
from labferry.service.signals import Signals
signals = Signals()
print("listening", flush=True)
signals.wait(30)
print("stop" if signals.stop else "reload" if signals.take_reload() else "nothing", flush=True)
print("once" if not signals.take_reload() else "twice", flush=True)
"""


@contextmanager
def listener(
    before: Callable[[], None] | None = None, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Give a process that listens, in a session of its own; `before` runs in it first."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,  # noqa: PLW1509 - no threads run here yet
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().split()


@pytest.mark.parametrize(
    ("number", "asked"), [(signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "reload")]
)
def test_a_signal_ends_the_sleep_and_is_heard_once(number: signal.Signals, asked: str) -> None:
    with listener() as process:
        process.send_signal(number)
        assert heard(process) == [asked, "once"]


def test_a_terminal_that_is_closed_asks_to_stop() -> None:
    controller, terminal = pty.openpty()
    with listener(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), stdin=terminal) as process:
        os.close(terminal)
        os.close(controller)
        assert heard(process) == ["stop", "once"]
