"""Detection room: hints that something happened below a root. Scans are the truth; a lost hint costs time only.

A hint source watches a bounded set of folders, never a tree, and says which of them were touched. It sits behind
the Protocol `Hints`, so that another source can take its place; `NoHints` is the one for network mounts and
`events = "off"`.

Why `WatchdogHints` takes watchdog's inotify calls and not its `Observer`: version 6 starts two threads, one inotify
instance and three file descriptors per folder (50 folders: 102 threads, 150 descriptors), so that the kernel's
usual 128 instances per user end it at 127 folders; it drops the kernel's word that events were lost; it leaks the
instance when the watch limit is hit; and it stays "alive" but deaf after its folder was replaced. One instance for
all folders, read by the lane that waits for it, has none of this and needs no thread.

What it cannot tell: changes made on another machine or below a path that is not watched, writes through a
memory map, and what was inside a folder before its watch began. The scans find those.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import select
import struct
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from watchdog.observers.inotify_c import InotifyConstants as Inotify
from watchdog.observers.inotify_c import inotify_add_watch, inotify_init, inotify_rm_watch

# Nothing that reading causes (open, access, close without writing): our own scans and hashing never feed the hints.
MASK = (
    Inotify.IN_CREATE
    | Inotify.IN_DELETE
    | Inotify.IN_MOVE
    | Inotify.IN_CLOSE_WRITE
    | Inotify.IN_DELETE_SELF
    | Inotify.IN_MOVE_SELF
    | Inotify.IN_ONLYDIR
)
APPEARED = Inotify.IN_CREATE | Inotify.IN_CLOSE_WRITE | Inotify.IN_MOVED_TO
LIMIT = 1024  # folders; about 1.3 KiB of kernel memory each
GATHER = 50  # milliseconds; a storm of events wakes the lane twenty times a second, not once per event
BUFFER = 64 * 1024
HEADER = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, length of the name that follows

# File systems whose changes may be made on another machine, which the kernel here never hears of.
# fmt: off
NETWORK_TYPES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})
# fmt: on


class Hints(Protocol):
    """A source of hints about folders; used by one lane, except `wake`."""

    @property
    def count(self) -> int:
        """Return how many folders are watched now."""

    def count_below(self, folder: bytes) -> int:
        """Return how many of these are a folder or lie below it."""

    @property
    def overflows(self) -> int:
        """Return how often events were lost since the start."""

    @property
    def problem(self) -> str | None:
        """Return why fewer folders are watched than asked for, and the way out; None when all is well."""

    def watch(self, paths: Iterable[bytes]) -> None:
        """Watch exactly these folders from now on, the most important first.

        To be called after every scan, also with an unchanged set: this renews the watches of folders that were
        removed and made again, or mounted over.
        """

    def drain(self) -> set[bytes]:
        """Return the paths touched since the last call."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; return whether there may be something to drain, or `wake` was called."""

    def wake(self) -> None:
        """End a `wait`, from any thread."""

    def close(self) -> None:
        """Give everything back."""


class WatchdogHints:
    """Hints from the kernel (inotify), for folders on a local file system.

    `drain` names the watched folder in which something happened, the folders that appeared or vanished in it, and,
    with its full path, every file that appeared under one of the names `signals`: a completion signal may be
    deleted again before anybody looks. When the kernel lost events, it names every watched folder.

    Parameters
    ----------
    limit : int
        Watch at most this many folders.
    signals : collection of bytes
        File names worth telling.
    """

    def __init__(self, limit: int = LIMIT, signals: Collection[bytes] = ()) -> None:
        self._limit = limit
        self._signals = frozenset(signals)
        self._problem: str | None = None
        self._overflows = 0
        self._watch_of: dict[bytes, int] = {}
        self._path_of: dict[int, bytes] = {}
        self._touched: set[bytes] = set()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._rung = select.poll()
        self._rung.register(self._bell, select.POLLIN)
        self._inotify = -1
        self._open()

    @property
    def count(self) -> int:
        """Return how many folders are watched now."""
        return len(self._watch_of)

    def count_below(self, folder: bytes) -> int:
        """Return how many of these are a folder or lie below it."""
        return sum(path == folder or path.startswith(folder + b"/") for path in self._watch_of)

    @property
    def overflows(self) -> int:
        """Return how often the kernel lost events since the start."""
        return self._overflows

    @property
    def problem(self) -> str | None:
        """Return the kernel's limit that was hit, with the line that raises it; None when all is well."""
        return self._problem

    def watch(self, paths: Iterable[bytes]) -> None:
        """Watch exactly these folders from now on, the first `limit` of them.

        A folder that is missing or may not be read is left to the scans.
        """
        wanted = list(dict.fromkeys(paths))[: self._limit]
        for path in self._watch_of.keys() - set(wanted):
            self._forget(path)
        self._problem = None
        if self._inotify < 0 and not self._open():
            self._problem = _limit_text("max_user_instances", 0, len(wanted))
            return
        for path in wanted:
            error = self._add(path)
            if error == errno.ENOSPC:
                self._problem = _limit_text("max_user_watches", self.count, len(wanted))
                return

    def drain(self) -> set[bytes]:
        """Return the paths touched since the last call."""
        for watch, mask, name in self._events():
            if mask & Inotify.IN_Q_OVERFLOW:
                self._overflows += 1
                self._touched.update(self._watch_of)
                continue
            folder = self._path_of.get(watch)
            if folder is None:
                continue  # what was still queued when the watch was given up
            self._touched.add(folder)
            if mask & (Inotify.IN_IGNORED | Inotify.IN_MOVE_SELF):
                self._forget(folder)
            elif self._is_worth_a_name(mask, name):
                self._touched.add(os.path.join(folder, name))
        touched, self._touched = self._touched, set()
        return touched

    def _is_worth_a_name(self, mask: int, name: bytes) -> bool:
        """Say whether an event is about a folder, or a file that may be a signal; a folder of that name is neither."""
        if name in self._signals:
            return bool(mask & APPEARED) and not mask & Inotify.IN_ISDIR
        return bool(mask & Inotify.IN_ISDIR)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; return whether there may be something to drain, or `wake` was called."""
        if not self._poll.poll(max(0, math.ceil(timeout * 1000))):
            return False
        if self._rung.poll(GATHER):
            os.eventfd_read(self._bell)
        return True

    def wake(self) -> None:
        """End a `wait`, from any thread."""
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Give the watches and file descriptors back."""
        for fd in (self._inotify, self._bell):
            if fd >= 0:
                os.close(fd)
        self._inotify = self._bell = -1
        self._watch_of.clear()
        self._path_of.clear()

    def _open(self) -> bool:
        fd: int = inotify_init()
        if fd < 0:
            return False
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self._poll.register(fd, select.POLLIN)
        self._inotify = fd
        return True

    def _add(self, path: bytes) -> int:
        """Watch one folder and return 0 or the error number.

        The kernel gives the same watch for the same folder, so asking again is harmless, and another number means
        that the path leads to another folder now.
        """
        watch: int = inotify_add_watch(self._inotify, path, MASK)
        error = ctypes.get_errno() if watch < 0 else 0
        if self._watch_of.get(path, watch) != watch:
            self._forget(path)
            self._touched.add(path)
        if watch >= 0:
            self._watch_of[path] = watch
            self._path_of[watch] = path
        return error

    def _forget(self, path: bytes) -> None:
        watch = self._watch_of.pop(path)
        if self._path_of.get(watch) == path:
            del self._path_of[watch]
            inotify_rm_watch(self._inotify, watch)

    def _events(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield watch, mask and name of everything the kernel has queued."""
        while self._inotify >= 0:
            try:
                data = os.read(self._inotify, BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _cookie, length = HEADER.unpack_from(data, at)
                at += HEADER.size + length
                yield watch, mask, data[at - length : at].rstrip(b"\0")


class NoHints:
    """No hints at all: everything is found by scanning."""

    count = 0
    overflows = 0
    problem: str | None = None

    def __init__(self) -> None:
        self._bell = threading.Event()

    def count_below(self, folder: bytes) -> int:
        """Return none."""
        del folder
        return 0

    def watch(self, paths: Iterable[bytes]) -> None:
        """Watch nothing."""

    def drain(self) -> set[bytes]:
        """Return nothing."""
        return set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; return whether `wake` was called."""
        rung = self._bell.wait(timeout)
        self._bell.clear()
        return rung

    def wake(self) -> None:
        """End a `wait`, from any thread."""
        self._bell.set()

    def close(self) -> None:
        """Nothing to give back."""


def network_mount(path: bytes, mounts: str = "/proc/self/mountinfo", *, within: bool = False) -> str | None:
    """Return the type of the file system below `path` if its changes may be made elsewhere (NFS, CIFS, FUSE, …).

    Parameters
    ----------
    path : bytes
        A folder; it need not exist yet.
    mounts : str
        The kernel's table of mounts.
    within : bool
        Or the type of one that is mounted somewhere in the folder.

    Returns
    -------
    str or None
        For example `nfs4`; None for a local file system, or where the table cannot be read.
    """
    try:
        with open(mounts, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found, kind, inside = b"", b"", None
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        if len(fields) < 5 or not right:
            continue
        point = _unescaped(fields[4])
        # Of two mounts on one folder the later one hides the earlier one.
        if len(point) >= len(found) and (real == point or real.startswith(point.rstrip(b"/") + b"/")):
            found, kind = point, right.split(b" ", 1)[0]
        elif within and point.startswith(real.rstrip(b"/") + b"/"):
            inside = inside or _network_type(right.split(b" ", 1)[0])
    return _network_type(kind) or inside


def _network_type(kind: bytes) -> str | None:
    name = kind.decode("ascii", "backslashreplace")
    # `fuse.sshfs` and its like; `fuseblk` is a local disk (NTFS, exFAT) and every change passes through this kernel.
    return name if name.partition(".")[0] in NETWORK_TYPES else None


def _unescaped(field: bytes) -> bytes:
    r"""Undo the octal escapes (`\040`) of the mount table."""
    first, *rest = field.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _limit_text(limit: str, count: int, wanted: int) -> str:
    key = f"fs.inotify.{limit}"
    try:
        with open(f"/proc/sys/fs/inotify/{limit}", encoding="ascii") as file:
            value = int(file.read())
    except (OSError, ValueError):
        value = 0
    return (
        f"{count} of {wanted} folders are watched, the others are found by scanning: the kernel's limit {key}"
        f" = {value} is used up; raise it with `sysctl -w {key}={max(4 * value, 8192)}` and in /etc/sysctl.d"
    )
