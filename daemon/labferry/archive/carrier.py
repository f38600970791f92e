"""Archive room: bringing the files of one plan into an open folder, each durable and verified.

Writes below the open base folder only, reads through `Source` only. A file appears under its own name when it is
complete and was read back, never earlier; a name that is taken stays as it is.

Bytes are hashed once, where it counts: as they come back from the archive's disk. Equal to the sealed checksum they
prove the reading, the writing and the disk together; only where they are not is the source hashed as well, to find out
whose fault it is. The kernel's own copy (copy_file_range) was measured to be no faster where there is nothing to share,
and its errors do not tell the one side from the other.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import AbstractContextManager, closing, suppress
from errno import EINVAL, ENOSYS, ENOTSUP, EPERM

from labferry.archive.content import checksum, write_all
from labferry.archive.faults import (
    differs,
    refused_name,
    target_error,
    target_full,
    unreadable_destination,
    working_at,
)
from labferry.archive.folders import FILE, give_name, open_folder, owning, sync_folder
from labferry.archive.meter import FileMeter, Meter
from labferry.archive.plan import Evidence, Item, Means, Plan
from labferry.archive.source import Source
from labferry.errors import LabferryError, UnavailableError
from labferry.model import show_path

_HALF = b".part"  # how the names of files end that are not complete
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Carrier:
    """One plan on its way into one folder; several threads may carry a file each.

    Parameters
    ----------
    target : str
        For errors.
    plan : Plan
        What goes where.
    base : int
        Descriptor of the open base folder: all names are relative to it, so that nothing lands elsewhere when
        something else is mounted there meanwhile.
    source : Source
        The open session folder.
    meter : Meter
        Told of every block.
    """

    def __init__(self, target: str, plan: Plan, base: int, source: Source, meter: Meter) -> None:
        self._target = target
        self._plan = plan
        self._base = base
        self._source = source
        self._meter = meter
        self._making = threading.Lock()

    # --- before -----------------------------------------------------------------------------------------------

    def make_ready(self, pending: list[tuple[int, Item]]) -> None:
        """Remove what interrupted attempts of this batch and of older ones left, then see whether the rest has room.

        Raises
        ------
        UnavailableError
            `target_full`, naming the missing bytes.
        """
        self._remove_older()
        sizes = []
        for number, item in pending:
            self._meter.alive()
            if not self._is_named(number, item):
                sizes.append(item.size)
        with self._at(self._plan.base):
            room = os.fstatvfs(self._base)
        if room.f_blocks == 0:  # a file system that does not know its size
            return
        needed = sum(-(-size // room.f_frsize) * room.f_frsize for size in sizes)
        free = room.f_bavail * room.f_frsize
        if needed > free:
            raise target_full(self._target, self._plan.base, needed, free)

    def _remove_older(self) -> None:
        """Remove what batches left half-copied that nobody goes on with."""
        starts = tuple(f".lf-{batch}-".encode("ascii") for batch in self._plan.older)
        if not starts:
            return
        for path in sorted({os.path.dirname(item.destination) for item in self._plan.items}):
            self._meter.alive()
            # Whatever hinders it: there is no such folder yet, or carrying meets and names what is wrong with it.
            with suppress(OSError), owning(open_folder(self._base, path)) as folder:
                for name in map(os.fsencode, os.listdir(folder)):
                    if name.startswith(starts) and name.endswith(_HALF):
                        os.unlink(name, dir_fd=folder)

    def _is_named(self, number: int, item: Item) -> bool:
        """Remove our own leftover for this item; return whether its name is taken."""
        path, name = os.path.split(item.destination)
        try:
            with owning(open_folder(self._base, path)) as folder:
                with suppress(FileNotFoundError):
                    os.unlink(self._temporary(number), dir_fd=folder)
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            # Mostly: there is no such folder yet. Whatever else it is, carrying the item meets it and names it.
            return False
        return True

    # --- one file ---------------------------------------------------------------------------------------------

    def carry(self, number: int, item: Item) -> Evidence:
        """Bring one item to its place, or find it there.

        Parameters
        ----------
        number : int
            The item's place in the plan: names the temporary file.
        item : Item
            One of the plan's.

        Raises
        ------
        BlockedError
            About this item only: `destination_differs`, `unreadable`, `name_too_long`, `destination_refused`.
        UnavailableError, ChangedError, NotYetError, StoppedError
            As for `Archive.advance`.
        """
        where = self._plan.destination_of(item)
        path, name = os.path.split(item.destination)
        with self._meter.file(item) as count, owning(self._make_folder(path, where)) as folder:
            found = (
                self._adopt(folder, name, item, count)
                or self._copy(folder, self._temporary(number), name, item, count)
                # Somebody gave another file this name while we were copying.
                or self._adopt(folder, name, item, count)
            )
            if found is None:
                raise differs(self._target, where, "the name is taken, and yet nothing can be found there")
            return found

    def _make_folder(self, path: bytes, where: bytes) -> int:
        try:
            # One at a time: nobody puts a file into a folder that another thread has made and not synced yet.
            with self._making:
                return open_folder(self._base, path, make=True)
        except OSError as error:
            raise self._naming_error(where, error) from error

    def _adopt(self, folder: int, name: bytes, item: Item, count: FileMeter) -> Evidence | None:
        """Compare what has the item's name already; None if nothing has."""
        where = self._plan.destination_of(item)
        try:
            fd = os.open(name, FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise unreadable_destination(self._target, where, error) from error
        except OSError as error:
            raise target_error(self._target, where, error) from error
        with owning(fd):
            with self._at(where):
                now = os.fstat(fd)
            if not stat.S_ISREG(now.st_mode):
                raise differs(self._target, where, "it is no regular file")
            if now.st_size != item.size:
                raise differs(self._target, where, f"it has {now.st_size} bytes, the session's file {item.size}")
            count.start()
            with self._at(where):
                # It may be our own, from an attempt that was killed before this.
                os.fsync(fd)
                sync_folder(folder)
                md5 = checksum(fd, count.moved)
        if md5 != item.md5:
            raise differs(self._target, where, f"its size is right, but its MD5 is {md5} and not {item.md5}")
        return Evidence(item.destination, item.size, md5, Means.ADOPTED)

    def _copy(self, folder: int, temporary: bytes, name: bytes, item: Item, count: FileMeter) -> Evidence | None:
        """Copy the item under a temporary name, then give it its own; None if that is taken by now."""
        where = self._plan.destination_of(item)
        with self._at(where):
            fd = os.open(temporary, _NEW, 0o644, dir_fd=folder)
        try:
            with owning(fd):
                self._fill(fd, item, count)
                md5 = self._read_back(fd, item, count)
            named = self._give_name(folder, temporary, name, where)
        finally:
            # After a rename it is gone. If it cannot be removed now, the next attempt does.
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
        if not named:
            return None
        with self._at(where):
            sync_folder(folder)
        return Evidence(item.destination, item.size, md5, Means.COPIED)

    def _fill(self, fd: int, item: Item, count: FileMeter) -> None:
        where = self._plan.destination_of(item)
        count.start()
        with closing(self._source.blocks(item)) as blocks:
            for block in blocks:
                with self._at(where):
                    write_all(fd, block)
                count.moved(len(block))
        with self._at(where):
            _keep_time(fd, item.mtime_ns)
            os.fsync(fd)

    def _read_back(self, fd: int, item: Item, count: FileMeter) -> str:
        where = self._plan.destination_of(item)
        with self._at(where):
            md5 = checksum(fd, count.read_back)
        if md5 != item.md5:
            self._source.require_content(item, count.read_back)
            raise UnavailableError(
                f"archive:{self._target}",
                "target_error",
                f"archive {self._target}: {show_path(where)}: what was written reads back with MD5 {md5}, "
                f"not {item.md5}",
            )
        return md5

    def _give_name(self, folder: int, temporary: bytes, name: bytes, where: bytes) -> bool:
        try:
            give_name(folder, temporary, name)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._naming_error(where, error) from error
        return True

    # --- small ones -------------------------------------------------------------------------------------------

    def _temporary(self, number: int) -> bytes:
        return f".lf-{self._plan.batch}-{number}".encode("ascii") + _HALF

    def _at(self, where: bytes) -> AbstractContextManager[None]:
        return working_at(self._target, where)

    def _naming_error(self, where: bytes, error: OSError) -> LabferryError:
        if error.errno == EINVAL:
            return refused_name(self._target, where)
        return target_error(self._target, where, error)


def _keep_time(fd: int, mtime_ns: int) -> None:
    """Give a file the time of its source; some mounts let nobody but their owner do that, and it proves nothing."""
    try:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    except OSError as error:
        if error.errno not in {EPERM, ENOTSUP, ENOSYS}:
            raise
