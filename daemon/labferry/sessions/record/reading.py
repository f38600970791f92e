"""Reading single files of a session's folder: regular files only, no link on the way, never more than was asked for.

Room: sessions. The only module of this package that touches the disk, and only below the session's folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from labferry.errors import BlockedError, NotYetError
from labferry.model import show_path

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe that took the place of a file must not hang the lane. On a file it means nothing.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_IRREGULAR = frozenset({errno.ELOOP, errno.ENXIO})
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EIO})
_MISSING_WAIT = 60.0  # seconds until another look for a folder that is not there


class SessionFolder:
    """The folder of one session; paths below it are relative bytes with `/` between the parts.

    Parameters
    ----------
    path : bytes
        The folder. A symbolic link in its place is not entered.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path

    def names(self, folder: bytes = b"") -> list[bytes]:
        """List the names in the session's folder or in one below it, sorted.

        A folder below that is not there has none.

        Raises
        ------
        BlockedError
            `unreadable`.
        NotYetError
            `source_missing`: the session's folder itself is not there.
        """
        try:
            opened = self._open_folder(folder)
            try:
                # By descriptor, so that the folder listed is the one that was opened.
                return sorted(os.fsencode(name) for name in os.listdir(opened))
            finally:
                os.close(opened)
        except OSError as error:
            if error.errno not in _GONE:
                raise _translated(error, folder) from error
        if not folder:
            raise NotYetError("source_missing", f"{show_path(self._path)} is not there", _MISSING_WAIT)
        return []

    @contextmanager
    def open(self, path: bytes) -> Iterator[BinaryIO | None]:
        """Open a regular file for reading; None when there is none of this path.

        Raises
        ------
        BlockedError
            `unreadable`: no permission, or something else than a regular file.
        """
        opened = self._open_file(path)
        if opened is None:
            yield None
            return
        with os.fdopen(opened, "rb") as stream:
            yield stream

    def read(self, path: bytes, limit: int, code: str) -> bytes | None:
        """Return the content of a file; None when there is none of this path.

        Parameters
        ----------
        limit : int
            Bytes; a larger file is refused.
        code : str
            What the refusal is called.

        Raises
        ------
        BlockedError
            `unreadable`, or `code` when the file is larger than `limit`.
        """
        with self.open(path) as stream:
            if stream is None:
                return None
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise BlockedError(code, f"{show_path(path)} is larger than {limit} bytes, more than such a file ever has")
        return content

    def _open_file(self, path: bytes) -> int | None:
        folder, _, name = path.rpartition(b"/")
        try:
            above = self._open_folder(folder)
            try:
                opened = os.open(name, _FILE_FLAGS, dir_fd=above)
            finally:
                os.close(above)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise _translated(error, path) from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise _irregular(path)
        return opened

    def _open_folder(self, folder: bytes) -> int:
        """Open step by step, so that no part of the path can be a link."""
        opened = os.open(self._path, _FOLDER_FLAGS)
        for part in folder.split(b"/") if folder else []:
            try:
                below = os.open(part, _FOLDER_FLAGS, dir_fd=opened)
            finally:
                os.close(opened)
            opened = below
        return opened


def _translated(error: OSError, path: bytes) -> Exception:
    if error.errno in _IRREGULAR:
        return _irregular(path)
    if error.errno in _UNREADABLE:
        shown = show_path(path) or "the session's folder"
        return BlockedError("unreadable", f"{shown} cannot be read: {error.strerror}")
    return error


def _irregular(path: bytes) -> BlockedError:
    return BlockedError("unreadable", f"{show_path(path)} is not a regular file; links, pipes and devices are not read")
