"""Detection room: the checksums of a session's files, in one read pass that notices every change.

Reads files and keeps nothing. What is sealed is a version of a file: path, size and times as the walk found them.
Whatever differs from that before, while or after it is read sends the session back to settling.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from labferry.errors import ChangedError, LabferryError
from labferry.model import FileVersion, show_path

BUFFER = 512 * 1024  # bytes; from 256 KiB to 1 MiB MD5 is fastest
# Bytes behind the reader that are dropped from the page cache, again and again: the kernel caches what was just written
# in pieces of up to 2 MiB and drops whole pieces only.
BEHIND = 4 * 1024 * 1024 + BUFFER

FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe that took the place of a file must not hang the lane. On a file it means nothing.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE})
UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EIO})


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file version and the MD5 of its bytes, in hexadecimal."""

    version: FileVersion
    md5: str


class SealInterruptedError(Exception):
    """`stop` said so. What was yielded before is valid; the rest is sealed another time."""


def seal(
    session_dir: bytes,
    wanted: Iterable[FileVersion],
    known: Callable[[FileVersion], str | None],
    *,
    stop: Callable[[], bool],
    on_bytes: Callable[[int], None],
) -> Iterator[Sealed]:
    """Give every wanted file its checksum.

    Parameters
    ----------
    session_dir : bytes
        The session's folder. No symbolic link is followed, neither in its own place nor below it.
    wanted : iterable of FileVersion
        What to seal, in this order.
    known : callable
        Returns the MD5 of a version that was sealed before: such a file is looked at, but not read again.
    stop : callable
        Asked before every file and every buffer: true ends the work.
    on_bytes : callable
        Told how many bytes were just read.

    Yields
    ------
    Sealed
        One per wanted file; at that moment the file was exactly this version.

    Raises
    ------
    ChangedError
        A file, or a folder on its way, is not, or is no longer, what `wanted` says.
    LabferryError
        `file_unreadable`: this file cannot be read.
    SealInterruptedError
        `stop` returned true.
    """
    reader = _Reader(known, stop, on_bytes)
    for version in wanted:
        if stop():
            raise SealInterruptedError
        try:
            folder = _open_folder(session_dir, version.path)
            try:
                md5 = reader.checksum(folder, version)
            finally:
                os.close(folder)
        except OSError as error:
            raise _translated(error, version.path) from error
        yield Sealed(version, md5)


def _open_folder(session_dir: bytes, path: bytes) -> int:
    """Open the folder of a file step by step, so that no part of its path can be a link."""
    folder = os.open(session_dir, FOLDER_FLAGS)
    for part in path.split(b"/")[:-1]:
        try:
            below = os.open(part, FOLDER_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


class _Reader:
    """One buffer for all files of a session, and whom to ask and tell while reading."""

    def __init__(
        self, known: Callable[[FileVersion], str | None], stop: Callable[[], bool], on_bytes: Callable[[int], None]
    ) -> None:
        self._known = known
        self._stop = stop
        self._on_bytes = on_bytes
        self._buffer = memoryview(bytearray(BUFFER))

    def checksum(self, folder: int, version: FileVersion) -> str:
        """Return the MD5 of a file in an open folder."""
        name = os.path.basename(version.path)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        _compare(found, version, "is not the file that was listed")
        md5 = self._known(version)
        if md5 is not None:
            return md5
        file = os.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            before = os.fstat(file)
            _compare(before, version, "was replaced before it was read")
            md5 = self._read(file, version)
            after = os.fstat(file)
        finally:
            os.close(file)
        _compare(after, version, "changed while it was read")
        if not os.path.samestat(found, after):
            raise ChangedError(version.path, f"{show_path(version.path)} was replaced before it was read")
        return md5

    def _read(self, file: int, version: FileVersion) -> str:
        md5 = hashlib.md5(usedforsecurity=False)
        done = 0
        while count := os.readv(file, [self._buffer]):
            md5.update(self._buffer[:count])
            done += count
            # Leave the page cache to others: a session is larger than the memory, and is read once.
            os.posix_fadvise(file, max(0, done - BEHIND), min(done, BEHIND), os.POSIX_FADV_DONTNEED)
            self._on_bytes(count)
            if done > version.size:
                break
            if self._stop():
                raise SealInterruptedError
        if done != version.size:
            raise ChangedError(
                version.path, f"{show_path(version.path)} changed while it was read: {done} bytes, not {version.size}"
            )
        return md5.hexdigest()


def _compare(found: os.stat_result, version: FileVersion, what: str) -> None:
    same = (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (version.size, version.mtime_ns, version.ctime_ns)
    if not stat.S_ISREG(found.st_mode) or not same:
        raise ChangedError(version.path, f"{show_path(version.path)} {what}")


def _translated(error: OSError, path: bytes) -> Exception:
    if error.errno in GONE:
        return ChangedError(path, f"{show_path(path)} is gone, or a link is in its place")
    if error.errno in UNREADABLE:
        return LabferryError("file_unreadable", f"{show_path(path)} cannot be read: {error.strerror}")
    return error
