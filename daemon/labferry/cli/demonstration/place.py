"""The demo's directory: a temporary one that is removed, or one that the operator keeps.

Room: cli. Only this directory is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labferry.errors import LabferryError

MARK = "labferry-demo"  # the file that makes a directory a demo's; locked while a demo uses it
SOCKET_NAME = "control.sock"
LONGEST_SOCKET = 107  # bytes: a Unix socket's address has no room for more


@contextlib.contextmanager
def demo_directory(keep: Path | None) -> Iterator[Path]:
    """Make the demo's directory; remove it at the end unless it is `keep`.

    Raises
    ------
    LabferryError
        `demo_directory`: it cannot be used, and what to do instead.
    """
    directory = Path(tempfile.mkdtemp(prefix="labferry-demo-")) if keep is None else _kept(keep.absolute())
    try:
        _require_short(directory)
        with _locked(directory):
            yield directory
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _kept(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        strangers = os.listdir(directory) and not (directory / MARK).exists()
    except OSError as error:
        raise _unusable(
            f"{directory} cannot be used: {error.strerror}", "Give --keep a directory that you may write."
        ) from error
    if strangers:
        raise _unusable(
            f"{directory} holds other files, and no demo was kept there before",
            "Give --keep an empty directory, a new one, or that of an earlier demo.",
        )
    return directory


def _require_short(directory: Path) -> None:
    length = len(os.fsencode(directory / SOCKET_NAME))
    if length > LONGEST_SOCKET:
        raise _unusable(
            f"the path {directory} is {length - LONGEST_SOCKET} bytes too long for the daemon's socket in it",
            "Give --keep a directory with a shorter path, or set TMPDIR to one.",
        )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second demo out; the kernel unlocks when this process ends, however it ends."""
    try:
        descriptor = os.open(directory / MARK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(
            f"{directory} cannot be written: {error.strerror}", "Give --keep a directory that you may write."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise _unusable(f"another demo runs in {directory}", "Wait for its end, or give another directory.") from None
    finally:
        os.close(descriptor)


def _unusable(message: str, hint: str) -> LabferryError:
    return LabferryError("demo_directory", message, hint)
