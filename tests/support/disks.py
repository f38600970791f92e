"""Disks that can be filled, taken away, broken, or seen through FUSE."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import fuse
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


class FailingDisk:
    """An ext4 file system in a file, which can be told that its device failed."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self._folder = image, folder

    def mount(self) -> str:
        """Mount it; return what the system said against it, empty when nothing."""
        done = _run("mount", "-t", "ext4", "-o", "loop,errors=remount-ro", str(self._image), str(self._folder))
        return done.stderr if done.returncode else ""

    def fail(self) -> None:
        """Let it become read-only under whoever writes to it, as it does by itself when its device fails."""
        done = _run("mount", "-o", "remount,abort", str(self._folder))
        assert done.returncode == 0, done.stderr

    def mend(self) -> None:
        """Check it, and mount it again."""
        self.unmount()
        wait_until(lambda: _run("e2fsck", "-fy", str(self._image)).returncode < 4, what="a mended disk")
        problem = self.mount()
        assert not problem, problem

    def unmount(self) -> None:
        """Take it away."""
        _run("umount", "--lazy", str(self._folder))


@contextmanager
def failing_disk(folder: Path, image: Path) -> Iterator[FailingDisk]:
    """Put a disk that can fail in a folder's place; skip without the means."""
    missing = [name for name in ("mount", "mkfs.ext4", "e2fsck") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs the command {missing[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    _run("mkfs.ext4", "-q", "-F", str(image))
    disk = FailingDisk(image, folder)
    problem = disk.mount()
    if problem:
        pytest.skip(f"needs the right to mount: {problem.splitlines()[0]}")
    try:
        yield disk
    finally:
        disk.unmount()


@contextmanager
def seen_through_fuse(source: Path, mountpoint: Path) -> Iterator[None]:
    """Let a folder be seen at a mount point; skip without the right to."""
    before = os.stat(mountpoint).st_dev
    command = [sys.executable, os.path.abspath(fuse.__file__), str(source), str(mountpoint)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        wait_until(lambda: server.poll() is not None or os.stat(mountpoint).st_dev != before, what="the mount")
        if server.poll() is not None:
            pytest.skip(f"needs the right to mount FUSE: {server.stderr.read().splitlines()[-1]}")
        yield
    finally:
        _run("umount", "--lazy", str(mountpoint))
        server.kill()
        server.wait()
        server.stderr.close()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)
