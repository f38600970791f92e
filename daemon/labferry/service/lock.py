"""One daemon per state directory: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from labferry.detect.watch import network_mount
from labferry.errors import ConfigError, LabferryError

_WAYS_OUT = {errno.EROFS: "Look at `dmesg` for why its file system is read-only, mend it, and mount it to be written."}


class StateLock:
    """The locked state directory, created when missing (mode 0700).

    Parameters
    ----------
    state_dir : Path

    Raises
    ------
    ConfigError
        The directory cannot be used: it is on a network file system, or not ours to write.
    LabferryError
        Another daemon holds it (`already_running`, with its pid).
    """

    def __init__(self, state_dir: Path) -> None:
        network = network_mount(os.fsencode(state_dir))
        if network:
            raise ConfigError(
                f"state_dir {state_dir} is on a network file system ({network})",
                "Locks and the journal need a local disk: set `state_dir` to a folder on one.",
            )
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(state_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"state_dir {state_dir} cannot be used: {error.strerror}",
                _WAYS_OUT.get(error.errno or 0, "Create it for the service user, or set another `state_dir`."),
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LabferryError(
                "already_running",
                f"Another labferry (pid {holder}) works in {state_dir}.",
                "One state directory belongs to one daemon: stop the other one, or give this one its own `state_dir`.",
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk costs the pid in the message, not the lock

    def release(self) -> None:
        """Let another daemon in."""
        os.close(self._fd)
