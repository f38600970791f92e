"""The one walk over a session's files.

Room: sessions. Reads directories and the status of files, never their content, and follows no symbolic link.
Nothing is silently left out: what is not a regular file, and what cannot be read, is reported as such.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from labferry.model import FileVersion


class FileKind(StrEnum):
    """What a directory entry is."""

    REGULAR = "regular file"
    DIRECTORY = "folder"
    SYMLINK = "symbolic link"
    FIFO = "pipe"
    SOCKET = "socket"
    DEVICE = "device"
    UNKNOWN = "unknown"  # it could not even be asked


_KINDS = {
    stat.S_IFREG: FileKind.REGULAR,
    stat.S_IFLNK: FileKind.SYMLINK,
    stat.S_IFIFO: FileKind.FIFO,
    stat.S_IFSOCK: FileKind.SOCKET,
    stat.S_IFCHR: FileKind.DEVICE,
    stat.S_IFBLK: FileKind.DEVICE,
}


class WalkedFile(NamedTuple):
    """One thing below a session's folder that is not a folder, or a folder that could not be read.

    Attributes
    ----------
    path : bytes
        Relative to the session's folder; empty for the folder itself.
    version : FileVersion or None
        Of a regular file, when versions were asked for.
    kind : FileKind
        What it is. Folders appear only with an `error`.
    error : str
        Why it cannot be read; empty when it can be listed.
    """

    path: bytes
    version: FileVersion | None
    kind: FileKind
    error: str = ""


def walk_session(session_dir: bytes, *, versions: bool = True) -> Iterator[WalkedFile]:
    """List every file below a session's folder, in the order the file system gives.

    Parameters
    ----------
    session_dir : bytes
        The folder. A symbolic link in its place is reported, not entered.
    versions : bool
        Ask for size and times of every regular file. Names alone take half the time.

    Yields
    ------
    WalkedFile
        What vanishes during the walk is left out: the next walk knows better.
    """
    if os.path.islink(session_dir):
        yield WalkedFile(b"", None, FileKind.SYMLINK, "symbolic links are not followed")
        return
    folders = [b""]
    while folders:  # a list instead of recursion: the depth of a path is no limit of ours
        folder = folders.pop()
        try:
            with os.scandir(session_dir + b"/" + folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(folder + entry.name + b"/")
                    elif entry.is_file(follow_symlinks=False) and not versions:
                        yield WalkedFile(folder + entry.name, None, FileKind.REGULAR)
                    else:
                        walked = _ask(folder + entry.name, entry)
                        if walked is not None:
                            yield walked
        except (FileNotFoundError, NotADirectoryError) as error:
            if not folder:
                yield WalkedFile(b"", None, FileKind.DIRECTORY, _text(error))
        except OSError as error:
            yield WalkedFile(folder.rstrip(b"/"), None, FileKind.DIRECTORY, _text(error))


def _ask(path: bytes, entry: os.DirEntry[bytes]) -> WalkedFile | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        return WalkedFile(path, None, FileKind.UNKNOWN, _text(error))
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), FileKind.UNKNOWN)
    if kind is not FileKind.REGULAR:
        return WalkedFile(path, None, kind)
    return WalkedFile(path, FileVersion(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns), kind)


def _text(error: OSError) -> str:
    return error.strerror or str(error)
