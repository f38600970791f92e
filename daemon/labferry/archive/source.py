"""Archive room: reading the files of a session, exactly in the version that was sealed.

Opens for reading only, below the session folder only; no link is followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from labferry.archive.content import checksum, room_for
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

    def blocks(self, item: Item) -> Generator[memoryview]:
        """Yield the content of a file in blocks of at most 1 MiB, each in the place of the one before.

        Whoever got all blocks has the version that was sealed, as far as size and times tell; the checksum of what
        became of them says the rest.

        Raises
        ------
        ChangedError
            The file is another version, or gone, or no regular file.
        BlockedError
            `unreadable`.
        NotYetError
            `source_missing`: the whole folder vanished.
        """
        with owning(self._open(item)) as fd:
            self._require_version(item, fd)
            # Not further than the sealed size: a file that grows faster than it is read would never end.
            left = item.size
            room = room_for(left)
            while left > 0:
                with reading(self._session_dir, item.source):
                    count = os.readv(fd, [room[:left]])
                if not count:
                    break
                left -= count
                yield room[:count]
            self._require_version(item, fd)

    def require_content(self, item: Item, after_block: Callable[[int], None]) -> None:
        """Read a file that did not arrive as it was sealed, to find out whether it still is that itself.

        Raises
        ------
        ChangedError
            Its content is another one, though size and times are not; also as for `blocks`.
        BlockedError, NotYetError
            As for `blocks`.
        """
        with owning(self._open(item)) as fd:
            with reading(self._session_dir, item.source):
                md5 = checksum(fd, after_block)
            self._require_version(item, fd)
        if md5 != item.md5:
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
