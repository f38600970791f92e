"""Archive room: a verified file takes the place of what stands at its destination, which is kept beside it.

Where the file system can, both names change hands at one moment, so that whoever looks finds one of the two files. A
kill between any two lines leaves names from which the same call goes on. Nothing is removed but a second name of one
and the same file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from errno import EINVAL, ENOSYS, ENOTSUP

from labferry.archive.content import checksum
from labferry.archive.faults import differs, working_at
from labferry.archive.folders import (
    FILE,
    exchange_names,
    give_name,
    open_folder,
    owning,
    rename_without_replacing,
    sync_folder,
)

_CANNOT = frozenset({EINVAL, ENOSYS, ENOTSUP})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One file and the three names it is about; all relative to the base of a plan, all in one folder.

    Attributes
    ----------
    staged : bytes
        What the file is called until the exchange.
    destination : bytes
        What it is called afterwards.
    kept : bytes
        What is called so afterwards stood at the destination before.
    size : int
        Bytes.
    md5 : str
        Of the file.
    begun : bool
        It may have happened already, or in part.
    """

    staged: bytes
    destination: bytes
    kept: bytes
    size: int
    md5: str
    begun: bool


def staged_name(destination: bytes, batch: str) -> bytes:
    """Return what a file is called until it takes the place of what stands at its destination."""
    return b"%b.new-%b" % (destination, batch.encode("ascii"))


def kept_name(destination: bytes, batch: str) -> bytes:
    """Return what is called so that stood at a destination before."""
    return b"%b.old-%b" % (destination, batch.encode("ascii"))


def exchange(target: str, base: bytes, top: int, one: Exchange, after_block: Callable[[int], None]) -> bool:
    """Let a staged file have its destination; may be repeated after any interruption.

    Parameters
    ----------
    target : str
        For errors.
    base : bytes
        The folder that names are relative to.
    top : int
        The same folder, open.
    one : Exchange
    after_block : callable
        Told the length of each block where a file must be read.

    Returns
    -------
    bool
        False if the staged file is gone, and its content is not at the destination: it must be brought again.

    Raises
    ------
    BlockedError
        `destination_differs`: a third file has the destination by now.
    UnavailableError
        The target cannot work now.
    """
    path, name = os.path.split(one.destination)
    staged, kept = os.path.basename(one.staged), os.path.basename(one.kept)
    where = os.path.join(base, one.destination)
    with working_at(target, where), owning(open_folder(top, path)) as folder:
        if not _is_there(folder, staged):
            return _has_content(folder, name, one, after_block)
        taken = _is_there(folder, name)
        if taken and _are_one(folder, staged, name):
            os.unlink(staged, dir_fd=folder)
        elif _is_there(folder, kept):
            if taken:
                raise differs(target, where, "another file has appeared there meanwhile")
            _take(folder, staged, name)
        elif taken and one.begun and _has_content(folder, name, one, after_block):
            rename_without_replacing(folder, staged, kept)
        else:
            _change_hands(folder, staged, name, kept, taken=taken)
        sync_folder(folder)
    return True


def _change_hands(folder: int, staged: bytes, name: bytes, kept: bytes, *, taken: bool) -> None:
    """Let `staged` be called `name`, and what was called so `kept`."""
    if not taken:
        _take(folder, staged, name)
        return
    try:
        exchange_names(folder, staged, name)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        _set_aside(folder, name, kept)
        sync_folder(folder)
        _take(folder, staged, name)
    else:
        sync_folder(folder)
        rename_without_replacing(folder, staged, kept)


def _set_aside(folder: int, name: bytes, kept: bytes) -> None:
    try:
        rename_without_replacing(folder, name, kept)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        # The only rename of the kind that replaces: nothing has this name, it carries our own batch.
        os.rename(name, kept, src_dir_fd=folder, dst_dir_fd=folder)


def _take(folder: int, staged: bytes, name: bytes) -> None:
    """Give the staged file its name; never replaces."""
    give_name(folder, staged, name)
    with suppress(FileNotFoundError):  # where there are no links it was renamed
        os.unlink(staged, dir_fd=folder)


def _is_there(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _are_one(folder: int, one: bytes, other: bytes) -> bool:
    first, second = (os.stat(name, dir_fd=folder, follow_symlinks=False) for name in (one, other))
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _has_content(folder: int, name: bytes, one: Exchange, after_block: Callable[[int], None]) -> bool:
    """Read what has a name, if it can be the file at all."""
    try:
        fd = os.open(name, FILE, dir_fd=folder)
    except FileNotFoundError:
        return False
    with owning(fd):
        now = os.fstat(fd)
        return stat.S_ISREG(now.st_mode) and now.st_size == one.size and checksum(fd, after_block) == one.md5
