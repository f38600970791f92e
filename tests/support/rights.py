"""Doing without the rights of the superuser, so that "permission denied" can be met by whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


def without_capabilities() -> tuple[str, ...]:
    """Return what to put before a command so that "permission denied" holds for it; skip where that cannot be done."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    if shutil.which(prefix[0]) is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("needs setpriv and the right to give up capabilities, or an ordinary user")
    return prefix


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
