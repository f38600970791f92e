"""Archive room: opening, making and naming things below a folder without ever following a link or replacing a file.

The only module of this room that speaks to the kernel about names. Everything raises OSError; callers translate.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL, ENOSYS, ENOTSUP, EPERM

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a pipe that took a file's place must not hold up the lane; regular files do not care.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_NO_LINKS = frozenset({EPERM, ENOTSUP, ENOSYS})


@contextmanager
def owning(fd: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield fd
    finally:
        # What matters was synced before; an error here must not hide the one that ended the block.
        with suppress(OSError):
            os.close(fd)


def open_folder(base: int, path: bytes, *, make: bool = False, follow: bool = False) -> int:
    """Open the folder `path` below the open folder `base`, part by part; the caller closes it.

    Parameters
    ----------
    base : int
        Descriptor of the folder to start from; stays open.
    path : bytes
        Relative; empty for `base` itself.
    make : bool
        Make the parts that are missing, each durable before anything is put into it.
    follow : bool
        Accept symbolic links to folders as parts.
    """
    flags = FOLDER if follow else FOLDER | os.O_NOFOLLOW
    here = os.dup(base)
    for part in filter(None, path.split(b"/")):
        with owning(here) as parent:
            here = _open_or_make(parent, part, flags) if make else os.open(part, flags, dir_fd=parent)
    return here


def _open_or_make(parent: int, name: bytes, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        # Somebody else may have made it in between: just as good. A dangling link ends in the second open.
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
            sync_folder(parent)
        return os.open(name, flags, dir_fd=parent)


def sync_folder(folder: int) -> None:
    """Make the names in an open folder durable, as far as the file system knows how to."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in {EINVAL, ENOTSUP}:
            raise


def give_name(folder: int, temporary: bytes, name: bytes) -> None:
    """Give a finished temporary file its name, and never replace what has that name already.

    The temporary name may or may not remain.

    Raises
    ------
    FileExistsError
        The name is taken, whoever was faster; that file is untouched.
    OSError
        Anything else; EINVAL where the file system can neither link nor rename without replacing.
    """
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_without_replacing(folder, temporary, name)


def rename_without_replacing(folder: int, old: bytes, new: bytes) -> None:
    """Rename within an open folder; fails where `new` exists.

    For file systems without hard links (exFAT, many CIFS mounts). The standard library has only the replacing kind.

    Raises
    ------
    OSError
        As renameat2(2) says; EINVAL too where the C library does not have it.
    """
    _rename(folder, old, new, _RENAME_NOREPLACE)


def exchange_names(folder: int, one: bytes, other: bytes) -> None:
    """Let two files of an open folder have each other's name, at one moment for whoever looks.

    Raises
    ------
    OSError
        As `rename_without_replacing`; EINVAL where the file system cannot do it (NFS, many CIFS mounts).
    """
    _rename(folder, one, other, _RENAME_EXCHANGE)


def _rename(folder: int, old: bytes, new: bytes, flags: int) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(EINVAL, os.strerror(EINVAL), new)
    if renameat2(folder, ctypes.c_char_p(old), folder, ctypes.c_char_p(new), ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)
