"""The demo's directory: a temporary one that is removed, or one that the operator keeps.

Room: cli. Only this directory is written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labferry.errors import LabferryError

MARK = "labferry-demo"  # the file that makes a directory a demo's
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
    directory = _temporary() if keep is None else _kept(keep.absolute())
    try:
        yield directory
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _temporary() -> Path:
    _require_short(Path(tempfile.gettempdir()) / "labferry-demo-01234567")
    directory = Path(tempfile.mkdtemp(prefix="labferry-demo-"))
    (directory / MARK).touch()
    return directory


def _kept(directory: Path) -> Path:
    _require_short(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        strangers = os.listdir(directory) and not (directory / MARK).exists()
        if not strangers:
            (directory / MARK).touch()
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


def _unusable(message: str, hint: str) -> LabferryError:
    return LabferryError("demo_directory", message, hint)
