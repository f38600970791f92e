"""Detection room: the cheapest look at a session: when something was put into, or taken out of, any of its folders.

A file that is added, removed or renamed changes the time of the folder it is in, and no folder can appear without
changing that of the one above; one that is closed to us, or opened, has another change time. What is written into a
file that was there changes none of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

Folders = tuple[bytes, ...]


class FolderTimes(NamedTuple):
    """The folders of a session, relative to it and with itself as the empty path, and a digest of their times."""

    folders: Folders
    digest: bytes


def folder_times(session_dir: bytes, known: Folders = ()) -> FolderTimes:
    """Look at the times of a session's folders.

    Parameters
    ----------
    session_dir : bytes
        The folder, absolute.
    known : tuple of bytes
        What an earlier look found: while nothing has changed these are all, and nothing need be listed.

    Raises
    ------
    OSError
        The session's folder cannot be looked at now, or one below it is not there any more.
    """
    folders = known or tuple(sorted(_below(session_dir)))
    digest = hashlib.blake2b(digest_size=8)
    for folder in folders:
        status = os.lstat(session_dir + b"/" + folder)
        digest.update(b"%b\0%d %d\0" % (folder, status.st_mtime_ns, status.st_ctime_ns))
    return FolderTimes(folders, digest.digest())


def _below(session_dir: bytes) -> Iterator[bytes]:
    """Yield the session's folder and every folder below it; links are not followed."""
    todo = [b""]
    while todo:
        folder = todo.pop()
        yield folder
        try:
            with os.scandir(session_dir + b"/" + folder) as entries:
                todo += [folder + entry.name + b"/" for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # its own times can be asked for all the same
            if not folder:
                raise
