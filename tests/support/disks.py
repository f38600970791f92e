"""Disks small enough to be filled."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.wait import wait_until

BLOCK = 4096  # bytes


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Put a file system in memory, of `size` as mount takes it, in a folder's place; skip without the right to."""
    if shutil.which("mount") is None:
        pytest.skip("needs the command mount")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "labferry-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount: {mounted.stderr.splitlines()[0]}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def mounted_below(folder: Path, *command: str) -> Iterator[None]:
    """Mount something (`command` as mount takes it) in a folder's place; skip without the right to."""
    if shutil.which("mount") is None:
        pytest.skip("needs the command mount")
    done = subprocess.run(["mount", *command, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.splitlines()[0]}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0, name: str = "ballast") -> Path:
    """Take all room of a disk but `leave` bytes; return the file to remove."""
    ballast = folder / name
    with ballast.open("wb", buffering=0) as stream:
        with suppress(OSError):
            while True:
                stream.write(bytes(BLOCK))
        stream.truncate(max(0, stream.tell() - leave))
    return ballast


def next_tick(folder: Path) -> None:
    """Wait until the file system's clock has moved on: some milliseconds where it is coarse."""
    probe = folder / "clock"

    def now() -> int:
        probe.touch()
        return probe.stat().st_ctime_ns

    began = now()
    wait_until(lambda: now() != began, what="the file system's clock to move")
    probe.unlink()
