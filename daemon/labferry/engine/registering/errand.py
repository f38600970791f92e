"""A command whose end is known although the daemon was killed meanwhile, so that it need not be run a second time.

It runs below a shell that holds a lock while it runs and writes down how it ended. A later life of the daemon reads the
one from the other: still running, ended, or killed itself; only then nobody knows how far it came.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

LOOK_EVERY = 0.2  # seconds between looks whether it shall be given up
# The lock is the shell's standard input: whoever else the command leaves behind does not hold it. The process id in it
# is alive as long as it is locked. The end gets its name when it is whole.
_SHELL = 'echo $$ >&0; "$@" </dev/null; end=$?; echo $end >"$0.new" && mv "$0.new" "$0"; exit $end'


class Errand:
    """One command for one purpose.

    Parameters
    ----------
    folder : str
        Where its files are kept; made if it is missing.
    name : str
        Of the purpose.
    """

    def __init__(self, folder: str, name: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._end = os.path.join(folder, f"{name}.end")
        self._lock = os.path.join(folder, f"{name}.running")

    @contextlib.contextmanager
    def alone(self) -> Iterator[int | None]:
        """Give what `run` needs; None while the command runs, started by an earlier life."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield lock
        finally:
            os.close(lock)  # not unlocked: the shell has it too

    def ended(self) -> int | None:
        """Return the status with which the last run ended, None when it was killed, or there was none."""
        try:
            with open(self._end, "rb") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def forget(self) -> None:
        """Forget how the last run ended."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._end)

    def run(
        self,
        lock: int,
        words: Sequence[bytes],
        environment: Mapping[str, str],
        output: BinaryIO,
        go_on: Callable[[], bool],
    ) -> int | None:
        """Run the command; return its status, None when it was given up.

        `go_on` is asked again and again, and may raise: then neither the command nor its children stay behind.
        """
        os.ftruncate(lock, 0)
        os.lseek(lock, 0, os.SEEK_SET)
        child = subprocess.Popen(  # noqa: S603 - the operator's own command; the shell only runs it
            [b"/bin/sh", b"-c", os.fsencode(_SHELL), os.fsencode(self._end), *words],
            stdin=lock,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            while go_on():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(LOOK_EVERY)
            return None
        finally:
            if child.poll() is None:
                _kill(child.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(1.0)

    def kill(self) -> None:
        """End a command that an earlier life started and that is still running, with all its children."""
        with contextlib.suppress(OSError, ValueError), open(self._lock, "rb") as file:
            _kill(int(file.read()))


def _kill(process: int) -> None:
    """End a process and what it started; one that cannot be killed is left behind, the daemon goes on."""
    with contextlib.suppress(OSError):
        os.killpg(process, signal.SIGKILL)
