"""Archive room: reading the files of a session, exactly in the version that was sealed.

Opens for reading only, below the session folder only; no link is followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from labferry.archive.content import BLOCK
from labferry.archive.faults import reading, source_missing
from labferry.archive.folders import FILE, FOLDER, open_folder, owning
from labferry.archive.plan import Item
from labferry.errors import ChangedError
from labferry.model import FileVersion, show_path


@contextmanager
def session_folder(session_dir: bytes) -> Iterator[Source]:
    """Open a session folder for reading its files.

    Raises
    ------
    NotYetError
        `source_missing`: the folder is not there.
    BlockedError
        `unreadable`.
    """
    try:
        fd = os.open(session_dir, FOLDER | os.O_NOFOLLOW)
    except OSError as error:
        raise source_missing(session_dir, error) from error
    with owning(fd):
        yield Source(session_dir, fd)


class Source:
    """An open session folder."""

    def __init__(self, session_dir: bytes, fd: int) -> None:
        self._session_dir = session_dir
        self._fd = fd

    def blocks(self, item: Item) -> Generator[bytes]:
        """Yield the content of a file in blocks of at most 1 MiB.

        Whoever got all blocks has the content that was sealed: version and checksum are compared before the end.

        Raises
        ------
        ChangedError
            The file is another version, or gone, or no regular file.
        BlockedError
            `unreadable`.
        NotYetError
            `source_missing`: the whole folder vanished.
        """
        md5 = hashlib.md5(usedforsecurity=False)
        with owning(self._open(item)) as fd:
            self._require_version(item, fd)
            # Not further than the sealed size: a file that grows faster than it is read would never end.
            left = item.size
            while left > 0:
                with reading(self._session_dir, item.source):
                    block = os.read(fd, min(BLOCK, left))
                if not block:
                    break
                left -= len(block)
                md5.update(block)
                yield block
            self._require_version(item, fd)
        if md5.hexdigest() != item.md5:
            raise self._changed(item, "its content is not the sealed one, though size and times are")

    def _open(self, item: Item) -> int:
        folder, name = os.path.split(item.source)
        with reading(self._session_dir, item.source), owning(open_folder(self._fd, folder)) as parent:
            return os.open(name, FILE, dir_fd=parent)

    def _require_version(self, item: Item, fd: int) -> None:
        with reading(self._session_dir, item.source):
            now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode):
            raise self._changed(item, "it is no regular file any more")
        if FileVersion(item.source, now.st_size, now.st_mtime_ns, now.st_ctime_ns) != item.version:
            raise self._changed(item, "size or times are not the sealed ones")

    def _changed(self, item: Item, how: str) -> ChangedError:
        where = show_path(os.path.join(self._session_dir, item.source))
        return ChangedError(item.source, f"{where} changed since it was sealed: {how}")
