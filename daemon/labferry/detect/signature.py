"""Detection room: what a session's folder looks like right now, in one short value that can be compared.

Reads names and the status of files, never their content, and keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labferry.sessions.walk import WalkedFile, walk_session

TEMPORARY_SUFFIXES = (b".part", b".filepart", b".tmp")
# rsync writes `.NAME.XXXXXX`, six random letters and digits. Six lower-case letters are taken for an extension:
# `.settings.backup` must not hold a session for ever, and chance gives them to one file in two hundred.
RSYNC_TEMPORARY = re.compile(rb"\..+\.(?![a-z]{6}\Z)[A-Za-z0-9]{6}", re.DOTALL)
DEVICES = b"_devices/"
_DIGEST = 16  # bytes
NOTHING_THERE = hashlib.blake2b(digest_size=_DIGEST).digest()  # the digest of a folder without a file


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path relative to the session folder (empty: the folder itself) and why it cannot be read."""

    path: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A session's files as one look found them; two looks with equal `digest` saw the same file versions.

    Attributes
    ----------
    digest : bytes
        Over name, kind, size, modification and change time of everything in the folder. The change time stands
        for the inode: whatever takes a file's place, be it by a rename, brings a change time of its own.
    files, size : int
        Number of the regular files, and their bytes.
    newest_mtime_ns : int
        Of the regular files, for display only; 0 without any.
    temporary : tuple of bytes
        Files whose names say that they are still being written.
    unreadable : tuple of Unreadable
        What could not be looked into.
    """

    digest: bytes
    files: int
    size: int
    newest_mtime_ns: int
    temporary: tuple[bytes, ...]
    unreadable: tuple[Unreadable, ...]


def is_about_transfer(path: bytes) -> bool:
    """Tell whether a file speaks about the session instead of belonging to it (ruling 4).

    Completion flags and the status files of the rig's devices come and go while other programs work; a session
    whose flag was consumed has not changed.
    """
    return path.endswith(b".flag") or (path.startswith(DEVICES) and b".status_" in os.path.basename(path))


def is_temporary(path: bytes) -> bool:
    """Tell whether a file's name is one that copying programs use until the copy is whole (ruling 5)."""
    name = os.path.basename(path)
    return name.lower().endswith(TEMPORARY_SUFFIXES) or RSYNC_TEMPORARY.fullmatch(name) is not None


def signal_present(session_dir: bytes, names: Iterable[bytes]) -> bool:
    """Tell whether one of the completion signals is there, as a regular file; cheap enough for every scan."""
    for name in names:
        try:
            if stat.S_ISREG(os.lstat(os.path.join(session_dir, name)).st_mode):
                return True
        except OSError:
            continue  # not there, or the folder cannot be read: then its signature says so
    return False


def was_signal(path: bytes) -> bool:
    """Tell whether what was told of by a signal's name may have been one: a regular file, or gone again by now."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True


def take_signature(
    session_dir: bytes,
    ignore: Callable[[bytes], bool] = is_about_transfer,
    onlooker: Callable[[WalkedFile], None] | None = None,
) -> Signature:
    """Walk over a session's folder once.

    Parameters
    ----------
    session_dir : bytes
        The folder.
    ignore : callable
        Tells of a path relative to it whether the file is no part of the signature.
    onlooker : callable or None
        Is shown everything the walk passes by, also what is no part of the signature.

    Returns
    -------
    Signature
        Of a folder that is not there, or not readable: one whose `unreadable` names the empty path.
    """
    records = []
    temporary = []
    unreadable = []
    files = size = newest = 0
    for walked in walk_session(session_dir):
        if onlooker is not None:
            onlooker(walked)
        if ignore(walked.path):
            continue
        if walked.error:
            unreadable.append(Unreadable(walked.path, walked.error))
        version = walked.version
        if version is None:
            records.append(b"%b\0%b" % (walked.path, walked.kind.encode()))
            continue
        records.append(b"%b\0%d %d %d" % (walked.path, version.size, version.mtime_ns, version.ctime_ns))
        files += 1
        size += version.size
        newest = max(newest, version.mtime_ns)
        if is_temporary(walked.path):
            temporary.append(walked.path)
    digest = hashlib.blake2b(digest_size=_DIGEST)
    for record in sorted(records):
        digest.update(record + b"\0")
    return Signature(
        digest.digest(),
        files,
        size,
        newest,
        tuple(sorted(temporary)),
        tuple(sorted(unreadable, key=lambda entry: entry.path)),
    )
