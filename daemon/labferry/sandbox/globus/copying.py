"""One file from here to there, as GridFTP does it: under its final name from the first byte on.

Room: sandbox. There is no temporary name on purpose: whoever looks meanwhile, or after a failure, sees part of a
file, or the wrong one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Protocol

CHUNK = 1 << 20  # bytes
ALGORITHMS = {"MD5": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
MISMATCH = "EXTERNAL_CHECKSUM_MISMATCH"
QUOTA = "QUOTA_EXCEEDED"
_CODES = {
    errno.ENOENT: "FILE_NOT_FOUND",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.EROFS: "PERMISSION_DENIED",
    errno.EISDIR: "IS_A_DIRECTORY",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.ENOSPC: "NO_SPACE_LEFT",
    errno.EDQUOT: QUOTA,
    errno.ENAMETOOLONG: "INVALID_PATH_NAME",
    errno.ELOOP: "INVALID_SYMLINK",
}


class FileFaultError(Exception):
    """A file could not be moved now; it will be tried again."""

    def __init__(self, code: str, description: str, *, at_source: bool = False) -> None:
        super().__init__(description)
        self.code = code
        self.at_source = at_source


class Meter(Protocol):
    """Told of every step; may raise to end the work."""

    def transferred(self, size: int) -> None:
        """So many more bytes were written."""

    def checksummed(self, size: int) -> None:
        """So many more bytes were read only for their checksum."""


@dataclass(frozen=True)
class Wish:
    """How a file is to be moved.

    Attributes
    ----------
    sync_level : int or None
        Leave the destination as it is if it exists (0), has the size (1), is not older (2), has the checksum (3).
    verify : bool
        Read the destination again and compare.
    external_checksum : str or None
        What the checksum must be, in lower case.
    algorithm : str
        One of `ALGORITHMS`.
    """

    sync_level: int | None = None
    verify: bool = True
    preserve_timestamp: bool = False
    external_checksum: str | None = None
    algorithm: str = "MD5"


@dataclass(frozen=True)
class Moved:
    """A file that was moved; `checksum` is None where nothing asked for one."""

    size: int
    checksum: str | None
    algorithm: str


def move(source: bytes, destination: bytes, wish: Wish, meter: Meter) -> Moved | None:
    """Copy a file; None if the destination could stay as it was.

    Raises
    ------
    FileFaultError
        It could not be copied, or is not what it should be; what was written stays.
    """
    try:
        before = _regular(source)
        if _may_stay(source, before, destination, wish, meter):
            return None
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        size, checksum = _copy(source, destination, wish.algorithm, meter)
        if size != before.st_size or os.stat(source).st_size != size:
            raise FileFaultError("FILE_SIZE_CHANGED", f"{_shown(source)} changed while it was read", at_source=True)
        if wish.preserve_timestamp:
            os.utime(destination, ns=(before.st_mtime_ns, before.st_mtime_ns))
        if not wish.verify and wish.external_checksum is None:
            return Moved(size, None, wish.algorithm)
        found = digest(destination, wish.algorithm, meter)
    except OSError as error:
        raise _fault(error, source, destination) from error
    if wish.external_checksum not in (None, found):
        expected = f"expected {wish.external_checksum}, found {found}"
        raise FileFaultError(MISMATCH, f"{_shown(destination)}: {wish.algorithm} {expected}")
    if found != checksum:
        raise FileFaultError("VERIFY_CHECKSUM", f"{_shown(destination)} is not what was read")
    return Moved(size, found, wish.algorithm)


def digest(path: bytes, algorithm: str, meter: Meter) -> str:
    """Return a file's checksum in hexadecimal."""
    found = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            meter.checksummed(len(chunk))
    return found.hexdigest()


def _copy(source: bytes, destination: bytes, algorithm: str, meter: Meter) -> tuple[int, str]:
    found = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False)
    size = 0
    with open(source, "rb") as reader, open(destination, "wb") as writer:
        while chunk := reader.read(CHUNK):
            writer.write(chunk)
            writer.flush()
            found.update(chunk)
            size += len(chunk)
            meter.transferred(len(chunk))
    return size, found.hexdigest()


def _may_stay(source: bytes, before: os.stat_result, destination: bytes, wish: Wish, meter: Meter) -> bool:
    if wish.sync_level is None:
        return False
    try:
        there = _regular(destination)
    except FileNotFoundError:
        return False
    if wish.sync_level == 0:
        return True
    if there.st_size != before.st_size:
        return False
    if wish.sync_level == 2:
        return there.st_mtime >= before.st_mtime
    if wish.sync_level == 3:
        found = digest(destination, wish.algorithm, meter)
        return found == digest(source, wish.algorithm, meter) and wish.external_checksum in (None, found)
    return True


def _regular(path: bytes) -> os.stat_result:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise FileFaultError("NOT_A_FILE", f"{_shown(path)} is not a regular file")
    return status


def _fault(error: OSError, source: bytes, destination: bytes) -> FileFaultError:
    at_source = error.filename == source
    code = _CODES.get(error.errno or 0, "ENDPOINT_ERROR")
    return FileFaultError(
        code, f"{_shown(source if at_source else destination)}: {error.strerror}", at_source=at_source
    )


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
