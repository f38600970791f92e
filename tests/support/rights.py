"""Doing without the rights of the superuser, so that "permission denied" can be met by whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def without_rights() -> Iterator[None]:
    """Let the body run as an ordinary user; the superuser becomes nobody for that time."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def folder_for_everyone() -> Iterator[Path]:
    """Give a folder that nobody, too, can reach: pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="labferry-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o755)  # what the test closed must be opened to be removed
        shutil.rmtree(folder)
